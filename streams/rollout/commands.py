"""Commands about models as a processor of the conveyor: each is carried out, then acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.core.events import Chunk, Partition
from streams.pipeline.conveyor import Begun


class Agent(Protocol):
    """`agent.ModelAgent`, or one for each family."""

    def carry_out(self, value: bytes | None, where: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Commands:
    """Decides in the thread that computes, one command at a time; there is nothing left to deliver.

    `gives_up` says that a rebalance began or the worker stops: what was not carried out is left to whoever
    reads it next. Of those that are read again, the answered are known by their ids.
    """

    topic: str
    agent: Agent
    gives_up: Callable[[], bool]
    keeps_time: bool = False

    def begin(self, chunks: Sequence[Chunk]) -> Begun[int]:
        """How many were carried out."""
        taken: list[Chunk] = []
        for chunk in chunks:
            done = self._carry_out(chunk)
            if done:
                taken.append(chunk.cut(done)[0])
        count = sum(len(chunk.records) for chunk in taken)
        return Begun(taken, count or None)

    def deliver(self, computed: int) -> None:
        pass

    def assigned(self, partitions: frozenset[Partition]) -> None:
        pass

    def revoked(self, partitions: frozenset[Partition]) -> None:
        pass

    def _carry_out(self, chunk: Chunk) -> int:
        """The first so many were."""
        where = f"{chunk.source.topic}-{chunk.source.partition}"
        for done, record in enumerate(chunk.records):
            if self.gives_up() or not self.agent.carry_out(record.value, f"{where}@{record.offset}"):
                return done
        return len(chunk.records)
