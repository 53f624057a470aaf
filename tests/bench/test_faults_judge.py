"""The judge of the fault bench: a sound case passes, and each law is found where it is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.faults.case import Case, Law, Letter, Polled, Span, Stored
from bench.faults.evidence import unread
from bench.faults.feed import Poison, Record
from bench.faults.figures import longest_stall_s, recovery_s
from bench.faults.flow import SERIAL, Place
from bench.faults.judge import judge
from bench.faults.offline import Event, Offline, events_of
from bench.parity import Said
from streams.client.replaying import Feed, device_name
from streams.core.alerts import Alert
from streams.core.kdd99 import KDD99
from streams.core.windows import WIDTH
from streams.model.detector import Detector
from streams.model.gate import standard_rows
from streams.training.evaluate import evaluate_rows

OLD, NOW = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
FIRST, SECOND = "1" * 64, "2" * 64
T = 1_000_000  # detection of the event at offset n is at T * (n + 1)
LETTER_AT = Place(1, 0, 4)


def said(number: int, fill: int) -> Said:
    """Event 2 is a dos; a window of one event makes a probe of it."""
    verdict = "normal" if number % 4 != 2 else ("dos" if fill > 1 else "probe")
    return Said(verdict, verdict, (0.25, 0.75), number + fill / 100, fill)


def heard(case: Case, number: int, fill: int | None = None, **changed: Any) -> Polled:
    event = case.events[number]
    fill = event.full if fill is None else fill
    told = said(number, fill)
    alert = Alert(
        alert_id=case.id_of(event.place),
        device_id=event.device,
        event_time_us=event.time_us,
        detected_at_us=T * (event.place.offset + 1),
        verdict=told.verdict,
        closest=told.closest,
        scores={"normal": told.scores[0], "dos": told.scores[1]},
        novelty=told.novelty,
        window_fill=fill,
        window_width=16,
        topic="ids.telemetry",
        topic_id=case.lives[event.place.life],
        partition=event.place.partition,
        offset=event.place.offset,
        model_name="m",
        model_version="1",
        model_digest=FIRST,
    )
    return Polled("ids.classified", 0, number, alert.detected_at_us, replace(alert, **changed))


def alerted(one: Polled) -> Polled:
    return replace(one, topic=f"ids.alerts.{one.alert.verdict}")


def letter(case: Case, **changed: bytes) -> Letter:
    told = {"reason": b"empty_value", "id": case.id_of(LETTER_AT).encode(), **changed}
    headers = ((SERIAL, b"9"), *((f"autodeep.{name}", value) for name, value in told.items()))
    return Letter(LETTER_AT, b"d", b"", headers, 5 * T)


def sound() -> Case:
    """Device d: two events in the topic's first life, which was deleted, four in the present one."""
    places = [Place(0, 0, 0), Place(0, 0, 1), *(Place(1, 0, offset) for offset in range(4))]
    histories = [(0,), (0, 1), (2,), (2, 3), (2, 3, 4), (2, 3, 4, 5)]
    events = [
        Event(place, "d", 100 + i, i, 0 if place.life == 0 else T * place.offset, history, 100 + i)
        for i, (place, history) in enumerate(zip(places, histories, strict=True))
    ]
    bare = Case(
        events=events,
        width=WIDTH,
        poison={LETTER_AT: (Record(9, b"d", b"", -1, Poison.EMPTY), 4 * T)},
        expected=lambda asked: [said(*one) for one in asked],
        row=lambda event: bytes([event.row]),
        lives=(OLD, NOW),
        committed={0: {0: 1}},
        losses=(),
        models={FIRST: 0},
        classified=(),
        alerts=(),
        letters=(),
        stored={(0, "d"): Stored(NOW, 0, 3, 105, (b"\x02", b"\x03", b"\x04", b"\x05"))},
        alert_topic=lambda verdict: f"ids.alerts.{verdict}",
    )
    verdicts = [heard(bare, number) for number in (0, 2, 3, 4, 5)]  # number 1 went with the topic
    alerts = [alerted(one) for one in verdicts if one.alert.verdict != "normal"]
    return replace(bare, classified=verdicts, alerts=alerts, letters=(letter(bare),))


