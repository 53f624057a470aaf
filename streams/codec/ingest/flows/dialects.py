"""One record to one flow: which dialect it is, told by what stands in it, or by a setting.

A record's result depends on its own bytes and Kafka's timestamp alone, never on its neighbours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from streams.codec.avro.datum import Unreadable
from streams.codec.ingest.flows import (
    goflow2,
    nfdump,
    nfstream,
    ours,
    pmacct,
    suricata,
    values,
    wrapping,
    zeek,
    zeek_ecs,
    zeek_tsv,
)
from streams.codec.ingest.flows.reading import NoFlow, Seen
from streams.codec.ingest.flows.values import Record
from streams.core.events import Reason

AUTO: Final = "auto"
_AROUND: Final = 8
"""Bytes of line ends and the like; more than that before an object is a beginning of syslog's."""
_ARRAY_LIMIT: Final = 10_000

_OBJECTS: Final[tuple[tuple[Callable[[Record], bool], str], ...]] = (
    (goflow2.is_goflow2, goflow2.NAME),
    (nfstream.is_nfstream, nfstream.NAME),
    (nfdump.is_nfdump, nfdump.NAME),
    (pmacct.is_pmacct, pmacct.NAME),
    (suricata.is_eve, suricata.NAME),
    (zeek.is_zeek, zeek.NAME),
)
_READERS: Final[Mapping[str, Callable[[Record], Seen]]] = {
    goflow2.NAME: goflow2.read,
    nfstream.NAME: nfstream.read,
    nfdump.NAME: nfdump.read,
    pmacct.NAME: pmacct.read,
    suricata.NAME: suricata.read,
    zeek.NAME: zeek.read,
    zeek_ecs.NAME: zeek_ecs.read,
}
DIALECTS: Final = (AUTO, *_READERS, zeek_tsv.NAME, goflow2.PROTOBUF, ours.NAME)


def read(
    data: bytes,
    dialect: str = AUTO,
    header: zeek_tsv.Header | None = None,
    registry: ours.Registry | None = None,
) -> list[Seen]:
    """The flow of a value; several where it is an array of nfdump. `header`: that of a file of TSV.

    The dialects zeek and goflow2 take their other forms, too.

    Raises Unreadable where it claims to be a flow and is none, NoFlow where it does not claim it,
    RegistryUnavailable where an Avro schema is unknown and the registry is away.
    """
    if dialect == ours.NAME or (dialect == AUTO and ours.is_framed(data)):
        return [ours.read(data, registry)]
    if dialect == goflow2.PROTOBUF or (dialect in (AUTO, goflow2.NAME) and _is_binary(data)):
        return [goflow2.read_protobuf(data)]
    text, sensor = wrapping.without_prefix(wrapping.decoded(data))
    return [_with_sensor(seen, sensor) for seen in _of_text(text, dialect, header)]


def _is_binary(data: bytes) -> bool:
    """Whether it begins as no text does. A message of goflow2 begins with its first field, or its length."""
    if len(data) > wrapping.LARGEST_BYTES:
        return False
    head = data[:64]
    if head.startswith((b"{", b"[")):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as exc:
        if exc.end < len(head) - 3 or len(data) <= len(head):
            return True
    return any(byte < 0x20 and byte not in b"\t\n\r" for byte in head)


def _of_text(text: str, dialect: str, header: zeek_tsv.Header | None, wrapped: bool = False) -> list[Seen]:
    if not text:
        values.wrong(Reason.EMPTY_VALUE, "the value is blank")
    is_json_only = dialect in _READERS and dialect != zeek.NAME
    if text.startswith("{") or (is_json_only and not text.startswith("[")):
        return _of_object(_checked(wrapping.json_of(text)), dialect, wrapped)
    if text.startswith("["):
        return _of_array(text, dialect, wrapped)
    if text.startswith("#"):
        raise NoFlow("a header line of Zeek's")
    if header is not None or dialect == zeek_tsv.NAME or zeek_tsv.is_line(text):
        return [zeek_tsv.read(text, header)]
    if wrapped:
        raise NoFlow("a line of a log that is no sensor's")
    values.wrong(Reason.UNKNOWN_FRAMING, f"it begins with {text[:20]!a}: no dialect of flows that is known")


