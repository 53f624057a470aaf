"""Our own Avro `Flow`, for agents on devices and sensors of ours: written here, and read back."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Mapping
from typing import Any, Final, Protocol

import fastavro

from streams.codec.avro import datum, framing, schemas
from streams.codec.avro.schemas import Schema
from streams.codec.ingest.flows import values
from streams.codec.ingest.flows.reading import Seen
from streams.core.events import Reason
from streams.core.flow_columns import COUNTERS
from streams.core.flows import Flow, Quality, State

NAME: Final = "flow"
SCHEMA: Final = "Flow"
_STATES: Final = {state.name.lower(): state for state in State}
_ALL: Final = sum(Quality)
_TEXTS: Final = ("flow_id", "community_id", "site", "sensor")


class Registry(Protocol):
    def schema(self, schema_id: int) -> Schema | None: ...


def encode(flow: Flow) -> bytes:
    """A single object: what the topic of a device agent carries."""
    record = dataclasses.asdict(flow) | {"state": flow.state.name.lower(), "quality": int(flow.quality)}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _parsed(), record)
    return framing.single_object_header(schemas.load(SCHEMA).fingerprint) + out.getvalue()


@functools.cache
def _parsed() -> Any:
    return fastavro.parse_schema(dict(schemas.load(SCHEMA).source))


def is_framed(data: bytes) -> bool:
    return data[:2] == framing.SINGLE_OBJECT_MAGIC or data[:1] == bytes([framing.CONFLUENT_MAGIC])


def read(data: bytes, registry: Registry | None = None) -> Seen:
    """Raises Unreadable where it is no Flow, RegistryUnavailable where a registry is needed and away."""
    writer, start = _writer(data, registry)
    found, end = datum.reader_of(writer)(data, start)
    if end != len(data):
        values.wrong(Reason.TRAILING_BYTES, f"the record ends at byte {end} of {len(data)}")
    names = [field["name"] for field in writer.canonical["fields"]]
    defaults = {
        field["name"]: field["default"]
        for field in schemas.load(SCHEMA).source["fields"]
        if "default" in field
    }
    return Seen(_flow_of(defaults | dict(zip(names, found, strict=True))), NAME)


def _writer(data: bytes, registry: Registry | None) -> tuple[Schema, int]:
    """The schema that the header names, and where the datum begins."""
    if data[:2] == framing.SINGLE_OBJECT_MAGIC:
        size, known = framing.SINGLE_OBJECT_SIZE, (schemas.load(SCHEMA), *schemas.history(SCHEMA))
        writer = schemas.by_fingerprint(known).get(data[2:size])
        named = f"fingerprint {data[2:size].hex()}"
    else:
        size = framing.CONFLUENT_SIZE
        number = int.from_bytes(data[1:size], "big")
        writer, named = registry.schema(number) if registry and len(data) > size else None, f"id {number}"
    if len(data) <= size:
        values.wrong(Reason.TRUNCATED, f"the value ends within its {size}-byte header")
    if writer is None:
        values.wrong(Reason.UNKNOWN_SCHEMA, f"no schema of {named} is known")
    if writer.name != SCHEMA:
        values.wrong(
            Reason.SCHEMA_MISMATCH, f"the writer's record is {writer.name}; only {SCHEMA} is read here"
        )
    return writer, size


def _flow_of(record: Mapping[str, Any]) -> Flow:
    protocol = values.protocol(record.get("protocol"), "protocol")
    state = _STATES.get(str(record.get("state")))
    if state is None:
        values.wrong(Reason.SCHEMA_MISMATCH, f"state is {ascii(record.get('state'))[:60]}, which is none")
    quality = values.count(record.get("quality"), "quality") or 0
    flags = values.count(record.get("tcp_flags"), "tcp_flags")
    counted = {name: values.count(record.get(name), name) for name in COUNTERS}
    if not any(counted.values()) and counted["originator_packets"] == 0:
        counted, quality = dict.fromkeys(COUNTERS), quality | Quality.ZERO_COUNTERS
    texts = {name: values.text(record.get(name), name) for name in _TEXTS}
    ports = values.ports(record, ("originator_port", "responder_port"), protocol)
    span = values.ordered(
        values.time_us(record.get("start_us"), "start_us"), values.time_us(record.get("end_us"), "end_us")
    )
    return Flow(
        originator=values.address(record.get("originator"), "originator"),
        responder=values.address(record.get("responder"), "responder"),
        originator_port=ports[0],
        responder_port=ports[1],
        protocol=protocol,
        start_us=span[0],
        end_us=span[1],
        state=state,
        service=values.service(record.get("service"), "service"),
        originator_mac=values.mac(record.get("originator_mac")),
        responder_mac=values.mac(record.get("responder_mac")),
        half=record.get("half") in (True, b"\x01"),
        final=record.get("final") in (True, b"\x01"),
        tcp_flags=None if flags is None else flags & 0xFFF,
        quality=Quality(quality & _ALL),
        **texts,  # type: ignore[arg-type]  # by their names
        **counted,  # type: ignore[arg-type]
    )
