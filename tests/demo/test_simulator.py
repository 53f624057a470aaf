"""The simulated fleet: repeatable, in order, honest about its truth, and shaped like KDD'99's columns."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.kdd99 import KDD99
from streams.demo.attacks import ATTACKS
from streams.demo.episodes import NO_EPISODE
from streams.demo.habits import HABITS, Spread, device_ids, kind_of
from streams.demo.simulator import Simulation, simulate
from streams.errors import SettingsError

START_US = 1_700_000_000_000_000
CLASSES = {"dos", "probe", "r2l", "u2r"}


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(45, seed=1, start_us=START_US)


def column(simulation: Simulation, name: str) -> npt.NDArray[np.float32]:
    return simulation.rows["numbers"][:, KDD99.numeric_names.index(name)]


def of_attack(simulation: Simulation, attack: str) -> npt.NDArray[np.bool_]:
    places = [place for place, episode in enumerate(simulation.episodes) if episode.attack == attack]
    return np.isin(simulation.episode, places)


def test_the_same_arguments_give_the_same_bytes(simulation: Simulation) -> None:
    again = simulate(45, seed=1, start_us=START_US)
    assert again.rows.tobytes() == simulation.rows.tobytes()
    assert again.event_time_us.tobytes() == simulation.event_time_us.tobytes()
    assert again.episode.tobytes() == simulation.episode.tobytes()
    assert (again.device_id, again.truth) == (simulation.device_id, simulation.truth)
    assert again.episodes == simulation.episodes


def test_another_seed_gives_another_day(simulation: Simulation) -> None:
    other = simulate(45, seed=2, start_us=START_US)
    assert other.rows.tobytes() != simulation.rows.tobytes()
    assert other.episodes != simulation.episodes


def test_another_start_moves_the_times_and_changes_nothing_else(simulation: Simulation) -> None:
    later = simulate(45, seed=1, start_us=START_US + 77_000_000)
    assert (later.event_time_us - simulation.event_time_us == 77_000_000).all()
    assert later.rows.tobytes() == simulation.rows.tobytes()


@settings(max_examples=4, deadline=None)
@given(st.floats(15, 60), st.integers(0, 2**32))
def test_every_class_occurs_from_15_seconds_on_and_the_rate_is_that_of_a_fleet(
    seconds: float, seed: int
) -> None:
    found = simulate(seconds, seed, START_US)
    assert set(found.truth) == CLASSES | {"normal"}
    assert set(found.episode.tolist()) == {NO_EPISODE, *range(len(found.episodes))}
    assert 200 <= len(found.rows) / seconds <= 400
    consistent(found, seconds)


@pytest.mark.parametrize("seconds", [0.000001, 0.3, 5])
def test_short_times_hold_what_fits(seconds: float) -> None:
    consistent(simulate(seconds, seed=3, start_us=START_US), seconds)


def consistent(found: Simulation, seconds: float) -> None:
    """Lengths, order, times, truth, episodes and devices fit together; the rows are valid."""
    number = len(found.rows)
    lengths = {len(each) for each in (found.device_id, found.event_time_us, found.truth, found.episode)}
    assert lengths == {number}
    assert (np.diff(found.event_time_us) >= 0).all()
    assert found.event_time_us.dtype == found.episode.dtype == np.int64
    assert ((found.event_time_us >= START_US) & (found.event_time_us < START_US + seconds * 1e6)).all()
    assert set(found.device_id) <= set(device_ids())
    for place, device, at_us, truth in zip(
        found.episode.tolist(), found.device_id, found.event_time_us.tolist(), found.truth, strict=True
    ):
        if place == NO_EPISODE:
            assert truth == "normal"
        else:
            episode = found.episodes[place]
            assert (truth, device) == (episode.truth, episode.device_id)
            assert episode.start_us <= at_us < episode.end_us
    valid_rows(found)


def valid_rows(found: Simulation) -> None:
    assert found.rows.dtype == KDD99.row
    numbers, codes = found.rows["numbers"], found.rows["codes"]
    assert np.isfinite(numbers).all()
    assert (numbers >= 0).all()
    rates = [place for place, each in enumerate(KDD99.numeric) if each.is_rate]
    assert (numbers[:, rates] <= 1).all()
    for place, each in enumerate(KDD99.symbolic):
        assert (codes[:, place] > 0).all()  # no unknown symbols
        assert (codes[:, place] < each.size).all()


def test_attacks_are_a_minority_of_devices_and_ordinary_devices_stay_normal(simulation: Simulation) -> None:
    attacked = {episode.device_id for episode in simulation.episodes}
    others = [
        truth
        for device, truth in zip(simulation.device_id, simulation.truth, strict=True)
        if device not in attacked
    ]
    assert len(attacked) == len(ATTACKS) < len(device_ids()) / 2
    assert set(others) == {"normal"}
    assert set(simulation.device_id) == set(device_ids())


def test_longer_times_have_more_rounds_of_staggered_episodes() -> None:
    episodes = simulate(100, seed=5, start_us=START_US).episodes
    assert len(episodes) == 2 * len(ATTACKS)
    assert all(first.start_us < second.start_us for first, second in pairwise(episodes))


@pytest.mark.parametrize("seed", range(7, 12))  # chance alone would give two attacks one device in these
def test_within_a_round_each_attack_has_a_device_of_its_own(seed: int) -> None:
    attacked = {episode.device_id for episode in simulate(1, seed, START_US).episodes}
    assert len(attacked) == len(ATTACKS)


def test_the_fleet_is_warm_from_the_first_event_on() -> None:
    first = simulate(2, seed=1, start_us=START_US)
    assert np.median(column(first, "dst_host_srv_count")) > 50


def test_data_connections_of_ftp_share_their_port_as_in_the_file(simulation: Simulation) -> None:
    # In the training file the two rates are equal for ftp_data, and a normal host also serves something else.
    ftp_data = np.array(simulation.truth) == "normal"
    ftp_data &= simulation.rows["codes"][:, 1] == KDD99.symbolic[1].code("ftp_data")
    same_service = column(simulation, "dst_host_same_srv_rate")[ftp_data]
    assert (column(simulation, "dst_host_same_src_port_rate")[ftp_data] == same_service).all()
    assert np.median(same_service) < 0.75


def test_ordinary_traffic_shows_no_attackers_marks(simulation: Simulation) -> None:
    normal = np.array(simulation.truth) == "normal"
    assert column(simulation, "root_shell")[normal].max() == 0
    assert column(simulation, "num_failed_logins")[normal].max() == 0
    errors = column(simulation, "serror_rate")[normal] + column(simulation, "rerror_rate")[normal]
    assert errors.mean() < 0.02


def test_a_syn_flood_looks_like_neptune(simulation: Simulation) -> None:
    flood = of_attack(simulation, "neptune")
    late = np.flatnonzero(flood)[300:]
    assert column(simulation, "src_bytes")[flood].max() == 0
    assert (column(simulation, "serror_rate")[late] == 1).all()
    assert 150 < np.median(column(simulation, "count")[late]) < 300
    assert np.median(column(simulation, "same_srv_rate")[late]) < 0.1
    assert (column(simulation, "dst_host_count")[late] > 200).all()


def test_a_ping_flood_looks_like_smurf(simulation: Simulation) -> None:
    flood = of_attack(simulation, "smurf")
    late = np.flatnonzero(flood)[1000:]
    assert set(column(simulation, "src_bytes")[flood].tolist()) == {1032}
    assert (column(simulation, "count")[late] > 490).all()
    assert (column(simulation, "dst_host_same_src_port_rate")[flood] == 1).all()


def test_a_port_scan_looks_like_satan(simulation: Simulation) -> None:
    scan = np.flatnonzero(of_attack(simulation, "satan"))[600:]
    assert (column(simulation, "diff_srv_rate")[scan] > 0.9).all()
    assert np.median(column(simulation, "rerror_rate")[scan]) > 0.75


def test_guessing_fails_to_log_in_and_escalation_ends_as_root(simulation: Simulation) -> None:
    guesses = of_attack(simulation, "guess_passwd")
    assert column(simulation, "num_failed_logins")[guesses].min() >= 1
    assert column(simulation, "logged_in")[guesses].max() == 0
    for attack in ("buffer_overflow", "loadmodule"):
        sessions = of_attack(simulation, attack)
        assert column(simulation, "logged_in")[sessions].min() == 1
        assert column(simulation, "root_shell")[sessions].max() == 1


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_time_that_is_no_positive_number_is_refused(seconds: float) -> None:
    with pytest.raises(SettingsError, match="positive"):
        simulate(seconds, seed=1, start_us=START_US)


def test_every_kind_of_device_has_habits_and_every_attack_finds_enough_targets() -> None:
    kinds = Counter(kind_of(device) for device in device_ids())
    assert set(kinds) == set(HABITS)
    assert 35 <= len(device_ids()) <= 45
    wanted = Counter(kind for attack in ATTACKS for kind in attack.of)
    assert all(kinds[kind] >= wanted[kind] for kind in wanted)
    assert {attack.truth for attack in ATTACKS} == CLASSES


@given(st.randoms(use_true_random=False))
def test_a_spread_stays_within_its_ends(random: object) -> None:
    assert 3 <= Spread(3, 4, 4, 9, 20).draw(random) <= 20  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_device_and_time_name_an_event_since_no_two_coincide(seed: int) -> None:
    simulation = simulate(20, seed, START_US)
    assert (np.diff(simulation.event_time_us) > 0).all()
