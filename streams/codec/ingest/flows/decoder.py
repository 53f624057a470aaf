"""Batches of sensors' records to canonical columns, and what was skipped or cannot be read.

Zeek's JSON is read many records at once (`zeek_columns.py`); what is not plain there, and every other
dialect, is read record by record, which is also what the columns are tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from streams.codec.avro.datum import Unreadable
from streams.codec.ingest.checks import rejected
from streams.codec.ingest.flows import dialects, ours, zeek, zeek_columns
from streams.codec.ingest.flows.reading import NoFlow
from streams.codec.ingest.flows.zeek_tsv import Header
from streams.core.events import RawRecord, Reason, Rejected, Unopened
from streams.core.flow_columns import Flows, ReadFlows, Skipped, flows_of, merged
from streams.core.flow_times import settled
from streams.core.flows import Flow

Outcome = list[tuple[Flow, str]] | Skipped | Rejected
"""Of one record: its flows, each with its dialect; or why there are none."""

FEWEST: Final = 200
"""Fewer of Zeek's plain records are not worth their frames, which cost 8 ms; a record by itself costs 40 us.
"""
_LATEST_KAFKA_MS: Final = 4_102_444_800_000


class FlowDecoder:
    """Decodes records of sensors' topics; safe to use from several threads.

    `dialect` is one of `dialects.DIALECTS`; auto tells each record's by its content. So many plain records of
    Zeek are read at once, and fewer one by one: `fewest`.
    """

    def __init__(
        self, dialect: str = dialects.AUTO, registry: ours.Registry | None = None, fewest: int = FEWEST
    ) -> None:
        self._dialect = dialect
        self._registry = registry
        self._fewest = fewest

    def decode(self, records: Sequence[RawRecord], header: Header | None = None) -> ReadFlows:
        """Flows in the records' order. `header`: that of a file of Zeek's TSV.

        Raises RegistryUnavailable where a schema id is unknown and the registry does not answer.
        """
        fast, slow = self._fast(records) if header is None else ((), range(len(records)))
        skipped: list[Skipped] = []
        wrong: list[Rejected] = []
        singly = _Singly()
        for position in slow:
            outcome = self.read(records[position], position, header)
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
            elif isinstance(outcome, Rejected):
                wrong.append(outcome)
            else:
                singly.add(position, outcome)
        parts = [*fast, singly.flows()] if singly or not fast else fast
        return ReadFlows(merged(parts), tuple(skipped), tuple(wrong))

    def _fast(self, records: Sequence[RawRecord]) -> tuple[Sequence[Flows], Sequence[int]]:
        """The flows of Zeek's plain records, and the places of all others."""
        if self._dialect not in (dialects.AUTO, zeek.NAME):
            return (), range(len(records))
        given = [None if isinstance(record.value, Unopened) else record.value for record in records]
        places, plain, sensors = zeek_columns.plain(given, dialects.bare)
        if len(places) < self._fewest:
            return (), range(len(records))
        timestamps = np.fromiter((record.timestamp for record in records), np.int64, len(records))[places]
        is_time = (timestamps > 0) & (timestamps < _LATEST_KAFKA_MS)
        read, frame = zeek_columns.read(plain, sensors, np.where(is_time, timestamps * 1_000, 0))
        found = places[read]
        is_left = np.ones(len(records), np.bool_)
        is_left[found] = False
        dialect = pl.repeat(zeek.NAME, len(found), dtype=pl.String, eager=True).alias("dialect")
        return [Flows(found, frame, dialect)], np.flatnonzero(is_left).tolist()

    def read(self, record: RawRecord, position: int = 0, header: Header | None = None) -> Outcome:
        """One record by itself."""
        value = record.value
        if not value:
            return rejected(
                position, Reason.EMPTY_VALUE, f"the value is {'null' if value is None else 'empty'}"
            )
        if isinstance(value, Unopened):
            return rejected(position, value.reason, value.detail)
        try:
            seen = dialects.read(value, self._dialect, header, self._registry)
        except NoFlow as exc:
            return Skipped(position, str(exc))
        except Unreadable as exc:
            return rejected(position, exc.reason, exc.detail)
        except RecursionError:
            return rejected(position, Reason.UNDECODABLE, "nested too deeply")
        kafka_us = kafka_time_of(record.timestamp)
        return [(settled(one.flow, kafka_us, one.collected_us), one.dialect) for one in seen]


class _Singly:
    """Flows that are read one by one."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._flows: list[Flow] = []
        self._dialects: list[str] = []

    def __len__(self) -> int:
        return len(self._positions)

    def add(self, position: int, outcome: Sequence[tuple[Flow, str]]) -> None:
        for flow, dialect in outcome:
            self._positions.append(position)
            self._flows.append(flow)
            self._dialects.append(dialect)

    def flows(self) -> Flows:
        return flows_of(self._positions, self._flows, self._dialects)


def kafka_time_of(timestamp_ms: int) -> int | None:
    """None where there is no timestamp that can be."""
    return timestamp_ms * 1_000 if 0 < timestamp_ms < _LATEST_KAFKA_MS else None
