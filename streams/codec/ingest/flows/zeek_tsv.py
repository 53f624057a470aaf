"""Zeek's lines of tab-separated values. In a file a header names the columns; a line on a topic has none.

Then it is taken for one of conn.log in Zeek's own order, if it looks so; what policy scripts add behind that
(community id, MACs) is known by its form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streams.codec.ingest.flows import values, zeek
from streams.codec.ingest.flows.reading import NoFlow, Seen
from streams.codec.ingest.flows.states import ZEEK_STATES
from streams.core.events import Reason

NAME: Final = "zeek-tsv"
COLUMNS: Final = (
    *("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service", "duration"),
    *("orig_bytes", "resp_bytes", "conn_state", "local_orig", "local_resp", "missed_bytes", "history"),
    *("orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes"),
)
_PROTO, _STATE = COLUMNS.index("proto"), COLUMNS.index("conn_state")
_PROTOCOLS: Final = frozenset({"tcp", "udp", "icmp", "unknown_transport"})
_TIME: Final = re.compile(r"[0-9]{1,10}\.[0-9]{1,9}|[0-9]{4}-[0-9]{2}-[0-9]{2}T\S{8,24}")
_COMMUNITY: Final = re.compile(r"1:[A-Za-z0-9+/]{27}=")
_MAX_COLUMNS: Final = 200


@dataclass(frozen=True, slots=True)
class Header:
    """How the lines below it are to be read."""

    columns: tuple[str, ...]
    separator: str = "\t"
    unset: str = "-"
    empty: str = "(empty)"
    path: str = ""


def is_line(text: str) -> bool:
    """Whether it begins as a line of one of Zeek's logs does."""
    return _TIME.fullmatch(text.partition("\t")[0]) is not None and text.count("\t") >= 2


def read(text: str, header: Header | None = None) -> Seen:
    """Raises Unreadable where a line of conn.log cannot be read, NoFlow for one of another log."""
    if header is None:
        cells = text.split("\t", _MAX_COLUMNS)
        record = dict(zip((*COLUMNS, *_later(cells)), cells, strict=False))
        _check_form(cells)
        unset: tuple[str, str] = ("-", "(empty)")
    else:
        if not zeek.is_conn(dict.fromkeys(header.columns)):
            raise NoFlow(f"a line of Zeek's {header.path} log" if header.path else "a line of another log")
        cells = text.split(header.separator, _MAX_COLUMNS)
        if len(cells) < len(header.columns):
            _cut(cells, len(header.columns))
        record = dict(zip(header.columns, cells, strict=False))
        unset = header.unset, header.empty
    known = {name: cell for name, cell in record.items() if cell not in unset}
    seen = zeek.read({"conn_state": None, **known}, header.path if header else "")
    return Seen(seen.flow, NAME)


def _check_form(cells: Sequence[str]) -> None:
    if len(cells) <= _PROTO or cells[_PROTO] not in _PROTOCOLS:
        raise NoFlow("a line of another log of Zeek, or of other columns than conn.log has by default")
    if len(cells) <= _STATE:
        _cut(cells, len(COLUMNS))
    if cells[_STATE] not in ZEEK_STATES:
        raise NoFlow("a line of another log of Zeek, or of other columns than conn.log has by default")
    if len(cells) < len(COLUMNS):
        _cut(cells, len(COLUMNS))


def _cut(cells: Sequence[str], needed: int) -> None:
    values.wrong(Reason.TRUNCATED, f"the line has {len(cells)} columns of {needed}")


def _later(cells: Sequence[str]) -> list[str]:
    """Names of the columns beyond those that are always there, as far as their values show what they are."""
    macs = ["orig_l2_addr", "resp_l2_addr"]
    names = []
    for cell in cells[len(COLUMNS) :]:
        if _COMMUNITY.fullmatch(cell):
            names.append("community_id")
        elif macs and cell.count(":") == 5:
            names.append(macs.pop(0))
        else:
            names.append("")
    return names


def header_after(header: Header, line: str) -> Header:
    """The header with one more of its lines, `#fields` or another; one that says nothing changes nothing."""
    name, _, rest = line.removeprefix("#").partition(header.separator)
    if name.startswith("separator "):
        return Header(header.columns, _separator(name.removeprefix("separator ").strip()))
    cells = rest.split(header.separator)
    match name:
        case "fields":
            return Header(tuple(cells), header.separator, header.unset, header.empty, header.path)
        case "path":
            return Header(header.columns, header.separator, header.unset, header.empty, values.hint(rest))
        case "unset_field":
            return Header(header.columns, header.separator, rest, header.empty, header.path)
        case "empty_field":
            return Header(header.columns, header.separator, header.unset, rest, header.path)
        case _:
            return header


def _separator(said: str) -> str:
    found = re.fullmatch(r"\\x([0-9A-Fa-f]{2})", said)
    return chr(int(found[1], 16)) if found else said[:1] or "\t"
