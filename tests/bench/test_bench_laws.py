"""The judgements of the benches: each broken law is found, and the figures of reloads are what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench import reload_figures as figures
from bench.kill_laws import Read, broken_laws
from bench.kill_schedules import Kill, draw
from bench.reload_figures import Span, Tenure, Verdicts
from streams.codec.models import ModelRef, ModelState, ModelStatus

FIRST = "1" * 64


def state(revision: int, version: str, command_id: str) -> ModelState:
    return ModelState(revision, ModelRef("m", version, version * 64), 5, command_id=command_id)


def decision(revision: int, version: str, command_id: str, outcome: str = "promoted") -> ModelStatus:
    return ModelStatus(
        "decision", "w", command_id, revision, "m", version, version * 64, outcome, "", 0.0, 5  # type: ignore[arg-type]
    )  # fmt: skip


SOUND = Read(
    states=(state(1, "2", "a"), state(2, "1", "b")),
    decisions=(decision(1, "2", "a"), decision(1, "9", "x", "refused"), decision(2, "1", "b")),
    judged={("d", 1): FIRST, ("d", 2): "2" * 64},
    digests={FIRST, "2" * 64},
)
COMMANDS = ("a", "x", "b")
SERVING = ({"revision": 2, "digest": FIRST},) * 2


def test_nothing_is_broken_where_all_agree() -> None:
    assert broken_laws(SOUND, COMMANDS, FIRST, SERVING, 2) == []


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"states": (state(2, "1", "b"), state(1, "2", "a"))}, "the revisions are [2, 1]"),
        ({"states": (*SOUND.states, state(2, "3", "c"))}, "the revisions are [1, 2, 2]"),
        ({"decisions": SOUND.decisions[:2]}, "command b has 0 decisions"),
        ({"decisions": (*SOUND.decisions, decision(2, "1", "b"))}, "command b has 2 decisions"),
        ({"decisions": (*SOUND.decisions[:2], decision(2, "3", "b"))}, "revision 2 of command b"),
        ({"judged": {("d", 1): FIRST}}, "2 events sent, 1 judged"),
        ({"digests": {FIRST, "3" * 64}}, "never were active: 333"),
    ],
)
def test_a_broken_law_is_told(told: dict[str, object], says: str) -> None:
    found = broken_laws(dataclasses.replace(SOUND, **told), COMMANDS, FIRST, SERVING, 2)  # type: ignore[arg-type]
    assert any(says in law for law in found), found


@pytest.mark.parametrize("one", [{"revision": 1, "digest": FIRST}, {"revision": 2, "digest": "2" * 64}, {}])
def test_a_worker_that_serves_something_else_is_told(one: dict[str, object]) -> None:
    (law,) = broken_laws(SOUND, COMMANDS, FIRST, (SERVING[0], one), 2)
    assert "a worker serves" in law


def test_a_schedule_is_the_same_whenever_it_is_drawn_and_four_in_turn_have_every_kind() -> None:
    schedules = [draw(1, number) for number in range(1, 5)]
    assert schedules == [draw(1, number) for number in range(1, 5)]
    assert [schedule.incidents[0].kill for schedule in schedules] == list(Kill)
    assert draw(2, 1) != schedules[0]
    for incident in (incident for schedule in schedules for incident in schedule.incidents):
        assert incident.during.version not in ("", incident.before[-1].version)


REIGNS = (Tenure("a", 0, 0), Tenure("b", 1000, 2000), Tenure("a", 5000, 6000))


def verdicts(*rows: tuple[int, int, str]) -> Verdicts:
    """(sent, appended, digest) of each."""
    names = tuple(sorted({digest for _, _, digest in rows}))
    sent, appended, model = zip(*((s, a, names.index(d)) for s, a, d in rows), strict=True)
    return Verdicts(np.array(sent), np.array(appended), np.array(model), names)


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ((500, 600, "a"), 0),
        ((900, 1100, "b"), 0),  # sent before the command, judged after it
        ((500, 900, "b"), 1),  # judged before the command
        ((1999, 2500, "a"), 0),  # sent before the last worker had left it
        ((2001, 2500, "a"), 1),  # nobody served it any more
        ((2001, 5100, "a"), 0),  # it was promoted again meanwhile
        ((2500, 2600, "c"), 1),
    ],
)
def test_a_verdict_is_wrong_where_its_model_served_nowhere_meanwhile(
    row: tuple[int, int, str], wrong: int
) -> None:
    assert figures.wrong(verdicts(row), REIGNS) == wrong


def test_latency_during_reloads_counts_until_the_windows_have_settled() -> None:
    settled_us = 2000 + figures.SETTLING_US
    rows = [(1000, 9000, "a"), (settled_us - 1, settled_us + 7999, "a"), (settled_us, settled_us + 2000, "a")]
    before = (100, 50_000, "a")  # before anything is counted
    found = figures.latencies(verdicts(before, *rows), [Span(1000, 2000)], since_us=500)
    assert (found["during_ms"]["p99"], found["without_ms"]["p99"], found["p99_ratio"]) == (8.0, 2.0, 4.0)


def test_the_slope_is_that_of_the_steepest_worker_without_the_first_fifth() -> None:
    rss_kib = [[90_000, 0]] * 2 + [[50_000 + 1024 * i, 40_000] for i in range(8)]
    assert figures.slope_mib(rss_kib) == pytest.approx(100.0)