def _checked(value: Any) -> Record:
    if not isinstance(value, dict):
        values.wrong(Reason.UNDECODABLE, "JSON that is no object")
    return value


def _of_array(text: str, dialect: str, wrapped: bool) -> list[Seen]:
    """All of an array or nothing: one that cannot be read makes a dead letter of the record."""
    found = wrapping.json_of(text)
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        values.wrong(Reason.UNDECODABLE, "a JSON array that holds anything but objects, or nothing")
    if len(found) > _ARRAY_LIMIT:
        values.wrong(Reason.TOO_LARGE, f"an array of {len(found)} records, at most {_ARRAY_LIMIT} are read")
    flows: list[Seen] = []
    why = ""
    for one in found:
        try:
            flows += _of_object(one, dialect, wrapped)
        except NoFlow as exc:
            why = str(exc)
    if not flows:
        raise NoFlow(why)
    return flows


def bare(data: bytes) -> tuple[bytes, str] | None:
    """The line in a shipper's record, or behind what syslog writes before it, and the sensor's name there.

    None where there is none of another object, and where reading by itself says what is wrong.
    """
    try:
        text, host = wrapping.without_prefix(wrapping.decoded(data))
        if not text.startswith("{"):
            return None
        if len(text) < len(data) - _AROUND:
            return text.encode(), host
        record = wrapping.json_of(text)
    except (Unreadable, RecursionError):
        return None
    if not isinstance(record, dict) or zeek.is_certain(record) or any(fits(record) for fits, _ in _OBJECTS):
        return None
    inner = None if zeek.untagged(record)[1] or _is_telegraf_netflow(record) else wrapping.unwrapped(record)
    if inner is None:
        return None
    text, host = wrapping.without_prefix(inner.text.strip())
    return text.encode("utf-8", "surrogatepass"), host or inner.sensor


def _of_object(record: Record, dialect: str, wrapped: bool) -> list[Seen]:
    inner, tag = zeek.untagged(record)
    if dialect in (AUTO, zeek.NAME) and (tag or zeek.is_certain(record)):
        return [zeek.read(inner, tag)]
    if dialect == zeek.NAME and zeek_ecs.is_ecs(record):
        dialect = zeek_ecs.NAME
    if dialect in _READERS and (wrapped or wrapping.unwrapped(record) is None):
        return [_READERS[dialect](record)]
    found = next((name for fits, name in _OBJECTS if fits(record)), "")
    if found:
        if dialect not in (AUTO, found):
            raise NoFlow(f"a record of {found}, where only {dialect} is read")
        return [_READERS[found](record)]
    if not wrapped:
        return _unwrapped(record, dialect)
    raise NoFlow("JSON of no dialect of flows that is known")


def _unwrapped(record: Record, dialect: str) -> list[Seen]:
    if _is_telegraf_netflow(record):
        values.wrong(
            Reason.BAD_EVENT_TIME,
            "Telegraf's netflow input has no time but the exporter's uptime; let goflow2 or nfacctd collect",
        )
    inner = wrapping.unwrapped(record)
    is_ecs = zeek_ecs.is_ecs(record)
    if inner is None or (is_ecs and not inner.text.lstrip().startswith(("{", "1"))):
        if is_ecs:
            return [zeek_ecs.read(record)]
        raise NoFlow("JSON of no dialect of flows that is known")
    text, sensor = wrapping.without_prefix(inner.text.strip())
    if not text:
        raise NoFlow("an empty line of a log")
    return [_with_sensor(seen, sensor or inner.sensor) for seen in _of_text(text, dialect, None, True)]


def _is_telegraf_netflow(record: Record) -> bool:
    fields = record.get("fields")
    return isinstance(fields, dict) and "first_switched" in fields and "src" in fields


def _with_sensor(seen: Seen, sensor: str) -> Seen:
    """The sensor's own name of itself comes before what a shipper says."""
    if not sensor or seen.flow.sensor:
        return seen
    return dataclasses.replace(seen, flow=dataclasses.replace(seen.flow, sensor=sensor))