def changed_verdict(case: Case, number: int, **changed: Any) -> Case:
    """The case with one verdict (and its alert) said otherwise."""

    def swap(all_heard: Sequence[Polled]) -> list[Polled]:
        event = case.events[number].place
        return [
            replace(one, alert=replace(one.alert, **changed))
            if (one.alert.offset, one.alert.topic_id) == (event.offset, case.lives[event.life])
            else one
            for one in all_heard
        ]

    return replace(case, classified=swap(case.classified), alerts=swap(case.alerts))


def without(case: Case, number: int) -> Case:
    offset = case.events[number].place.offset
    kept = [one for one in case.classified if one.alert.offset != offset or one.alert.topic_id != NOW]
    return replace(case, classified=kept)


def test_a_sound_case_breaks_no_law_and_repeats_are_counted() -> None:
    case = sound()
    assert judge(case).broken == []
    assert judge(case).repeats == 0
    again = [replace(one, offset=one.offset + 100) for one in case.classified[:3]]
    again[0] = replace(again[0], alert=replace(again[0].alert, detected_at_us=77 * T))
    repeated = replace(case, classified=[*case.classified, *again], letters=[*case.letters, *case.letters])
    assert judge(repeated).broken == []
    assert judge(repeated).repeats == 4


BREAKS: dict[str, tuple[Law, Callable[[Case], Case]]] = {
    "an event without a verdict": (Law.LOST, lambda case: without(case, 4)),
    "a verdict without its alert": (Law.LOST, lambda case: replace(case, alerts=case.alerts[1:])),
    "poison without a dead letter": (Law.LOST, lambda case: replace(case, letters=())),
    "a committed event of the deleted life": (
        Law.LOST,
        lambda case: replace(case, committed={0: {0: 2}}),
    ),
    "an event that was skipped in the deleted life": (
        Law.LOST,
        lambda case: replace(case, committed={}, classified=[heard(case, 1), *case.classified[1:]]),
    ),
    "a verdict on nothing": (
        Law.EXTRA,
        lambda case: replace(case, classified=[*case.classified, heard(case, 5, offset=9, alert_id="x")]),
    ),
    "an id of another place": (Law.EXTRA, lambda case: changed_verdict(case, 3, alert_id="x")),
    "an alert of what is normal": (
        Law.EXTRA,
        lambda case: replace(case, alerts=[*case.alerts, alerted(heard(case, 3))]),
    ),
    "an alert on another class's topic": (
        Law.EXTRA,
        lambda case: replace(case, alerts=[*case.alerts, replace(case.alerts[0], topic="ids.alerts.r2l")]),
    ),
    "a dead letter of a good record": (
        Law.EXTRA,
        lambda case: replace(case, letters=[*case.letters, replace(letter(case), place=Place(1, 0, 2))]),
    ),
    "the same id with another score": (
        Law.DIFFERING,
        lambda case: replace(case, classified=[*case.classified, heard(case, 3, novelty=9.0)]),
    ),
    "an alert that says otherwise than the verdict": (
        Law.DIFFERING,
        lambda case: replace(case, alerts=[*case.alerts, alerted(heard(case, 2, novelty=9.0))]),
    ),
    "dead letters that differ": (
        Law.DIFFERING,
        lambda case: replace(case, letters=[*case.letters, letter(case, detail=b"otherwise")]),
    ),
    "another verdict than offline": (
        Law.WRONG_VERDICT,
        lambda case: changed_verdict(case, 3, closest="dos"),
    ),
    "another device": (Law.WRONG_VERDICT, lambda case: changed_verdict(case, 3, device_id="e")),
    "a model that nobody ordered": (
        Law.WRONG_VERDICT,
        lambda case: changed_verdict(case, 3, model_digest=SECOND),
    ),
    "a model before it was ordered": (
        Law.WRONG_VERDICT,
        lambda case: changed_verdict(
            replace(case, models={FIRST: 0, SECOND: 50 * T}), 3, model_digest=SECOND
        ),
    ),
    "a shorter window without a loss": (
        Law.WRONG_VERDICT,
        lambda case: replace(case, classified=[*case.classified[:3], heard(case, 4, 1), case.classified[4]]),
    ),
    "a longer window": (Law.WRONG_VERDICT, lambda case: changed_verdict(case, 3, window_fill=3)),
    "a dead letter with another reason": (
        Law.WRONG_VERDICT,
        lambda case: replace(case, letters=[letter(case, reason=b"truncated")]),
    ),
    "a window that is not there": (
        Law.WRONG_WINDOW,
        lambda case: replace(case, stored={(0, "d"): None}),
    ),
    "a window with another offset": (Law.WRONG_WINDOW, lambda case: stored(case, offset=2)),
    "a window of another life": (Law.WRONG_WINDOW, lambda case: stored(case, topic_id=OLD)),
    "a window with fewer rows": (Law.WRONG_WINDOW, lambda case: stored(case, rows=(b"\x04", b"\x05"))),
    "a window with other rows": (
        Law.WRONG_WINDOW,
        lambda case: stored(case, rows=(b"\x02", b"\x04", b"\x03", b"\x05")),
    ),
    "a window of nobody": (
        Law.WRONG_WINDOW,
        lambda case: replace(case, stored={**case.stored, (1, "d"): case.stored[0, "d"]}),
    ),
    "first occurrences in another order": (
        Law.OUT_OF_ORDER,
        lambda case: replace(
            case,
            classified=[
                *case.classified[:3],
                *(replace(one, offset=9 - one.offset) for one in case.classified[3:]),
            ],
        ),
    ),
}


