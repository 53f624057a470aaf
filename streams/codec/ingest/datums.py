"""The datums of one writer to columns: all at once, or in blocks, or one by one, so that poison is alone."""

from __future__ import annotations

from collections.abc import Sequence

from streams.codec.avro import columns
from streams.codec.avro.columns import Columns, Plan
from streams.codec.avro.datum import Unreadable
from streams.codec.ingest.checks import rejected
from streams.core.events import Reason, Rejected


def read(
    plan: Plan, positions: list[int], datums: Sequence[bytes], wrong: list[Rejected]
) -> tuple[list[int], Columns]:
    """The places (N) of the readable records, and their columns; `wrong` gets the others."""
    found = columns.read_batch(plan, datums)
    if found is not None:
        return positions, found
    places, parts = [], []
    for start in range(0, len(datums), columns.BLOCK):
        some = positions[start : start + columns.BLOCK]
        block = datums[start : start + columns.BLOCK]
        found = columns.read_batch(plan, block) if len(datums) > columns.BLOCK else None
        if found is None:
            some, found = _read_singly(plan, some, block, wrong)
        places += some
        parts.append(found)
    return places, columns.joined(parts)


def _read_singly(
    plan: Plan, positions: Sequence[int], datums: Sequence[bytes], wrong: list[Rejected]
) -> tuple[list[int], Columns]:
    good, values = [], []
    for position, data in zip(positions, datums, strict=True):
        try:
            value, end = plan.read(data, 0)
            if end != len(data):
                raise Unreadable(
                    Reason.TRAILING_BYTES, f"the record ends at byte {end} of {len(data)} after its header"
                )
        except Unreadable as exc:
            wrong.append(rejected(position, exc.reason, exc.detail))
        except RecursionError:
            wrong.append(rejected(position, Reason.UNDECODABLE, "nested too deeply"))
        else:
            good.append(position)
            values.append(value)
    return good, columns.from_values(plan, values)
