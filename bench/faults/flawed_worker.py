"""`python -m bench.faults.flawed_worker RECORDS`: a worker whose pipeline raises once it took up so many."""

from __future__ import annotations

import sys

from streams.__main__ import main
from streams.core.events import Chunk
from streams.pipeline.detection import Computed, Pipeline


class Unforeseen(Exception):
    """Nothing that the worker knows."""


def spoil(after_records: int) -> None:
    """From now on this process's pipelines compute so many records, and then raise."""
    sound, left = Pipeline.compute, after_records

    def compute(self: Pipeline, chunk: Chunk) -> Computed:
        nonlocal left
        left -= len(chunk.records)
        if left < 0:
            raise Unforeseen(f"after {after_records} records")
        return sound(self, chunk)

    Pipeline.compute = compute  # type: ignore[method-assign]


if __name__ == "__main__":
    spoil(int(sys.argv.pop(1)))
    sys.argv.append("worker")
    main()
