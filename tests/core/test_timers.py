"""Timers in stream time: the same records fire the same timers at the same offsets, however they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.core.timers import NO_WATERMARK, Fired, Timers, watermark_after

times_ms = st.lists(st.integers(0, 1000), min_size=1, max_size=60)


def fired_by(timers: Timers, records: list[tuple[int, int]]) -> list[Fired]:
    return [fired for offset, at_ms in records for fired in timers.advance(offset, at_ms)]


def test_a_timer_fires_with_the_record_that_moves_the_watermark_to_it() -> None:
    timers = Timers()
    timers.ask("a", 1500)
    records = [(7, 1000), (8, 900), (9, 1600), (10, 1200)]
    assert fired_by(timers, records) == [Fired(9, 1500, "a")]
    assert (timers.watermark_ms, len(timers)) == (1600, 0)


def test_a_record_late_or_of_the_same_moment_counts_by_the_watermark_alone() -> None:
    timers = Timers(watermark_ms=2000)
    timers.ask("due already", 500)
    timers.ask("exactly", 2000)
    assert fired_by(timers, [(1, 0)]) == [Fired(1, 500, "due already"), Fired(1, 2000, "exactly")]


def test_the_moment_asked_for_last_counts_and_a_cancelled_one_does_not() -> None:
    timers = Timers()
    timers.ask("moved", 100)
    timers.ask("moved", 300)
    timers.ask("gone", 100)
    timers.cancel("gone")
    assert fired_by(timers, [(0, 200), (1, 300)]) == [Fired(1, 300, "moved")]


@given(times_ms, st.dictionaries(st.sampled_from("abcdef"), st.integers(-100, 1200)), st.integers(0, 60))
def test_where_a_stream_is_cut_and_read_on_changes_nothing(
    stream_ms: list[int], asked: dict[str, int], cut: int
) -> None:
    """Whoever reads on has the watermark from the commit, and asks anew for what has not fired."""
    records = list(enumerate(stream_ms))
    whole, first = Timers(), Timers()
    for key, at_ms in asked.items():
        whole.ask(key, at_ms)
        first.ask(key, at_ms)
    before = fired_by(first, records[:cut])
    assert first.watermark_ms == watermark_after(NO_WATERMARK, stream_ms[:cut])
    second = Timers(first.watermark_ms)
    for key, at_ms in asked.items():
        if key not in {fired.key for fired in before}:
            second.ask(key, at_ms)
    assert [*before, *fired_by(second, records[cut:])] == fired_by(whole, records)
