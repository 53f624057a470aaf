"""Files of leases, row by row in bounded memory: dnsmasq's, ISC dhcpd's, Kea's CSV, and CSV of one's own.

    dnsmasq   <end> <mac> <address> <host name or *> <client id>; it does not say when a lease began
    dhcpd     lease ADDRESS { starts ...; ends ...; binding state ...; hardware ethernet ...; }
    Kea       address,hwaddr or duid,...,valid_lifetime,expire,...,hostname,state; the newest row counts
    CSV       a header with address, and name or mac; start, end (empty: for good), site

Times are seconds since 1970, or ISO 8601 with a zone; dhcpd's own text is UTC.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, Final

from streams.codec.devices import NAME
from streams.codec.ingest.flows.values import EARLIEST_US, LATEST_US, canonical, mac
from streams.codec.times import microseconds
from streams.core.home import SITE
from streams.core.leases import FOREVER

LONGEST_LINE: Final = 16_384
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62})")
_DNSMASQ: Final = re.compile(r"[0-9]+ \S+ [0-9A-Fa-f.:]+ \S+( \S+)?")
_DHCPD: Final = re.compile(r"lease\s+([0-9A-Fa-f.:]+)\s*\{")
_DHCPD_TIME: Final = re.compile(r"[0-6] ([0-9]{4})/([0-9]{2})/([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_OVER: Final = ("free", "expired", "released", "reset")
"""States of dhcpd in which a lease was somebody's, until it ended."""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """What a file says of an address."""

    line: int
    address: str
    mac: str
    host: str
    start_us: int | None
    """None: it does not say."""
    end_us: int
    site: str = ""
    """Empty: it does not say."""
    name: str = ""
    """As a file of one's own calls the device."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A row that is no lease, and why."""

    line: int
    reason: str
    is_wrong: bool = True
    """False: nothing is amiss with it, as with an address that nobody has."""


class _Wrong(Exception):
    pass


def lease_rows(stream: BinaryIO) -> Iterator[LeaseRow | Passed]:
    """Each row of a file of any of these kinds, in order, told by the row itself or by a header."""
    lines = _lines(stream)
    header: list[str] | None = None
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _DHCPD.match(text)
        if found:
            yield _row(number, partial(_of_dhcpd, number, found.group(1), lines))
        elif header is None and _DNSMASQ.fullmatch(text):
            yield _row(number, partial(_of_dnsmasq, number, text))
        elif header is None and "address" in (names := _cells(text.lower())):
            header = names
        elif header is not None:
            cells = dict(zip(header, _cells(text), strict=False))
            yield _row(number, partial(_of_csv, number, cells))
        elif text.endswith((";", "{", "}")) or text.startswith(("duid ", "server-duid")):
            continue  # dhcpd's other statements, and dnsmasq's own id
        else:
            yield Passed(
                number, "is no lease of dnsmasq, dhcpd, Kea, or of CSV with a header that has address"
            )


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            if not (rest := stream.readline(LONGEST_LINE)) or rest.endswith(b"\n"):
                break
        yield number, line.decode("utf-8", "replace")


def _cells(text: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([text]), [])]


def _row(line: int, read: Callable[[], LeaseRow | Passed]) -> LeaseRow | Passed:
    try:
        return read()
    except _Wrong as exc:
        return Passed(line, str(exc))
    except csv.Error as exc:
        return Passed(line, f"is no CSV: {exc}")


def _of_dnsmasq(line: int, text: str) -> LeaseRow | Passed:
    end, owner, address, host, *_ = text.split()
    end_us = FOREVER if end == "0" else time_us(end, "its end")
    return LeaseRow(line, _address(address), mac(owner), _host(host), None, end_us)


