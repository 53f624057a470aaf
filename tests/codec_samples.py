"""Records for the codec's tests, made with an independent Avro writer (fastavro) and drawn numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np

from streams.codec.avro import framing, schemas
from streams.codec.avro.schemas import Schema
from streams.core.events import Decoded, Header
from streams.core.kdd99 import KDD99

CURRENT = schemas.load("ConnectionRecord")


@dataclass(frozen=True, slots=True)
class Raw:
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0
    headers: Sequence[Header] = ()


def fields(device_id: str = "camera-1", seed: int = 0, **changed: Any) -> dict[str, Any]:
    """One ConnectionRecord as a dict, its numbers drawn from `seed`."""
    rng = np.random.default_rng(seed)
    record: dict[str, Any] = {"device_id": device_id, "event_time_us": 1_700_000_000_000_000 + seed}
    for column in KDD99.symbolic:
        record[column.name] = str(rng.choice(column.symbols))
    for number in KDD99.numeric:
        record[number.name] = (
            float(np.float32(rng.random())) if number.is_rate else int(rng.integers(0, 300) ** 2)
        )
    return {**record, **changed}


def datum(record: Mapping[str, Any], schema: Schema = CURRENT) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema.source)), dict(record))
    return out.getvalue()


def single(record: Mapping[str, Any], schema: Schema = CURRENT) -> bytes:
    return framing.single_object_header(schema.fingerprint) + datum(record, schema)


def raw(offset: int = 0, device_id: str = "camera-1", schema: Schema = CURRENT, **changed: Any) -> Raw:
    """A good record, unless `changed` says otherwise."""
    return Raw(offset, device_id.encode(), single(fields(device_id, seed=offset, **changed), schema))


def good(count: int) -> list[Raw]:
    return [raw(offset, f"device-{offset % 7}") for offset in range(count)]


def writer(
    change: Mapping[str, Any] | None = None, extra: Sequence[Any] = (), drop: Sequence[str] = ()
) -> Schema:
    """A relative of the current schema: types of fields changed, fields added at the end or left out."""
    source = json.loads(json.dumps(CURRENT.source))
    kept = [field for field in source["fields"] if field["name"] not in drop]
    for field in kept:
        if change and field["name"] in change:
            field["type"] = change[field["name"]]
            field.pop("default", None)
    source["fields"] = [*kept, *extra]
    return schemas.parse(json.dumps(source), origin="a test")


def seen(decoded: Decoded) -> dict[int, tuple[int, int, str, bytes]]:
    """Position to all that is known of an event, to the bit."""
    events = decoded.events
    return {
        int(events.position[row]): (
            int(events.offset[row]),
            int(events.event_time_us[row]),
            events.device_id[row],
            events.rows[row].tobytes(),
        )
        for row in range(len(events))
    }


def expected_row(record: Mapping[str, Any]) -> tuple[list[float], list[int]]:
    """Numbers and codes of a record, computed the plain way."""
    return (
        [float(np.float32(record[name])) for name in KDD99.numeric_names],
        [column.code(record[column.name]) for column in KDD99.symbolic],
    )
