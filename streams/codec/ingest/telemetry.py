"""Telemetry records to events: which schema wrote each, its columns, and what is wrong with the bad ones.

A record's result depends on its own key and bytes alone, never on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from streams.codec.avro import columns, framing, schemas
from streams.codec.avro.columns import Columns, Plan
from streams.codec.avro.datum import Unreadable
from streams.codec.avro.schemas import Schema
from streams.codec.ingest.checks import USUAL, Batch, Limits, check, rejected, shown, without_nulls
from streams.codec.ingest.forms import value_form
from streams.codec.ingest.traces import traces_of
from streams.core.clocks import kafka_time_us
from streams.core.events import Decoded, Events, RawRecord, Reason, Rejected, Unopened
from streams.core.tables import FeatureTable, Rows

_MAX_PLANS: Final = 256


class SchemaRegistry(Protocol):
    def schema(self, schema_id: int) -> Schema | None:
        """The writer's schema of an id, None for an unknown one.

        Raises Unreadable where that id cannot be had, RegistryUnavailable where none can.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Group:
    """The records of one framing header."""

    plan: Plan | Unreadable
    header_size: int
    positions: list[int]


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
        ours = (*schemas.history(self._reader.name), self._reader, schemas.load("Flow"))
        self._writers = schemas.by_fingerprint((*writer_schemas, *ours))
        self._registry = registry
        self._limits = limits
        self._plans: dict[bytes, Plan | Unreadable] = {}

    def decode(self, records: Sequence[RawRecord]) -> Decoded:
        """Events in the records' order, and a Rejected for each record that is none.

        Raises RegistryUnavailable where a schema id is unknown and the registry does not answer.
        """
        wrong: list[Rejected] = []
        parts: list[_Part] = []
        for group in self._group(records, wrong):
            if isinstance(group.plan, Unreadable):
                wrong += [rejected(at, group.plan.reason, group.plan.detail) for at in group.positions]
            else:
                parts.append(self._part(records, *_read(records, group, group.plan, wrong), wrong))
        for part in parts:
            wrong += part.batch.wrong.values()
        return Decoded(
            _merge(self._table, records, parts), tuple(sorted(wrong, key=lambda one: one.position))
        )

    def _group(self, records: Sequence[RawRecord], wrong: list[Rejected]) -> list[_Group]:
        positions: dict[bytes, list[int]] = {}
        single = framing.SINGLE_OBJECT_MAGIC[0]
        for position, record in enumerate(records):
            value = record.value
            if not value:
                what = "null" if value is None else "empty"
                wrong.append(rejected(position, Reason.EMPTY_VALUE, f"the value is {what}"))
                continue
            if isinstance(value, Unopened):
                wrong.append(rejected(position, value.reason, value.detail))
                continue
            size = framing.SINGLE_OBJECT_SIZE if value[0] == single else framing.CONFLUENT_SIZE
            header = value[:size]
            positions.setdefault(header, []).append(position)
        # The registry is not asked for every id that somebody makes up: first for those of the most records,
        # then for the least ids, since registries count up.
        by_weight = sorted(positions.items(), key=lambda one: (-len(one[1]), one[0]))
        return [_Group(self._plan(header), len(header), places) for header, places in by_weight]

    def _plan(self, header: bytes) -> Plan | Unreadable:
        try:
            writer = self._writer(header)
        except Unreadable as exc:
            return exc
        plan = self._plans.get(writer.fingerprint)
        if plan is None:
            try:
                plan = columns.resolve(writer, self._reader)
            except Unreadable as exc:
                plan = exc
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[writer.fingerprint] = plan
        return plan

    def _writer(self, header: bytes) -> Schema:
        if len(header) == 1:
            raise Unreadable(Reason.UNKNOWN_FRAMING, f"the value is the single byte 0x{header.hex()}")
        if header[: len(framing.SINGLE_OBJECT_MAGIC)] == framing.SINGLE_OBJECT_MAGIC:
            return self._by_fingerprint(header)
        if header[0] == framing.CONFLUENT_MAGIC:
            return self._by_id(header)
        raise Unreadable(
            Reason.UNKNOWN_FRAMING,
            f"the value begins with {header[:5].hex(' ')}{value_form(header)}; "
            "expected c3 01 (single object) or 00 (Confluent)",
        )

    def _by_fingerprint(self, header: bytes) -> Schema:
        if len(header) < framing.SINGLE_OBJECT_SIZE:
            raise _cut_header(header, framing.SINGLE_OBJECT_SIZE)
        fingerprint = header[len(framing.SINGLE_OBJECT_MAGIC) :]
        writer = self._writers.get(fingerprint)
        if writer is None:
            raise Unreadable(
                Reason.UNKNOWN_SCHEMA,
                f"no schema of fingerprint {fingerprint.hex()} is known; put the writer's .avsc into the "
                "folder that AUTODEEP_WRITER_SCHEMAS names",
            )
        return writer

    def _by_id(self, header: bytes) -> Schema:
        if len(header) < framing.CONFLUENT_SIZE:
            raise _cut_header(header, framing.CONFLUENT_SIZE)
        schema_id = int.from_bytes(header[1:], "big")
        if self._registry is None:
            raise Unreadable(
                Reason.UNKNOWN_SCHEMA,
                f"schema id {schema_id}, and no registry to ask; set AUTODEEP_SCHEMA_REGISTRY_URL",
            )
        writer = self._registry.schema(schema_id)
        if writer is None:
            raise Unreadable(
                Reason.UNKNOWN_SCHEMA, f"the schema registry has no record schema of id {schema_id}"
            )
        return writer

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


def _cut_header(header: bytes, size: int) -> Unreadable:
    return Unreadable(Reason.TRUNCATED, f"the value ends within its {size}-byte header: {shown(header)}")


def _read(
    records: Sequence[RawRecord], group: _Group, plan: Plan, wrong: list[Rejected]
) -> tuple[list[int], Columns]:
    """The places (N) of a group's readable records, and their columns."""
    datums = [(records[at].value or b"")[group.header_size :] for at in group.positions]
    read = columns.read_batch(plan, datums)
    if read is not None:
        return group.positions, read
    places, parts = [], []
    for start in range(0, len(datums), columns.BLOCK):
        positions = group.positions[start : start + columns.BLOCK]
        block = datums[start : start + columns.BLOCK]
        read = columns.read_batch(plan, block) if len(datums) > columns.BLOCK else None
        if read is None:
            positions, read = _read_singly(plan, positions, block, wrong)
        places += positions
        parts.append(read)
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