def _of_dhcpd(line: int, address: str, lines: Iterable[tuple[int, str]]) -> LeaseRow | Passed:
    said: dict[str, str] = {}
    for _, text in lines:
        statement = text.strip()
        if statement.startswith("}"):
            break
        for name in ("starts", "ends", "binding state", "hardware ethernet", "client-hostname"):
            if statement.startswith(f"{name} "):
                said[name] = statement[len(name) + 1 :].partition(";")[0].strip().strip('"')
    state = said.get("binding state", "active")
    if state != "active" and (state not in _OVER or "starts" not in said or "hardware ethernet" not in said):
        return Passed(line, f"nobody has the address ({state})", is_wrong=False)
    if "starts" not in said:
        raise _Wrong("does not say when it starts")
    return LeaseRow(
        line,
        _address(address),
        mac(said.get("hardware ethernet", "")),
        _host(said.get("client-hostname", "")),
        _dhcpd_time(said["starts"]),
        _dhcpd_time(said.get("ends", "never")),
    )


def _dhcpd_time(text: str) -> int:
    if text == "never":
        return FOREVER
    if text.startswith("epoch "):
        return time_us(text.split()[1], "a time")
    found = _DHCPD_TIME.fullmatch(text)
    if found is None:
        raise _Wrong(f"has the time {text[:40]!r}")
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as exc:
        raise _Wrong(f"has the time {text[:40]!r}: {exc}") from exc
    return _possible(int(moment.timestamp()) * 1_000_000, text)


def _of_csv(line: int, cells: Mapping[str, str]) -> LeaseRow | Passed:
    address = _address(cells.get("address", ""))
    host = _host(cells.get("hostname", ""))
    if "valid_lifetime" in cells:
        if cells.get("state", "0") != "0" or cells["valid_lifetime"] == "0" or cells.get("lease_type") == "2":
            return Passed(line, "nobody has the address any more, or it is no address", is_wrong=False)
        end_us = time_us(cells.get("expire", ""), "expire")
        lifetime = cells["valid_lifetime"]
        if not lifetime.isdecimal() or len(lifetime) > 10:
            raise _Wrong(f"has the valid_lifetime {lifetime[:20]!r}")
        is_endless = int(lifetime) == 0xFFFFFFFF
        start_us = end_us - int(lifetime) * 1_000_000
        return LeaseRow(
            line, address, mac(cells.get("hwaddr", "")), host, start_us, FOREVER if is_endless else end_us
        )
    site, name = cells.get("site", ""), cells.get("name", "")
    if site and not SITE.fullmatch(site):
        raise _Wrong(f"has the site {site[:40]!r}, which is no name of one")
    if name and not NAME.fullmatch(name):
        raise _Wrong(f"has the name {name[:40]!r}: 1 to 64 letters, digits and . _ : -")
    told = cells.get("mac", "")
    if told and not mac(told):
        raise _Wrong(f"has the MAC {told[:40]!r}, which is none of a station")
    start, end = cells.get("start", ""), cells.get("end", "")
    return LeaseRow(
        line,
        address,
        mac(told),
        host,
        time_us(start, "start") if start else None,
        time_us(end, "end") if end else FOREVER,
        site,
        name,
    )


def _address(text: str) -> str:
    found = canonical(text) if len(text) <= 64 else ""
    if not found:
        raise _Wrong(f"has the address {text[:40]!r}, which is none")
    return found


def _host(text: str) -> str:
    """A host name that may name a device: not one that looks like somebody's address or MAC."""
    return text if _HOST.fullmatch(text) and not canonical(text) and not mac(text) else ""


def time_us(text: str, what: str) -> int:
    """Seconds since 1970, or ISO 8601 with a zone. Raises _Wrong."""
    if text.isdecimal() and len(text) <= 15:
        return _possible(int(text) * 1_000_000, text)
    try:
        return _possible(microseconds(text), text)
    except ValueError as exc:
        hint = "; add Z for UTC, or +02:00" if "no zone" in str(exc) else ""
        raise _Wrong(f"{what} {text[:40]!r} is no time with a zone{hint}") from exc


def _possible(found_us: int, text: str) -> int:
    if not EARLIEST_US <= found_us < LATEST_US:
        raise _Wrong(f"has the time {text[:40]!r}, which is not between 2000 and 2100")
    return found_us
