"""Which schema wrote each record of a topic, and how its datums become the reader's columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from streams.codec.avro import columns, framing, schemas
from streams.codec.avro.columns import Plan
from streams.codec.avro.datum import Unreadable
from streams.codec.avro.schemas import Schema
from streams.codec.ingest.checks import rejected, shown
from streams.codec.ingest.forms import value_form
from streams.core.events import RawRecord, Reason, Rejected, Unopened

_MAX_PLANS: Final = 256


class SchemaRegistry(Protocol):
    def schema(self, schema_id: int) -> Schema | None:
        """The writer's schema of an id, None for an unknown one.

        Raises Unreadable where that id cannot be had, RegistryUnavailable where none can.
        """
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """The records of one framing header."""

    plan: Plan | Unreadable
    header_size: int
    positions: list[int]


class Writers:
    """Of one topic. Safe to use from several threads."""

    def __init__(
        self, reader: Schema, others: Iterable[Schema] = (), registry: SchemaRegistry | None = None
    ) -> None:
        self._reader = reader
        self._writers = schemas.by_fingerprint((*others, *schemas.history(reader.name), reader))
        self._registry = registry
        self._plans: dict[bytes, Plan | Unreadable] = {}

    def groups(self, records: Sequence[RawRecord], wrong: list[Rejected]) -> list[Group]:
        """The records by their framing; `wrong` gets those that have none.

        Raises RegistryUnavailable where a schema id is unknown and the registry does not answer.
        """
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
        return [Group(self._plan(header), len(header), places) for header, places in by_weight]

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


def _cut_header(header: bytes, size: int) -> Unreadable:
    return Unreadable(Reason.TRUNCATED, f"the value ends within its {size}-byte header: {shown(header)}")
