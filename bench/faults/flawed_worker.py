"""`python -m bench.faults.flawed_worker RECORDS`: a worker whose detection raises once it took up so many."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from streams.__main__ import main
from streams.core.events import Chunk
from streams.pipeline.conveyor import Begun
from streams.pipeline.detection import Computed, Detection


class Unforeseen(Exception):
    """Nothing that the worker knows."""


def spoil(after_records: int) -> None:
    """From now on this process's detection computes so many records, and then raises."""
    sound, left = Detection.begin, after_records

    def begin(self: Detection, chunks: Sequence[Chunk]) -> Begun[Computed]:
        nonlocal left
        left -= sum(len(chunk.records) for chunk in chunks)
        if left < 0:
            raise Unforeseen(f"after {after_records} records")
        return sound(self, chunks)

    Detection.begin = begin  # type: ignore[method-assign]


if __name__ == "__main__":
    spoil(int(sys.argv.pop(1)))
    sys.argv.append("worker")
    main()