def stored(case: Case, **changed: Any) -> Case:
    window = case.stored[0, "d"]
    assert window is not None
    return replace(case, stored={(0, "d"): replace(window, **changed)})


@pytest.mark.parametrize(("law", "break_it"), BREAKS.values(), ids=BREAKS.keys())
def test_each_broken_law_is_found(law: Law, break_it: Callable[[Case], Case]) -> None:
    assert law in {one.law for one in judge(break_it(sound())).broken}


def deleted(verdicts: Sequence[int], alerts: Sequence[int]) -> list[str]:
    """What is broken where these of seven events were judged, nothing was committed, and the topic deleted.

    Two devices take turns; all is said of d in partition 0 of each output, and of e in partition 1.
    """
    plain = sound()
    events = [
        Event(Place(0, 0, i), "de"[i % 2], 100 + i, i, 0, tuple(range(i % 2, i + 1, 2)), 100 + i)
        for i in range(7)
    ]
    case = replace(plain, events=events, committed={}, poison={}, letters=(), stored={})
    all_heard = [replace(heard(case, i), partition=i % 2) for i in range(7)]
    case = replace(
        case,
        classified=[all_heard[i] for i in verdicts],
        alerts=[alerted(all_heard[i]) for i in alerts],
    )
    return [f"{one.law} {one.line}" for one in judge(case).broken]


def test_a_chunk_cut_short_by_the_deletion_is_not_lost_and_what_was_skipped_is() -> None:
    assert deleted([0, 1, 2, 3, 4, 5, 6], [2, 6]) == []
    assert deleted([0, 1, 2, 4, 6], [2]) == [], "of e, the other partition's last events were not said"
    assert deleted([0, 2, 4, 6], []) == [], "nothing was said of e, nor on the topics of alerts"
    (skipped,) = deleted([0, 1, 2, 4, 5, 6], [2, 6])
    assert "no verdict on e" in skipped
    assert ["no alert of d" in line for line in deleted([0, 1, 2, 3, 4, 5, 6], [6])] == [True]


def test_a_repeat_of_an_old_event_after_a_later_one_is_in_order() -> None:
    case = sound()
    again = replace(case.classified[1], offset=50)
    assert judge(replace(case, classified=[*case.classified, again])).broken == []


