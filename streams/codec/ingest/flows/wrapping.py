"""What shippers put round a sensor's record, one level of it: fields of JSON, what syslog begins with."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from streams.codec.ingest.flows import values
from streams.codec.ingest.flows.values import Record
from streams.codec.ingest.flows.zeek_ecs import at
from streams.core.events import Reason

LARGEST_BYTES: Final = 1 << 20
MOST_KEYS: Final = 1_000
_FIELDS: Final = ("event.original", "message", "log", "fields.value")
_SENSORS: Final = ("host.name", "agent.name", "tags.host", "hostname", "host")
_PREFIX: Final = re.compile(
    r"(?:<[0-9]{1,3}>(?:1 )?)?((?:\S{1,255} {1,2}){2,6})(?=\{|[0-9]{1,10}\.[0-9]{1,9}\t)"
)
_PREFIX_LIMIT: Final = 600
_ISO_WORD: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What stood in a field of a shipper's record, and the host that it names."""

    text: str
    sensor: str


def decoded(data: bytes) -> str:
    """Text of a value, without what stands round its line. Raises Unreadable where it is no UTF-8."""
    if len(data) > LARGEST_BYTES:
        values.wrong(Reason.TOO_LARGE, f"the value has {len(data)} bytes, at most {LARGEST_BYTES} are read")
    try:
        return data.decode("utf-8").strip("\ufeff\r\n\t \x00")
    except UnicodeDecodeError as exc:
        values.wrong(Reason.UNDECODABLE, f"neither UTF-8 nor a framing that is known: {exc.reason}")


def json_of(text: str) -> Any:
    """Bounded in keys and nesting; of a key that comes twice the first counts. Raises Unreadable."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        values.wrong(Reason.UNDECODABLE, "JSON nested too deeply")
    except ValueError as exc:  # of bad JSON, and of an integer of thousands of digits
        values.wrong(Reason.UNDECODABLE, f"no JSON: {str(exc)[:120]}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        values.wrong(Reason.TOO_LARGE, f"an object of {len(pairs)} keys, at most {MOST_KEYS} are read")
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


def _not_finite(_: str) -> None:
    """NaN and infinity, which JSON has not and some writers write, are unknown."""


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_not_finite)


def without_prefix(text: str) -> tuple[str, str]:
    """A line without what syslog puts before it, and the host that it names; both empty-handed without any.

    >>> without_prefix('2026-11-28T00:24:54+00:00 gw suricata {"a":1}')
    ('{"a":1}', 'gw')
    """
    if text[:1] in "{[#":
        return text, ""
    found = _PREFIX.match(text[:_PREFIX_LIMIT])
    if found is None:
        return text, ""
    words = found[1].split()
    host = words[1] if _ISO_WORD.fullmatch(words[0]) else words[3] if len(words) > 3 else ""
    return text[found.end() :], values.hint(host)


def unwrapped(record: Record) -> Wrapped | None:
    """The line that a shipper's record carries; None where it carries none."""
    for name in _FIELDS:
        inner = at(record, name)
        if isinstance(inner, str):
            sensor = next((found for key in _SENSORS if (found := values.hint(at(record, key)))), "")
            return Wrapped(inner, sensor)
    return None
