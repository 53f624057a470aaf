"""What the connections before a flow say about it: windows of 2 s, 60 s, 1 h and the last 100, it included.

A window of time holds those of the last 100 connections, in arrival order, that ended within the span before
the flow's own end: (end - span, end]. So a flow that comes late is compared with what had come before it, and
stands where it belongs for those that come after it.

Each window is 100 bits; counts are numbers of bits. A thing is counted once in a window by its first
connection there: one whose predecessor of the same kind, `back` of the tape, lies before the window. Where
flows come out of order a window may have holes, and predecessors are followed until one lies in it or before
it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.bitsets import Bits, Planes, lowest, number, packed, unpacked
from streams.core.flow.columns import Index, Mask
from streams.core.flow.facts import decoded
from streams.core.flow.state import LAST
from streams.core.flow.tape import THERE, Tape, blocks, ends_at, window

RECENT_MS: Final = 2_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Counts over the connections of one window of each flow, (N,); shares are two counts."""

    flows: Index
    same_peer: Index
    same_port: Index
    peers: Index
    ports: Index
    ports_on_peer: Index
    peers_on_port: Index
    new_peers: Index
    same_source_port: Index
    failing: Index
    failing_known: Index
    unanswered: Index
    unanswered_known: Index
    failing_on_port: Index
    failing_on_port_known: Index
    small: Index
    small_known: Index
    failing_peers_on_port: Index
    failing_ports_on_peer: Index
    failures_to_host_port: Index
    bytes_known: Index
    bytes_out: Index
    bytes_in: Index


WINDOW: Final = tuple(field.name for field in fields(Window))


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Of N flows."""

    recent: Window
    last: Window
    minute_flows: Index
    minute_same: Index
    """To and from the same peer and port."""
    hour_flows: Index
    hour_same: Index


def compared(tape: Tape) -> Comparison:
    """Each flow of the tape with the connections that end with it."""
    n = len(tape.at)
    there = tape.planes[THERE]
    near = _Near(*(np.empty((k, n, 2), np.uint64) for k in (len(_SPANS), 4, 4, 1)))
    for block in blocks(n):
        _look(tape, block, near)
    recent, minute, hour = near.within
    amounts = [decoded(column) for column in (tape.out, tape.into)]
    totals = [np.cumsum(amount) for amount in amounts]
    both = []
    for inside, firsts in ((recent, near.recent_firsts), (there, near.last_firsts)):
        counts = np.empty((len(WINDOW), n), np.int64)
        counts[:-2] = number(_marked(inside, firsts, tape, near.same_source_port[0]))
        counts[-2:] = _sums(tape.at, inside, amounts, totals)
        both.append(Window(*counts))
    pair = tape.same_peer & tape.same_key
    slow = number(np.stack([minute, minute & pair, hour, hour & pair])).astype(np.int64)
    return Comparison(both[0], both[1], *slow)


@dataclass(frozen=True, slots=True, eq=False)
class _Near:
    """Of N flows, found block by block, (k, N, 2) each."""

    within: Planes
    """The windows of time."""
    recent_firsts: Planes
    last_firsts: Planes
    """Connections that are the first there of their peer, key, both, both and failing."""
    same_source_port: Planes


_SPANS: Final = (RECENT_MS, MINUTE_MS, HOUR_MS)
_PLACES: Final = np.arange(LAST)


def _look(tape: Tape, block: slice, near: _Near) -> None:
    at = tape.at[block]
    ends = ends_at(at)
    there = tape.planes[THERE, block]
    ago = tape.time_ms[at][:, None] - window(tape.time_ms, ends)  # (n, LAST)
    past = there & packed(ago >= 0)
    for within, span_ms in zip(near.within, _SPANS, strict=True):
        within[block] = past & packed(ago < span_ms)
    source_port = window(tape.source_port, ends) == tape.source_port[at][:, None]
    near.same_source_port[0, block] = packed(source_port)

    recent = near.within[0, block]
    begin = lowest(recent)
    since = (_PLACES - begin[:, None]).astype(np.int16)  # (n, LAST) how far behind the window's first
    holes = np.flatnonzero(number(recent) < LAST - begin)
    for i in range(4):
        back = window(tape.back[i], ends)
        near.last_firsts[i, block] = packed(back > _PLACES) & there
        first = recent & packed(back > since)
        if len(holes):
            unsure = unpacked(recent[holes] & ~first[holes])
            first[holes] |= _followed(unpacked(recent[holes]), unsure, since[holes], back[holes])
        near.recent_firsts[i, block] = first


def _followed(inside: Mask, unsure: Mask, since: npt.NDArray[np.int16], back: npt.NDArray[np.uint8]) -> Bits:
    """Which of the unsure connections have predecessors in holes of the windows (m, LAST) alone."""
    row, place = np.nonzero(unsure)
    first = np.zeros(inside.shape, np.bool_)
    before = place - back[row, place]
    while len(row):
        hole = ~inside[row, before]
        row, place, before = row[hole], place[hole], before[hole]
        further = back[row, before].astype(np.int64)
        ends = further > since[row, before]
        first[row[ends], place[ends]] = True
        row, place, before = row[~ends], place[~ends], (before - further)[~ends]
    return packed(first)


def _marked(inside: Bits, firsts: Planes, tape: Tape, same_source_port: Bits) -> Planes:
    """(k, N, 2) what is counted, in the order of WINDOW, but for the sums."""
    first_peer, first_key, first_pair, first_failing = firsts
    peer, key = tape.same_peer, tape.same_key
    said = inside & tape.planes[:THERE]
    failing, failing_known, unanswered, unanswered_known, small, small_known, sized, new_peer = said
    return np.stack(
        [
            inside,
            inside & peer,
            inside & key,
            first_peer,
            first_key,
            first_pair & peer,
            first_pair & key,
            new_peer,
            inside & same_source_port,
            failing,
            failing_known,
            unanswered,
            unanswered_known,
            failing & key,
            failing_known & key,
            small,
            small_known,
            failing & first_failing & key,
            failing & first_failing & peer,
            failing & peer & key,
            sized,
        ]
    )


def _sums(at: Index, inside: Bits, amounts: list[Index], totals: list[Index]) -> npt.NDArray[np.int64]:
    """(2, N) of the bytes out and in inside the windows; `totals` (T,) are the sums of `amounts` so far."""
    begin = lowest(inside)
    before = at - (LAST - 1) + begin - 1  # (N,) the place before the window's first
    holes = np.flatnonzero(number(inside) < LAST - begin)
    sums = np.empty((2, len(at)), np.int64)
    for found, amount, total in zip(sums, amounts, totals, strict=True):
        found[:] = total[at] - np.where(before >= 0, total[before], 0)
        for block in blocks(len(holes)):
            late = holes[block]
            found[late] = np.where(unpacked(inside[late]), window(amount, ends_at(at[late])), 0).sum(axis=1)
    return sums
