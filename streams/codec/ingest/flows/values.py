"""Single values of sensors' records, whichever way they are written: numbers, times, ports, addresses, MACs.

What is absent is None or "". What is there and cannot be meant raises Unreadable, with the field's name.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from streams.codec.avro.datum import Unreadable
from streams.codec.plain import is_text, shown
from streams.core.events import Reason

Record = Mapping[str, Any]
"""An object of JSON."""
Pair = tuple[int | None, int | None]
"""What each end sent, the originator first; None: unknown."""
NOTHING: Final[Pair] = (None, None)

LARGEST: Final = (1 << 63) - 1
EARLIEST_US: Final = 946_684_800_000_000
"""2000: what lies before is a clock that was never set, or counted from a capture's start."""
LATEST_US: Final = 4_102_444_800_000_000
"""2100: what lies beyond is another epoch (NTP's gives 2179)."""
LONGEST_US: Final = 366 * 86_400_000_000
TEXT_LIMIT: Final = 256
ICMP: Final = "icmp"

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,25}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?")
_ISO: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]{1,9}))? ?(?:([Zz])|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4})")
_NAME: Final = re.compile(r"[a-z0-9_.-]{1,32}")
_PROTOCOLS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("icmp", "icmp6", "icmpv6", "ipv6-icmp", "icmp-ipv6", "1", "58"), ICMP),
    **{"tcp": "tcp", "6": "tcp", "udp": "udp", "17": "udp", "unknown_transport": "unknown"},
    **{"igmp": "2", "ipip": "4", "ipv6": "41", "gre": "47", "esp": "50", "ah": "51", "ospf": "89"},
    **{"pim": "103", "vrrp": "112", "sctp": "132", "udplite": "136"},
}
_FLAG_LETTERS: Final = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}


def wrong(reason: Reason, detail: str) -> NoReturn:
    raise Unreadable(reason, detail)


def number(value: object, name: str) -> int | float | None:
    """A number, or text of one. Raises Unreadable where it is neither, or not finite."""
    if value is None or value in ("", "-"):
        return None
    found: int | float
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        found = int(value) if _INTEGER.fullmatch(value) else float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    else:
        wrong(Reason.BAD_NUMBER, f"{name} is {shown(value)}; it must be a number")
    if isinstance(found, float) and not math.isfinite(found):
        wrong(Reason.NOT_FINITE, f"{name} is {found}")
    return found


def count(value: object, name: str) -> int | None:
    """A whole number of 0 to 2^63 - 1."""
    if type(value) is int and 0 <= value <= LARGEST:  # nearly all
        return value
    found = number(value, name)
    if found is None:
        return None
    if found != int(found):
        wrong(Reason.BAD_NUMBER, f"{name} is {found}; it must be a whole number")
    if found < 0:
        wrong(Reason.NEGATIVE_NUMBER, f"{name} is {shown(found)}; it must be 0 or more")
    if found > LARGEST:
        wrong(Reason.BAD_NUMBER, f"{name} is {shown(found)}, beyond 63 bits")
    return int(found)


def port(value: object, name: str) -> int | None:
    if type(value) is int and 0 <= value <= 65_535:
        return value
    try:
        found = count(value, name)
    except Unreadable as exc:
        wrong(Reason.BAD_PORT, exc.detail)
    if found is not None and found > 65_535:
        wrong(Reason.BAD_PORT, f"{name} is {found}; the largest is 65535")
    return found


def ports(record: Record, names: tuple[str, str], protocol: str) -> tuple[int, int]:
    """Both, 0 where the protocol has none. Raises Unreadable where a port of TCP or UDP is not there."""
    first, second = (port(record.get(name), name) for name in names)
    if protocol in ("tcp", "udp") and (first is None or second is None):
        absent = names[0] if first is None else names[1]
        wrong(Reason.SCHEMA_MISMATCH, f"there is no {absent}, and {protocol} has ports")
    return first or 0, second or 0


def address(value: object, name: str) -> str:
    """In its one form (RFC 5952), an IPv4-mapped one as IPv4, without a zone."""
    if not isinstance(value, str) or not value:
        wrong(Reason.BAD_ADDRESS, f"{name} is {shown(value)}; it must be an address")
    found = canonical(value) if len(value) <= 128 else ""
    if not found:
        wrong(Reason.BAD_ADDRESS, f"{name} is {shown(value)}, which is no address of IPv4 or IPv6")
    return found


