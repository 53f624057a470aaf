"""Wrong event times in the log: a line a reason, not one an event, which no sender can break."""

from __future__ import annotations

from streams.core.skew import OddTimes, Skew
from streams.worker.odd_times import AGAIN_S, OddTimesLog

MS, AHEAD = "event_time_us looks like milliseconds", "event_time_us is ahead"


def skew(why: str, count: int, device: str = "d") -> Skew:
    return Skew(odd=(OddTimes(why, count, device, 7, 9),))


def test_a_reason_has_one_line_at_a_time_and_the_next_tells_of_all_since() -> None:
    lines: list[str] = []
    now_s = [0.0]
    odd_times = OddTimesLog(lines.append, lambda: now_s[0])
    for skewed in (skew(MS, 3), skew(MS, 4), skew(AHEAD, 1), Skew()):
        odd_times.note(skewed)
    assert [line.partition(",")[0] for line in lines] == [f"{MS} in 3 events", f"{AHEAD} in 1 events"]
    now_s[0] = AGAIN_S
    odd_times.note(skew(MS, 5))
    assert lines[-1].startswith(f"{MS} in 9 events")


def test_a_device_id_cannot_forge_a_line_or_fill_one() -> None:
    lines: list[str] = []
    OddTimesLog(lines.append).note(skew(MS, 1, "x\n2026 ERROR \x1b[31m\u2028" + "y" * 1000))
    (line,) = lines
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 400
