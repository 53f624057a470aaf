"""Which revision is in force for a record follows from Kafka's timestamps, whoever judges it and whenever."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.profile.agreed import KEPT, LEAD_US, Agreed, applied_at, is_too_old
from streams.core.profile.rules import Held, Scores
from streams.core.profile.values import Key, Known, Profile, Word
from tests.core.profile.sites import DEVICES, DIGEST, NAMES, day, judged

WORD = Word("ann", "our cloud", 1)
C2 = NAMES.index("c2")
TAKEN_US = 1_700_000_000_000_000


def profile(site: str, revision: int, *covers: str) -> Profile:
    device = f"{site}/192.168.1.10"
    key = Key(device, "public", "originator", "tcp", 443)
    known = (Known(key, covers, "accepted", WORD),) if covers else ()
    return Profile(site, revision, known=known)


def test_a_revision_is_in_force_from_its_lead_on() -> None:
    agreed = (
        Agreed().with_revision(profile("home", 1), TAKEN_US).with_revision(profile("home", 2), TAKEN_US + 5)
    )
    for kafka_us, revision in ((-1, None), (0, 1), (4, 1), (5, 2), (LEAD_US, 2)):
        found = agreed.at("home", TAKEN_US + LEAD_US + kafka_us)
        assert (None if found is None else found.profile.revision) == revision
    assert agreed.at("shop", TAKEN_US * 2) is None
    assert agreed.newest("home") == profile("home", 2)


def test_a_clock_that_runs_back_brings_no_older_revision_into_force() -> None:
    agreed = (
        Agreed().with_revision(profile("home", 1), TAKEN_US).with_revision(profile("home", 2), TAKEN_US - 9)
    )
    found = agreed.at("home", TAKEN_US + LEAD_US)
    assert found is not None
    assert found.profile.revision == 2
    assert agreed.at("home", TAKEN_US + LEAD_US - 1) is None
    assert agreed.with_revision(profile("home", 1), TAKEN_US * 2) is agreed


def test_of_many_revisions_the_latest_are_kept() -> None:
    agreed = Agreed()
    for revision in range(1, KEPT + 10):
        agreed = agreed.with_revision(profile("home", revision), TAKEN_US + revision)
    assert len(agreed.of_site["home"]) == KEPT


def test_a_profile_of_a_file_is_always_in_force() -> None:
    found = Agreed.always(profile("home", 3)).at("home", 0)
    assert found is not None
    assert found.profile.revision == 3


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(20, 200), min_size=1, max_size=4))
def test_sites_and_revisions_apply_record_by_record_however_turns_are_cut(
    seed: int, sizes: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    seen, _, _ = judged(day(seed % 100, 0.5, None))
    seen = replace(seen, devices=["home/192.168.1.10", "shop/192.168.1.10", "192.168.1.10"])
    n = len(seen.rows)
    posterior = np.full((n, 5), 0.2, np.float32)
    scores = Scores(NAMES, np.full(n, C2), posterior, np.zeros(n, np.float32), DIGEST)
    kafka_us = TAKEN_US + rng.integers(0, 60_000_000, n)
    agreed = Agreed()
    for revision, covers in ((1, ("c2",)), (2, ()), (3, ("c2",))):
        agreed = agreed.with_revision(profile("home", revision, *covers), TAKEN_US + revision * 10_000_000)
    agreed = agreed.with_revision(profile("shop", 7, "c2"), TAKEN_US)
    whole = applied_at(agreed, kafka_us, seen, scores, 0)
    public = seen.flows.peer_kind == 0
    for place in range(n):
        site = ("home", "shop", "-")[int(seen.flows.device[place])]
        found = agreed.at(site, int(kafka_us[place]))
        assert whole.revision[place] == (0 if found is None else found.profile.revision)
        is_held = found is not None and bool(found.profile.known) and bool(public[place])
        assert whole.applied.held[place] == (Held.ACCEPTED if is_held else Held.NOT)
    first, turn = 0, 0
    while first < n:
        at = np.arange(first, min(first + sizes[turn % len(sizes)], n))
        part = applied_at(agreed, kafka_us[at], seen.at(at), scores.at(at), 0)
        assert (part.revision == whole.revision[at]).all()
        assert (part.applied.verdict == whole.applied.verdict[at]).all()
        first, turn = int(at[-1]) + 1, turn + 1


def test_a_site_without_a_profile_has_the_status_of_its_devices() -> None:
    seen, _, _ = judged(day(5, 1.0, None))
    n = len(seen.rows)
    scores = Scores(NAMES, np.full(n, C2), np.full((n, 5), 0.2, np.float32), np.zeros(n, np.float32), DIGEST)
    found = applied_at(Agreed(), np.zeros(n, np.int64), seen, scores)
    assert (found.revision == 0).all()
    assert (found.applied.held == np.where(found.applied.learning, Held.LEARNING, 0)).all()
    assert len(DEVICES) == len(seen.devices)


def test_who_read_the_topic_a_while_ago_judges_nothing() -> None:
    assert not is_too_old(100.0, 104.0)
    assert is_too_old(100.0, 106.0)
