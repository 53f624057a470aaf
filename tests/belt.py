"""A conveyor under test: its threads' work runs in the event loop, whose clock moves only while it waits."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import selectors
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from streams.core.events import Chunk, Partition, Source
from streams.pipeline.conveyor import Conveyor, Ends, Pace, Processor

T = TypeVar("T")


class _Waiting(selectors.SelectSelector):
    """Never sleeps: where nothing is ready, the loop's clock goes to when something is due."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "the loop waits for what never comes"
            self.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._waiting = _Waiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        """Each look takes a nanosecond, so that what is a rounding error too early does not stay so."""
        self._waiting.now_s += 1e-9
        return self._waiting.now_s


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@dataclass
class InLoop:
    """Both threads: each piece of work comes after so many rounds of the loop, drawn by the test."""

    rounds: Callable[[], int] = lambda: 1

    async def compute(self, work: Callable[..., T], *arguments: Any) -> T:
        for _ in range(self.rounds()):
            await asyncio.sleep(0)
        return work(*arguments)

    deliver = compute


@dataclass
class Acknowledged:
    """What the transport was told."""

    through: dict[Source, int] = field(default_factory=dict)
    """The last offset of each partition that is done."""
    calls: list[tuple[Source, int]] = field(default_factory=list)
    watermarks_ms: dict[Source, int] = field(default_factory=dict)
    given_up: list[tuple[Source, int]] = field(default_factory=list)
    held: list[frozenset[Partition]] = field(default_factory=list)

    def ends(self) -> Ends:
        return Ends(
            self._acknowledge, lambda source, first: self.given_up.append((source, first)), self.held.append
        )

    def _acknowledge(self, source: Source, through: int, watermark_ms: int | None) -> None:
        assert through > self.through.get(source, -1), "acknowledged out of order"
        self.through[source] = through
        self.calls.append((source, through))
        if watermark_ms is not None:
            self.watermarks_ms[source] = watermark_ms


def conveyed(
    processor: Processor[Any],
    chunks: Sequence[Chunk],
    most_records: int = 4096,
    rounds: Callable[[], int] = lambda: 1,
) -> Acknowledged:
    """All of these chunks through a conveyor; what the transport was told, also where the processor dies.

    The processor's exception, any at all, ends it like a process; it is raised again.
    """
    told = Acknowledged()
    run(_convey(processor, chunks, most_records, InLoop(rounds), told))
    return told


class Died(BaseException):
    """Carries what was told until then."""

    def __init__(self, told: Acknowledged) -> None:
        super().__init__()
        self.told = told


@contextlib.contextmanager
def ending(died: Callable[[BaseException], None]) -> Iterator[None]:
    """What a processor raises ends the conveyor like a process, and is noted."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as exc:
        died(exc)
        raise asyncio.CancelledError from exc


async def _convey(
    processor: Processor[Any],
    chunks: Sequence[Chunk],
    most_records: int,
    threads: InLoop,
    told: Acknowledged,
) -> None:
    over = asyncio.Event()
    died: list[BaseException] = []

    def die(exc: BaseException) -> None:
        died.append(exc)
        over.set()

    ends = told.ends()
    last = {chunk.source: chunk.last_offset for chunk in chunks}

    def acknowledge(source: Source, through: int, watermark_ms: int | None) -> None:
        if died:
            return  # the process is gone
        ends.acknowledge(source, through, watermark_ms)
        if told.through == last:
            over.set()

    pace = Pace(0.05, most_records)
    belt = Conveyor(
        processor,
        Ends(acknowledge, ends.give_up, ends.hold),
        pace,
        threads,
        functools.partial(ending, die),
        asyncio.get_running_loop().time,
    )
    belt.assigned(frozenset(chunk.source.place for chunk in chunks))
    belt.put(chunks)
    running = asyncio.ensure_future(belt.run())
    if chunks:
        await over.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    if died:
        raise Died(told) from died[0]