def lost_data(fill: int, before: int, after: int) -> Case:
    """Redis lost its data just between the detections of two events; the last event's window holds `fill`."""
    case = replace(sound(), losses=((T * before + T // 3, T * before + T // 2),))
    assert after == before + 1
    case = replace(case, classified=[*case.classified[:-1], heard(case, 5, fill)])
    rows = tuple(bytes([row]) for row in range(6 - fill, 6))
    return stored(case, rows=rows)


def test_after_a_loss_a_shorter_window_is_cold_and_must_hold_what_came_after_the_loss() -> None:
    cold = judge(lost_data(1, 3, 4))
    assert (cold.broken, cold.cold) == ([], 1)
    kept = judge(lost_data(4, 3, 4))
    assert (kept.broken, kept.cold) == ([], 0)
    forgotten = judge(lost_data(1, 2, 3))  # the event before was judged after the loss, and is not in it
    assert Law.WRONG_VERDICT in {one.law for one in forgotten.broken}
    assert judge(lost_data(2, 2, 3)).broken == []


def test_where_windows_are_rebuilt_none_may_be_shorter() -> None:
    cold = judge(replace(lost_data(1, 3, 4), rebuilds=True))
    assert {one.law for one in cold.broken} == {Law.WRONG_VERDICT, Law.WRONG_WINDOW}
    assert judge(replace(lost_data(4, 3, 4), rebuilds=True)).broken == []


def test_a_shorter_window_from_before_the_loss_is_wrong() -> None:
    case = lost_data(1, 5, 6)
    assert Law.WRONG_VERDICT in {one.law for one in judge(case).broken}


def test_a_window_may_be_absent_where_its_last_event_had_been_judged_before_the_loss() -> None:
    case = replace(sound(), stored={(0, "d"): None})
    assert judge(replace(case, losses=((5 * T, 5 * T + 1),))).broken == []
    late = replace(case, losses=((3 * T, 3 * T + 1),))
    assert [one.law for one in judge(late).broken] == [Law.WRONG_WINDOW]


UNREAD = Span(1, 0, 5, 9)
"""Deleted before it was committed; of it Place(1, 0, 7) had been judged."""


def deleted_unread(**changed: Any) -> Case:
    gone = frozenset(Place(1, 0, offset) for offset in (5, 6, 8))
    case = replace(sound(), gone=gone, deletions=(UNREAD,), said_lost=(UNREAD,), counted_lost=4)
    return replace(case, **changed)


def test_what_was_deleted_unread_is_no_loss_where_it_is_said_and_counted() -> None:
    assert judge(deleted_unread()).broken == []
    by_two = (Span(1, 0, 5, 7), Span(1, 0, 8, 9))  # what stood between had been read
    assert judge(deleted_unread(said_lost=by_two, counted_lost=3)).broken == []


@pytest.mark.parametrize(
    ("changed", "laws"),
    [
        ({"said_lost": (), "counted_lost": 0}, [Law.LOST] * 3),
        ({"said_lost": (Span(1, 0, 5, 8),), "counted_lost": 3}, [Law.LOST]),
        ({"said_lost": (Span(0, 0, 5, 9),)}, [Law.LOST] * 3 + [Law.MISCOUNTED]),
        ({"said_lost": (Span(1, 0, 4, 9),), "counted_lost": 5}, [Law.MISCOUNTED]),
        ({"said_lost": (Span(1, 0, 5, 10),), "counted_lost": 5}, [Law.MISCOUNTED]),
        ({"counted_lost": 3}, [Law.MISCOUNTED]),
        ({"counted_lost": 8}, [Law.MISCOUNTED]),
    ],
)
def test_what_was_deleted_unread_and_passed_over_or_miscounted_is_found(
    changed: dict[str, Any], laws: list[Law]
) -> None:
    assert [one.law for one in judge(deleted_unread(**changed)).broken] == laws


def test_only_what_was_deleted_unread_and_not_judged_is_out_of_the_history() -> None:
    case = sound()
    found = {event.place: (Record(0, b"d", b"", event.row), 1) for event in case.events}
    letters = [letter(case)]
    gone = unread(found, [Span(1, 0, 2, 9), Span(0, 1, 0, 9)], case.lives, case.classified[:-1], letters)
    assert gone == {Place(1, 0, 3)}, "the last event, whose verdict is not there"


def test_alike_models_may_repeat_each_others_verdicts_once_the_second_was_ordered() -> None:
    case = replace(sound(), models={FIRST: 0, SECOND: T})
    again = heard(case, 3, model_version="2", model_digest=SECOND)
    assert judge(replace(case, classified=[*case.classified, replace(again, offset=50)])).broken == []


def test_the_plain_recomputation_is_that_of_evaluation_and_begins_anew_after_a_long_gap() -> None:
    detector = Detector.random(KDD99)
    rows, count = standard_rows(KDD99, 40), 40
    time_us = np.arange(count, dtype=np.int64)
    source = Feed(rows, np.zeros(count, np.int64), time_us)
    found = {Place(0, 0, 2 * i): (Record(i, b"", b"", i), 1) for i in range(count)}
    events = events_of(found, source, WIDTH, idle_us=10)
    assert [event.full for event in events] == [min(i + 1, WIDTH) for i in range(count)]
    assert {event.device for event in events} == {device_name(0)}
    expected = evaluate_rows(detector, rows)
    asked = [(i, min(event.full, detector.width)) for i, event in enumerate(events)]
    told = Offline(detector, events, source)(asked)
    assert [one.verdict for one in told] == [detector.verdicts[i] for i in expected.verdict.tolist()]
    assert [one.scores for one in told] == [
        tuple(scores) for scores in expected.posterior.astype(np.float64).round(4).tolist()
    ]
    gap_us = np.where(time_us < 30, 0, 11)
    jumping = dataclasses.replace(source, event_time_us=time_us + gap_us)
    assert [event.full for event in events_of(found, jumping, WIDTH, 10)][28:33] == [16] * 5, "by its clock"
    appended = {place: (record, 1 + int(gap_us[record.row])) for place, (record, _) in found.items()}
    assert [event.full for event in events_of(appended, source, WIDTH, 10)][28:33] == [16] * 5, "buffered"
    assert [event.full for event in events_of(appended, jumping, WIDTH, 10)][28:33] == [16, 16, 1, 2, 3]
    live = dataclasses.replace(jumping, event_time_us=np.where(time_us % 2, 0, time_us + gap_us))
    mixed = events_of(appended, live, WIDTH, 10)
    assert [event.full for event in mixed][28:35] == [16, 16, 1, 2, 3, 4, 5], "late ones join"
    assert [event.latest_us for event in mixed][28:33] == [28, 28, 41, 41, 43]


def narrow(fill: int) -> Case:
    """The model looks at two events of a window; the last event's verdict at `fill`."""
    case = replace(sound(), width=2)
    numbers = (0, 2, 3, 4)
    verdicts = [*(heard(case, i, case.seen(case.events[i])) for i in numbers), heard(case, 5, fill)]
    alerts = [alerted(one) for one in verdicts if one.alert.verdict != "normal"]
    return replace(case, classified=verdicts, alerts=alerts)


def test_a_model_that_looks_at_less_than_a_window_is_held_to_what_it_looks_at() -> None:
    case = narrow(2)
    assert judge(case).broken == []
    assert [one.law for one in judge(narrow(3)).broken] == [Law.WRONG_VERDICT]
    assert Law.WRONG_VERDICT in {one.law for one in judge(narrow(1)).broken}
    shorter = stored(case, rows=(b"\x04", b"\x05"))
    assert [one.law for one in judge(shorter).broken] == [Law.WRONG_WINDOW]
    after_a_loss = replace(shorter, losses=((T, T + 1),))
    assert judge(after_a_loss).broken == []
    assert Law.WRONG_WINDOW in {one.law for one in judge(stored(after_a_loss, rows=(b"\x05",))).broken}


def test_a_stall_lasts_while_something_waits_and_a_recovery_until_nothing_of_before_is_left() -> None:
    second = 1_000_000
    pairs = [(at * second, done * second) for at, done in ((0, 1), (10, 11), (12, 20), (13, 21), (22, 23))]
    assert longest_stall_s(pairs) == 8.0  # from 12, when something waited, to 20
    assert recovery_s(pairs, 14 * second) == 7.0
    assert recovery_s(pairs, 21 * second) == 0.0
