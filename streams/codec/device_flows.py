"""Flows of devices as they stand on ids.flows: Avro, one single object each, keyed by device."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from streams.codec.avro import datum, framing, schemas
from streams.codec.avro.writing import long, sized
from streams.core.events import Message
from streams.core.flows import DeviceFlow, Direction, Quality, Role, State
from streams.errors import DataError

_NULL: Final = b"\x00"
_PRESENT: Final = b"\x02"
"""The branches of a union with null."""
_END: Final = b"\x00"
_BOOLEANS: Final = (b"\x00", b"\x01")
_TRUTHS: Final = {written: bool(place) for place, written in enumerate(_BOOLEANS)}
"""The strict reader gives a boolean as its byte."""
_KEPT: Final = 4096
_STATE_NAMES: Final = tuple(state.name.lower() for state in State)
_STATES: Final = {state.name.lower(): state for state in State}
_QUALITIES: Final = {word: one for one in Quality for word in one.words}


class FlowUnreadable(DataError, ValueError):
    """A value that is no flow of a device by this schema."""


def messages(
    flows: Sequence[DeviceFlow], topic: str, event_ids: Sequence[str] | None = None
) -> list[Message]:
    """One for each, in their order."""
    values = encode(flows, event_ids)
    return [Message(topic, flow.device.encode(), value) for flow, value in zip(flows, values, strict=True)]


def encode(flows: Sequence[DeviceFlow], event_ids: Sequence[str] | None = None) -> list[bytes]:
    """`event_ids`: in place of the flows' own. Raises OverflowError for an integer beyond 64 bits."""
    if event_ids is None:
        event_ids = [flow.event_id for flow in flows]
    header = framing.single_object_header(schemas.load(schemas.DEVICE_FLOW).fingerprint)
    return [
        b"".join(
            (
                header,
                _text(event_id),
                _repeated(flow.device, flow.direction, flow.role),
                _text(flow.peer),
                _repeated(flow.protocol),
                long(flow.device_port),
                long(flow.peer_port),
                _repeated(flow.service, _STATE_NAMES[flow.state]),
                long(flow.start_us),
                long(flow.end_us),
                _optional(flow.packets_out),
                _optional(flow.packets_in),
                _optional(flow.ip_bytes_out),
                _optional(flow.ip_bytes_in),
                _optional(flow.payload_bytes_out),
                _optional(flow.payload_bytes_in),
                _text(flow.flow_id),
                _quality(flow.quality),
                _BOOLEANS[flow.final],
                _BOOLEANS[flow.half],
                _optional(flow.tcp_flags),
                _text(flow.community_id),
                _repeated(flow.site, flow.sensor),
            )
        )
        for flow, event_id in zip(flows, event_ids, strict=True)
    ]


def decode(value: bytes | None) -> DeviceFlow:
    """Raises FlowUnreadable."""
    schema = schemas.load(schemas.DEVICE_FLOW)
    header = framing.single_object_header(schema.fingerprint)
    if not value or not value.startswith(header):
        raise FlowUnreadable(f"the value begins with {(value or b'')[:10].hex(' ')}, not {header.hex(' ')}")
    try:
        values, end = datum.reader_of(schema)(value, len(header))
    except datum.Unreadable as exc:
        raise FlowUnreadable(exc.detail) from exc
    if end != len(value):
        raise FlowUnreadable(f"the flow ends at byte {end} of {len(value)}")
    names = [field["name"] for field in schema.source["fields"]]
    return _flow(dict(zip(names, values, strict=True)))


def _flow(fields: dict[str, Any]) -> DeviceFlow:
    try:
        return DeviceFlow(
            **{
                **fields,
                "direction": Direction(fields["direction"]),
                "role": Role(fields["role"]),
                "state": _STATES[fields["state"]],
                "final": _TRUTHS[fields["final"]],
                "half": _TRUTHS[fields["half"]],
                "quality": functools.reduce(
                    lambda whole, word: whole | _QUALITIES[word], fields["quality"], Quality.NONE
                ),
            }
        )
    except (KeyError, ValueError) as exc:
        raise FlowUnreadable(f"{exc} is no word of its field") from exc


def _text(text: str) -> bytes:
    return sized(text.encode())


@functools.lru_cache(maxsize=_KEPT)
def _repeated(*texts: str) -> bytes:
    """Of what many flows have in common."""
    return b"".join(_text(text) for text in texts)


def _optional(value: int | None) -> bytes:
    return _NULL if value is None else _PRESENT + long(value)


@functools.lru_cache(maxsize=_KEPT)
def _quality(quality: Quality) -> bytes:
    words = quality.words
    return b"".join((long(len(words)), *map(_text, words), _END)) if words else _END
