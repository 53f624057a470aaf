"""What is learnt silently, what a person is asked, and what an attacker can make of a warm-up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.profile.decisions import decide
from streams.core.profile.learning import HIGHEST, learnt
from streams.core.profile.rules import InForce, Scores, Seen, applied
from streams.core.profile.values import KINDS, Profile, Word, blank
from streams.core.profile.warm_up import WarmUp
from streams.errors import DataError
from tests.core.profile.sites import DEVICES, MODEL, PEERS, Day, day, judged

WORD = Word("ann", "looked at them", 7)
HOME = "home"


def warmed_up(seen: Seen, scores: Scores, before: Profile | None = None, size: int = 0) -> Profile:
    warm_up = WarmUp(HOME)
    count = len(seen.rows)
    for first in range(0, count, size or count):
        at = np.arange(first, min(first + (size or count), count))
        warm_up.add(seen.at(at), scores.at(at), PEERS)
    return learnt(before or blank(HOME), warm_up, MODEL, 5, Word("bob", "first day", 5))


def recall(profile: Profile, of: Day) -> dict[str, float]:
    """By class, of a day's attacks the share that alerts as any class, once nothing is learnt any more."""
    seen, scores, truth = judged(of)
    found = applied(InForce(profile), seen, scores)
    late = ~found.learning
    return {
        name: float((found.verdict[late & (truth == name)] != 0).mean()) for name in sorted(set(truth[late]))
    }


def test_answered_flows_at_home_are_learnt_and_all_else_that_recurs_is_asked() -> None:
    profile = warmed_up(*judged(day(1, 2.0, 0))[:2])
    assert {str(one.key) for one in profile.known} == {f"{name} -> private tcp/8554" for name in DEVICES}
    assert all((one.how, one.covers) == ("learnt", ("c2", "novel")) for one in profile.known)
    asked = {str(one.key): one for one in profile.proposals if one.key is not None}
    assert {f"{name} -> public tcp/443" for name in DEVICES} < set(asked)
    calls = asked[f"{DEVICES[0]} -> public tcp/4975"]
    assert calls.verdicts["c2"] > 0
    assert (calls.flows, calls.failing, calls.peers) == (360, 360, ("198.51.100.7",))
    assert profile.revision == 1
    assert profile.history[-1].word.who == "bob"