@functools.lru_cache(maxsize=65_536)
def canonical(text: str) -> str:
    """An address in its one form; empty where it is none.

    >>> canonical("FE80:0000::0001%eth0"), canonical("::ffff:10.0.0.1"), canonical("10.0.0.256")
    ('fe80::1', '10.0.0.1', '')
    """
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def time_us(value: object, name: str) -> int | None:
    """Microseconds since 1970: of a number, or text of one, in the unit of its magnitude, or of ISO 8601.

    ISO without a zone counts as UTC. Raises Unreadable outside of 2000 to 2099.
    """
    iso = _ISO.fullmatch(value) if isinstance(value, str) else None
    if iso is not None:
        found = _of_iso(iso, name)
    else:
        try:
            given = number(value, name)
        except Unreadable as exc:
            wrong(Reason.BAD_EVENT_TIME, exc.detail)
        if given is None:
            return None
        found = _of_number(given)
    if not EARLIEST_US <= found < LATEST_US:
        wrong(Reason.BAD_EVENT_TIME, f"{name} is {shown(value)}; times of 2000 to 2099 are taken")
    return found


def _of_number(value: int | float) -> int:
    size = abs(value)
    if size < 1e11:
        return round(value * 1_000_000)
    if size < 1e14:
        return round(value * 1_000)
    if size < 1e17:
        return round(value)
    return int(value) // 1_000


def _of_iso(found: re.Match[str], name: str) -> int:
    year, month, day, hour, minute, second, fraction, _, sign, hours, minutes = found.groups()
    try:
        days = datetime.date(int(year), int(month), int(day)).toordinal() - 719_163
        clock = datetime.time(int(hour), int(minute), int(second))
    except ValueError as exc:
        wrong(Reason.BAD_EVENT_TIME, f"{name} is {shown(found.group())}: {exc}")
    seconds = days * 86_400 + clock.hour * 3_600 + clock.minute * 60 + clock.second
    if sign:
        offset = int(hours) * 3_600 + int(minutes or 0) * 60
        seconds += offset if sign == "-" else -offset
    return seconds * 1_000_000 + int((fraction or "0").ljust(6, "0")[:6])


def span_us(value: object, name: str, per_s: int = 1) -> int | None:
    """A duration, given in parts of a second."""
    found = number(value, name)
    if found is None:
        return None
    if found < 0:
        wrong(Reason.NEGATIVE_NUMBER, f"{name} is {shown(found)}; it must be 0 or more")
    if found * 1_000_000 / per_s > LONGEST_US:
        wrong(Reason.BAD_EVENT_TIME, f"{name} is {shown(found)}: more than a year")
    return round(found * 1_000_000 / per_s)


def ordered(start_us: int | None, end_us: int | None) -> tuple[int, int]:
    """Start and end, one for the other where only one is known.

    Raises Unreadable without any, or reversed.
    """
    start = end_us if start_us is None else start_us
    end = start_us if end_us is None else end_us
    if start is None or end is None:
        wrong(Reason.BAD_EVENT_TIME, "there is no time")
    if start > end:
        wrong(Reason.BAD_EVENT_TIME, f"the start is {(start - end) / 1e6:.6f} s after the end")
    if end - start > LONGEST_US:
        wrong(Reason.BAD_EVENT_TIME, "the end is more than a year after the start")
    return start, end


def text(value: object, name: str) -> str:
    """Short text; a whole number counts as its digits."""
    if value is None or value == "-":
        return ""
    if type(value) is str and len(value) <= TEXT_LIMIT and value.isascii():  # nearly all
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) <= LARGEST else None
    if not is_text(value):
        wrong(Reason.SCHEMA_MISMATCH, f"{name} is no text")
    if len(value) > TEXT_LIMIT:
        wrong(Reason.TOO_LARGE, f"{name} has {len(value)} characters, at most {TEXT_LIMIT} are taken")
    return value


def hint(value: object) -> str:
    """Text that may be left out, such as a sensor's name."""
    return value if is_text(value) and len(value) <= TEXT_LIMIT and value.isprintable() else ""


def mac(value: object) -> str:
    """Six bytes of one station; a group's address, zeros and what is no MAC say nothing."""
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        return ""
    found = value.lower().replace("-", ":")
    is_group = int(found[:2], 16) & 1
    return "" if is_group or found == "00:00:00:00:00:00" else found


def protocol(value: object, name: str) -> str:
    """tcp, udp, icmp (either version's), or a number as text."""
    found = text(value, name).lower()
    if found in _PROTOCOLS:
        return _PROTOCOLS[found]
    if found.isdecimal():
        found = str(int(found)) if int(found) <= 255 else ""
    if not _NAME.fullmatch(found):
        wrong(Reason.SCHEMA_MISMATCH, f"{name} is {shown(value)}, which is no protocol")
    return found


def service(value: object, name: str) -> str:
    """A sensor's name of the application; a set in its one order, without what was taken back (`-ssl`)."""
    found = text(value, name).lower()
    if "," not in found and not found.startswith("-"):
        return "" if found == "(empty)" else found
    return ",".join(sorted({part for part in found.split(",") if part and not part.startswith("-")}))


def flags_of_letters(value: object) -> int | None:
    """TCP flags as nfdump and Telegraf write them, such as `...AP.SF`; none at all is unknown."""
    if not isinstance(value, str):
        return None
    found = 0
    for letter in value.upper():
        found |= _FLAG_LETTERS.get(letter, 0)
    return found or None
