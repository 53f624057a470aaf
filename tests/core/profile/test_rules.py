"""What a profile makes of verdicts: it only holds back, the same however turns are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.profile.decisions import decide
from streams.core.profile.evidence import STRONG, strong
from streams.core.profile.learning import learnt
from streams.core.profile.rules import Held, InForce, Scores, Seen, applied
from streams.core.profile.values import Key, Known, Profile, Threshold, WarmUpSeen, Word, blank
from streams.core.profile.warm_up import WarmUp
from tests.core.flow.drawn import START_US, record
from tests.core.profile.sites import DEVICES, DIGEST, MODEL, NAMES, PEERS, day, judged

WORD = Word("ann", "our cloud", 1)
NORMAL, PROBE, C2, DOS, R2L, NOVEL = range(6)


def of(key: Key, covers: tuple[str, ...], how: str = "accepted") -> InForce:
    word = WORD if how == "accepted" else Word("", "", 1)
    return InForce(Profile("home", 1, known=(Known(key, covers, how, word),)))  # type: ignore[arg-type]


def random_scores(seed: int, count: int) -> Scores:
    rng = np.random.default_rng(seed)
    posterior = rng.random((count, 5)).astype(np.float32)
    verdict = rng.integers(0, 6, count)
    return Scores(NAMES, verdict, posterior, rng.random(count).astype(np.float32) * 3, DIGEST)


def warmed_up(seen: Seen, scores: Scores) -> Profile:
    warm_up = WarmUp("home")
    warm_up.add(seen, scores, PEERS)
    return learnt(blank("home"), warm_up, MODEL, 5, WORD)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(30, 300), min_size=1, max_size=4))
def test_a_profile_only_holds_back_and_turns_do_not_matter(seed: int, sizes: list[int]) -> None:
    seen, _, _ = judged(day(seed, 1.0, 600_000_000))
    scores = random_scores(seed, len(seen.rows))
    profile = warmed_up(seen, scores)
    profile = decide(profile, "accept", ["all"], WORD)
    whole = applied(InForce(profile), seen, scores)
    changed = whole.verdict != scores.verdict
    assert (changed == (whole.held > 0)).all()
    assert (whole.verdict[changed] == NORMAL).all()
    assert not (whole.held[scores.verdict == NORMAL] > 0).any()
    first, turn = 0, 0
    while first < len(seen.rows):
        at = np.arange(first, min(first + sizes[turn % len(sizes)], len(seen.rows)))
        part = applied(InForce(profile), seen.at(at), scores.at(at))
        assert (part.held == whole.held[at]).all()
        assert (part.learning == whole.learning[at]).all()
        first, turn = int(at[-1]) + 1, turn + 1


def test_a_device_is_learnt_about_for_half_an_hour_of_its_own_time() -> None:
    seen, scores, _ = judged(day(1, 1.0, None))
    found = applied(InForce(blank("home")), seen, scores)
    assert (found.learning == (seen.age_ms < 1_800_000)).all()
    assert 0 < found.learning.sum() < len(seen.rows)
    doubted = scores.verdict == C2
    assert (found.held[doubted & found.learning] == Held.LEARNING).all()
    assert (found.verdict[doubted & ~found.learning] == C2).all()
    assert not applied(InForce(blank("home")), seen, scores, 0).held.any()


def test_who_attacks_from_the_first_minute_alerts_all_the_same_once_it_is_beyond_doubt() -> None:
    seen, scores, truth = judged(day(1, 0.4, 0), doubtful=False)
    found = applied(InForce(blank("home")), seen, scores)
    assert found.learning.all()
    scan = np.flatnonzero(truth == "probe")
    assert (found.verdict[scan[20:]] == PROBE).all()
    assert (found.held[scan[:15]][scores.verdict[scan[:15]] != NORMAL] == Held.LEARNING).all()
    assert (found.verdict[np.flatnonzero(truth == "c2")[21:]] == C2).all()


@pytest.mark.parametrize(("how", "held"), [("accepted", Held.ACCEPTED), ("learnt", Held.LEARNT)])
def test_a_known_key_does_not_alert_as_what_it_covers(how: str, held: Held) -> None:
    seen, _, _ = judged(day(2, 1.0, None))
    scores = replace(random_scores(2, len(seen.rows)), verdict=np.full(len(seen.rows), C2))
    key = Key(DEVICES[1], "private", "originator", "tcp", 8554)
    found = applied(of(key, ("c2",), how), seen, scores, 0)
    mine = (seen.flows.device == 1) & (seen.flows.peer_kind == 1)
    assert (found.held == np.where(mine, held, 0)).all()
    assert not applied(of(key, ("r2l",), how), seen, scores, 0).held.any()
    one_peer = replace(key, peer="192.168.1.2")
    assert (applied(of(one_peer, ("c2",), how), seen, scores, 0).held == found.held).all()
    assert not applied(of(replace(key, peer="192.168.1.3"), ("c2",), how), seen, scores, 0).held.any()


def test_a_key_that_was_learnt_covers_nothing_that_fails_and_a_persons_word_does() -> None:
    seen, _, truth = judged(day(3, 1.0, 0))
    scores = replace(random_scores(3, len(seen.rows)), verdict=np.full(len(seen.rows), C2))
    key = Key(DEVICES[0], "public", "originator", "tcp", 4975)
    calls = truth == "c2"
    assert (applied(of(key, ("c2",), "learnt"), seen, scores, 0).held[calls] == 0).all()
    assert (applied(of(key, ("c2",)), seen, scores, 0).held[calls] == Held.ACCEPTED).all()


def test_a_class_alerts_from_the_sites_score_on_or_beyond_doubt() -> None:
    seen, scores, truth = judged(day(4, 2.0, 0))
    raised = (Threshold("c2", 0.95, "accepted", WORD),)
    seen_by = WarmUpSeen(*MODEL, flows=1, devices=1, from_us=0, until_us=1)
    found = applied(InForce(Profile("home", 1, warm_up=seen_by, thresholds=raised)), seen, scores, 0)
    doubted = (scores.verdict == C2) & (truth == "normal")
    assert doubted.any()
    assert (found.held[doubted] == Held.BELOW_THRESHOLD).all()
    sure = strong(seen.rows, scores.verdict, NAMES) & (scores.verdict == C2)
    assert sure.any()
    assert not found.held[sure].any()
    other = replace(seen_by, model_digest="e" * 64)
    assert not applied(
        InForce(Profile("home", 1, warm_up=other, thresholds=raised)), seen, scores, 0
    ).held.any()


def test_what_can_be_beyond_doubt_is_scans_floods_calls_in_vain_and_guessing_at_a_shell() -> None:
    of = day(6, 2.0, 0)
    guesses = [
        record(peer=9, peer_port=22, device_port=41_000 + n, start_us=START_US + n * 10**7, identity=n)
        for n in range(12)
    ]
    seen, _, _ = judged(replace(of, records=[*of.records, *guesses], truth=[*of.truth, *["r2l"] * 12]))
    for place, name in enumerate(NAMES):
        every = np.full(len(seen.rows), place)
        assert strong(seen.rows, every, NAMES).any() == (name in STRONG)