def test_what_was_seen_twice_or_within_a_minute_does_not_recur() -> None:
    seen, scores, _ = judged(day(1, 2.0, None))
    few = np.flatnonzero((seen.flows.device == 0) & (seen.flows.peer_kind == 1))
    assert warmed_up(seen.at(few[:2]), scores.at(few[:2])).known == ()
    assert len(warmed_up(seen.at(few[:4]), scores.at(few[:4])).known) == 1


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 300))
def test_a_warm_up_is_the_same_however_its_flows_are_cut_into_turns(seed: int, size: int) -> None:
    seen, scores, _ = judged(day(seed, 0.5, 60_000_000))
    assert warmed_up(seen, scores, size=size) == warmed_up(seen, scores)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_is_learnt_silently_but_answered_flows_with_private_peers(seed: int) -> None:
    seen, scores, _ = judged(day(seed, 0.5, 0))
    rng = np.random.default_rng(seed)
    seen.flows.peer_kind[:] = rng.integers(0, 3, len(seen.rows))
    seen.flows.packets_in[rng.random(len(seen.rows)) < 0.1] = 0
    profile = warmed_up(seen, scores)
    for one in profile.known:
        assert one.key.peer == KINDS[1]
        mine = (seen.flows.device == DEVICES.index(one.key.device)) & (seen.flows.peer_kind == 1)
        mine &= seen.flows.peer_port == one.key.port
        assert (seen.flows.packets_in[mine] > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_poisoned_warm_up_costs_at_most_a_tenth_of_the_recall(seed: int) -> None:
    poisoned = warmed_up(*judged(day(seed, 2.0, 0))[:2])
    attacked = day(seed + 100, 3.0, 60_000_000)
    without, with_it = recall(blank(HOME), attacked), recall(poisoned, attacked)
    assert without["c2"] > 0.9
    for name in ("c2", "probe"):
        assert with_it[name] >= 0.9 * without[name]


def test_a_warm_up_silences_what_is_the_sites_own_and_a_person_the_rest() -> None:
    seen, scores, truth = judged(day(3, 3.0, None))
    profile = warmed_up(seen, scores)

    def false(of: Profile) -> int:
        found = applied(InForce(of), seen, scores)
        return int(((found.verdict != 0) & ~found.learning & (truth == "normal")).sum())

    assert 0 < false(profile) < 0.5 * false(blank(HOME))
    assert false(decide(profile, "accept", ["all"], WORD)) == 0


def test_silent_thresholds_have_a_bound() -> None:
    seen, scores, _ = judged(day(4, 2.0, None))
    scores.posterior[:, 2] = 0.999
    profile = warmed_up(seen, scores)
    (of_c2,) = (one for one in profile.thresholds if one.verdict == "c2")
    assert (of_c2.value, of_c2.how) == (HIGHEST["learnt"], "learnt")
    asked = [one.threshold for one in profile.proposals if one.threshold is not None]
    assert ("c2", pytest.approx(0.999)) in asked


def test_decisions_stay_when_the_site_is_learnt_again() -> None:
    seen, scores, _ = judged(day(5, 2.0, 0))
    profile = warmed_up(seen, scores)
    by_text = {str(one.key): one.id for one in profile.proposals if one.key is not None}
    cloud, calls = by_text[f"{DEVICES[1]} -> public tcp/443"], by_text[f"{DEVICES[0]} -> public tcp/4975"]
    hub = profile.known[0].key.id
    decided = decide(profile, "accept", [cloud], WORD)
    decided = decide(decided, "reject", [calls, hub], WORD)
    again = warmed_up(seen, scores, decided)
    assert again.revision == decided.revision + 1 == 4
    assert cloud in {one.key.id for one in again.known if one.how == "accepted"}
    assert not {cloud, calls, hub} & {one.id for one in again.proposals}
    assert hub not in {one.key.id for one in again.known}
    forgotten = decide(again, "forget", [hub, cloud], WORD)
    afresh = warmed_up(seen, scores, forgotten)
    assert hub in {one.key.id for one in afresh.known}
    assert cloud in {one.id for one in afresh.proposals}


def test_a_decision_says_who_made_it_why_and_when() -> None:
    profile = warmed_up(*judged(day(6, 1.0, None))[:2])
    after = decide(profile, "accept", ["all"], WORD)
    assert (after.history[-1].action, after.history[-1].revision, after.history[-1].word) == (
        "accept",
        2,
        WORD,
    )
    assert all(one.word == WORD for one in after.known if one.how == "accepted")
    assert after.proposals == ()


@pytest.mark.parametrize(
    ("action", "ids", "word", "says"),
    [
        ("accept", ["0123456789"], WORD, "has nothing to accept by the id '0123456789'"),
        ("forget", ["0123456789"], WORD, "`autodeep profile show home` lists the ids"),
        ("accept", ["all"], Word("", "why", 1), "--who NAME"),
        ("reject", ["all"], Word("ann", " ", 1), "--why TEXT"),
    ],
)
def test_a_decision_that_cannot_be_says_what_to_do(
    action: str, ids: list[str], word: Word, says: str
) -> None:
    profile = warmed_up(*judged(day(6, 1.0, None))[:2])
    with pytest.raises(DataError) as caught:
        decide(profile, action, ids, word)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_there_is_nothing_to_accept_where_nothing_is_proposed() -> None:
    with pytest.raises(DataError, match="there is no proposal"):
        decide(blank(HOME), "accept", ["all"], WORD)
