"""The law of windows: what Redis holds of each device at the end is what its events make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from bench.faults.case import Broken, Case, Law, Stored
from bench.faults.offline import Event


def judge_windows(
    case: Case, fills: Mapping[int, Set[int]], last_detected_us: Mapping[int, int]
) -> Iterator[Broken]:
    """Of each device in each partition of the present life. `fills`: what was told of each event's window.

    After a loss a window may be as short as what was told of its last event; and it may be absent where that
    event had been judged before the data were lost.
    """
    last: dict[tuple[int, str], int] = {}
    for number, event in enumerate(case.events):
        if event.place.life == len(case.lives) - 1:
            last[event.place.partition, event.device] = number
    lost_us = max((after for _, after in case.losses), default=0)
    for whose, number in last.items():
        event, stored = case.events[number], case.stored.get(whose)
        if stored is None and last_detected_us.get(number, 0) < lost_us:
            continue
        wrong = _wrong(case, event, stored, fills.get(number, set()))
        if wrong is not None:
            yield Broken(Law.WRONG_WINDOW, f"the window of {event.device}, partition {whose[0]}: {wrong}")
    for whose in case.stored.keys() - last.keys():
        if case.stored[whose] is not None:
            yield Broken(Law.WRONG_WINDOW, f"a window of {whose}, which has no events")


def _wrong(case: Case, event: Event, stored: Stored | None, fills: Set[int]) -> str | None:
    if stored is None:
        return "there is none"
    found = (stored.topic_id, stored.partition, stored.offset, stored.time_us)
    wanted = (case.lives[-1], event.place.partition, event.place.offset, event.latest_us)
    if found != wanted:
        return f"it is {found}, not {wanted}"
    count = len(stored.rows)
    told = fills or {case.seen(event)}
    if min(count, case.width) not in told or count > event.full:
        return f"it holds {count} of {event.full} events, and the verdict looked at {sorted(told)}"
    if (not case.losses or case.is_rebuilt(event)) and count != event.full:
        return f"it holds {count} of {event.full} events, and nothing was lost for good"
    rows = tuple(case.row(case.events[number]) for number in event.history[-count:])
    return None if rows == stored.rows else "its rows are not the device's last"
