"""Telemetry records to events: which schema wrote each, its columns, and what is wrong with the bad ones.

A record's result depends on its own key and bytes alone, never on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.codec.avro import schemas
from streams.codec.avro.columns import Columns
from streams.codec.avro.datum import Unreadable
from streams.codec.avro.schemas import Schema
from streams.codec.ingest import datums
from streams.codec.ingest.checks import USUAL, Batch, Limits, check, rejected, without_nulls
from streams.codec.ingest.traces import traces_of
from streams.codec.ingest.writers import SchemaRegistry, Writers
from streams.core.clocks import kafka_time_us
from streams.core.events import Decoded, Events, RawRecord, Rejected
from streams.core.tables import FeatureTable, Rows


@dataclass(frozen=True, slots=True)
class _Part:
    """Checked records of one writer: (N,) rows, of which `good` are used."""

    batch: Batch
    rows: Rows


class TelemetryDecoder:
    """Decodes chunks of telemetry; safe to use from several threads.

    Records are read as rows of `table` by the schema `reader`, our ConnectionRecord where none is given. A
    column of the table that may be absent is so where the record has null for it, or its writer lacks it.
    `writer_schemas` are those that producers use besides the reader's and its history.
    """

    def __init__(
        self,
        table: FeatureTable,
        writer_schemas: Iterable[Schema] = (),
        registry: SchemaRegistry | None = None,
        limits: Limits = USUAL,
        reader: Schema | None = None,
    ) -> None:
        self._table = table
        self._reader = reader or schemas.load(schemas.CONNECTION_RECORD)
        self._writers = Writers(self._reader, (*writer_schemas, schemas.load("Flow")), registry)
        self._limits = limits

    def decode(self, records: Sequence[RawRecord]) -> Decoded:
        """Events in the records' order, and a Rejected for each record that is none.

        Raises RegistryUnavailable where a schema id is unknown and the registry does not answer.
        """
        wrong: list[Rejected] = []
        parts: list[_Part] = []
        for group in self._writers.groups(records, wrong):
            if isinstance(group.plan, Unreadable):
                wrong += [rejected(at, group.plan.reason, group.plan.detail) for at in group.positions]
            else:
                data = [(records[at].value or b"")[group.header_size :] for at in group.positions]
                read = datums.read(group.plan, group.positions, data, wrong)
                parts.append(self._part(records, *read, wrong))
        for part in parts:
            wrong += part.batch.wrong.values()
        return Decoded(
            _merge(self._table, records, parts), tuple(sorted(wrong, key=lambda one: one.position))
        )

    def _part(
        self, records: Sequence[RawRecord], places: list[int], read: Columns, wrong: list[Rejected]
    ) -> _Part:
        positions, full, nulls = without_nulls(np.array(places, np.int64), read, self._table.optional)
        wrong += nulls
        keys = [records[at].key for at in positions.tolist()]
        ids = full["device_id"].to_list()
        timestamp_ms = np.fromiter((records[at].timestamp for at in positions.tolist()), np.int64, len(ids))
        kafka_us = kafka_time_us(timestamp_ms)
        batch = Batch(self._table, positions, keys, full, ids, kafka_us, self._limits)
        return _Part(batch, check(batch))


def _merge(table: FeatureTable, records: Sequence[RawRecord], parts: Sequence[_Part]) -> Events:
    """The good rows of all parts, in the records' order."""
    position = _joined([part.batch.positions for part in parts], np.dtype(np.int64))  # (N,)
    time = _joined([part.batch.columns["event_time_us"].to_numpy() for part in parts], np.dtype(np.int64))
    kafka_us = _joined([part.batch.kafka_us for part in parts], np.dtype(np.int64))
    rows = _joined([part.rows for part in parts], table.row)
    ids = [one for part in parts for one in part.batch.device_ids]
    refused = {int(part.batch.positions[row]) for part in parts for row in part.batch.wrong}
    if len(parts) > 1 or refused:
        keep = np.array(
            [at for at in np.argsort(position).tolist() if int(position[at]) not in refused], np.int64
        )
        position, time, kafka_us = position[keep], time[keep], kafka_us[keep]
        rows, ids = rows[keep], [ids[at] for at in keep]
    good = [records[at] for at in position.tolist()]
    offset = np.fromiter((record.offset for record in good), np.int64, len(position))
    return Events(position, offset, time, ids, rows, traces_of(good), timestamp_us=kafka_us)


def _joined(parts: Sequence[npt.NDArray[Any]], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Mostly there is one: all of a turn's records have one writer."""
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])
