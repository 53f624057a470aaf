"""The plain recomputation: one device, one record after the other, every window from the list of flows.

It shares with the code under test the rules about one or two records (`halves`, `records`), hashes and codes,
and nothing that concerns many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.core.flow.columns import COUNTERS, DIRECTIONS, ROLES, PeerKind, Protocol
from streams.core.flow.familiar import cells_of, period_of
from streams.core.flow.halves import APART_US
from streams.core.flow.records import Record
from streams.core.flow.regular import amount_of, octave
from streams.core.flow.state import HELD, KEYS, LAST, SEEN
from streams.core.flow.table import CLASS_OF_PORT, FLOW, PORT_CLASSES
from streams.core.flows import Quality, State
from tests.core.flow.pairs import alone, belong_together, of_both

Values = dict[str, float | str | None]


@dataclass
class Connection:
    """What is kept of a flow that counted."""

    time_ms: int
    peer: int
    key: tuple[int, int, int]
    source_port: int
    failing: bool | None
    unanswered: bool | None
    small: bool | None
    out: int | None
    into: int | None
    new_peer: bool


@dataclass
class Key:
    last_ms: int
    attempts: int = 0
    streak: int = 0
    intervals: list[int] = field(default_factory=lambda: [0, 0, 0])  # count, sum, squares
    sizes: list[int] = field(default_factory=lambda: [0, 0, 0])


@dataclass
class Device:
    seen: list[tuple[Any, int]] = field(default_factory=list)
    waiting: list[tuple[str, Record]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    keys: dict[Any, Key] = field(default_factory=dict)  # the least recently used first
    cells: dict[int, int] = field(default_factory=dict)
    latest_ms: int = 0
    passed_us: int = 0

    def take(self, record: Record) -> list[tuple[Record, Values]] | None:
        """The flows that count with this record, each with its row; None for a repeat."""
        if self._is_repeat(record):
            return None
        return [(flow, self.count(flow)) for flow in self._settled(record)]

    def release(self, watermark_us: int, half_us: int, open_us: int) -> list[tuple[Record, Values]]:
        """What waited long enough, counted."""
        due = [
            one
            for one in self.waiting
            if one[1].end_us + (half_us if one[0] == "half" else open_us) <= watermark_us
        ]
        self.waiting = [one for one in self.waiting if one not in due]
        flows = [self._let_go(kind, record, timely=True) for kind, record in due]
        return [(flow, self.count(flow)) for flow in flows]

    def pass_record(
        self, record: Record, time_us: int, half_us: int, open_us: int
    ) -> list[tuple[Record, Values]] | None:
        """Time passes, then the record comes: all that counts with it; None for a repeat."""
        if self._is_repeat(record):
            return None
        self.passed_us = max(self.passed_us, time_us)
        let_go = self.release(self.passed_us, half_us, open_us)
        return let_go + [(flow, self.count(flow)) for flow in self._settled(record)]

    def _is_repeat(self, record: Record) -> bool:
        content = (
            record.ends,
            record.role,
            record.half,
            record.final,
            record.tcp_flags,
            *(getattr(record, name) for name in COUNTERS),
        )
        second = record.start_us // 1_000_000
        if any(content == other and abs(second - at) <= 1 for other, at in self.seen[-SEEN:]):
            return True
        self.seen.append((content, second))
        return False

    def _settled(self, record: Record) -> list[Record]:
        if record.half:
            other = self._find("half", lambda one: belong_together(one, record))
            if other is None:
                return self._wait("half", record)
            record = of_both(other, record)
        other = self._find("open", lambda one: (one.identity, one.ends) == (record.identity, record.ends))
        if other is not None:
            totals: dict[str, Any] = {
                name: max(getattr(other, name), getattr(record, name)) for name in COUNTERS
            }
            record = _stretched(other, record)._replace(**totals)
        if not record.final:
            return self._wait("open", record)
        other = self._find(
            "piece",
            lambda one: one.ends == record.ends and -APART_US <= record.start_us - one.end_us <= 60_000_000,
        )
        if other is not None:
            sums: dict[str, Any] = {}
            for name in COUNTERS:
                one, more = getattr(other, name), getattr(record, name)
                sums[name] = -1 if one < 0 or more < 0 else one + more
            record = _stretched(other, record)._replace(**sums)
        if record.quality & Quality.CUT:
            return self._wait("piece", record)
        return [record]

    def _find(self, kind: str, fits: Any) -> Record | None:
        for one in self.waiting:
            if one[0] == kind and fits(one[1]):
                self.waiting.remove(one)
                return one[1]
        return None

    def _wait(self, kind: str, record: Record) -> list[Record]:
        self.waiting.append((kind, record))
        if len(self.waiting) <= HELD:
            return []
        return [self._let_go(*self.waiting.pop(0), timely=False)]

    @staticmethod
    def _let_go(kind: str, record: Record, timely: bool) -> Record:
        if kind == "half":
            return alone(record, timely)._replace(final=True)
        return record._replace(final=True, quality=record.quality | Quality.CUT)

    def count(self, flow: Record) -> Values:
        values = _of_itself(flow)
        present = self._connection(flow)
        values["new_peer"] = float(present.new_peer)
        values["new_port"] = float(not self._met(1, _number_of(present.key), flow))
        values["new_service"] = float(not self._met(2, flow.service, flow)) if flow.service else None
        for region, thing in ((0, flow.peer), (1, _number_of(present.key)), (2, flow.service)):
            if region < 2 or thing:
                for cell in _cells(region, thing):
                    self.cells[cell] = _period(present.time_ms)
        gap_ms = present.time_ms - self.latest_ms
        values["gap_s"] = max(gap_ms, 0) / 1e3 if self.latest_ms > 0 else None
        self.latest_ms = max(self.latest_ms, present.time_ms)
        self.connections = [*self.connections, present][-LAST:]
        values |= self._windows(present)
        values |= self._regular(flow, present)
        return values

    def _connection(self, flow: Record) -> Connection:
        return Connection(
            time_ms=max(flow.end_us, 0) // 1000,
            peer=flow.peer & 0xFFFFFFFF,
            key=_key(flow),
            source_port=_ports(flow)[1],
            failing=_failing(flow),
            unanswered=_unanswered(flow),
            small=_small(flow),
            out=_cut(flow.ip_bytes_out),
            into=_cut(flow.ip_bytes_in),
            new_peer=not self._met(0, flow.peer, flow),
        )

    def _met(self, region: int, thing: int, flow: Record) -> bool:
        now = _period(max(flow.end_us, 0) // 1000)
        for cell in _cells(region, thing):
            then = self.cells.get(cell, 0)
            if not then or min((now - then) % 255, (then - now) % 255) > 3:
                return False
        return True

    def _windows(self, now: Connection) -> Values:
        spans = {"recent": 2_000, "minute": 60_000, "hour": 3_600_000}
        inside = {
            name: [one for one in self.connections if 0 <= now.time_ms - one.time_ms < span]
            for name, span in spans.items()
        }
        values: Values = {}
        for prefix, those in (("recent", inside["recent"]), ("last", self.connections)):
            values |= {f"{prefix}_{name}": value for name, value in _window(those, now).items()}
        for name in ("minute", "hour"):
            values[f"{name}_flows"] = float(len(inside[name]))
            same = [one for one in inside[name] if one.peer == now.peer and one.key == now.key]
            values[f"{name}_same"] = float(len(same))
        return values

    def _regular(self, flow: Record, now: Connection) -> Values:
        name = (flow.peer, now.key)
        key = self.keys.pop(name, None)
        if key is None:
            key = Key(now.time_ms, attempts=1, streak=1 if now.failing else 0)
        else:
            since_ms = now.time_ms - key.last_ms
            retry = key.streak > 0 and since_ms < 2_000
            if not retry:
                key.attempts = min(key.attempts + 1, 255)
                if since_ms >= 0:
                    _add(key.intervals, int(octave(np.array([since_ms]))[0]))
            if now.failing is False:
                key.streak = 0
            elif now.failing and not retry:
                key.streak = min(key.streak + 1, 255)
            key.last_ms = max(key.last_ms, now.time_ms)
        if flow.ip_bytes_out >= 0 and flow.ip_bytes_in >= 0:
            _add(key.sizes, int(octave(np.array([flow.ip_bytes_out + flow.ip_bytes_in]))[0]))
        self.keys[name] = key
        while len(self.keys) > KEYS:
            del self.keys[next(iter(self.keys))]
        count, total, _ = key.intervals
        typical = int(amount_of(np.array([total // count]))[0]) / 1e3 if count else None
        return {
            "attempts": float(key.attempts),
            "fail_streak": float(key.streak),
            "interval_s": typical,
            "interval_spread": _spread(key.intervals),
            "size_spread": _spread(key.sizes),
        }


def _add(sums: list[int], code: int) -> None:
    sums[0], sums[1], sums[2] = sums[0] + 1, sums[1] + code, sums[2] + code * code
    if sums[0] == 32:
        sums[:] = [one // 2 for one in sums]


def _spread(sums: list[int]) -> float | None:
    count, total, squares = sums
    return math.sqrt(max(count * squares - total * total, 0)) / count / 32 if count > 1 else None


def _window(those: list[Connection], now: Connection) -> Values:
    on_port = [one for one in those if one.key == now.key]
    on_peer = [one for one in those if one.peer == now.peer]
    sized = [one for one in those if one.out is not None and one.into is not None]
    out, into = (sum(getattr(one, name) for one in sized) for name in ("out", "into"))
    return {
        "flows": float(len(those)),
        "same_peer": float(len(on_peer)),
        "same_port": float(len(on_port)),
        "peers": float(len({one.peer for one in those})),
        "ports": float(len({one.key for one in those})),
        "ports_on_peer": float(len({one.key for one in on_peer})),
        "peers_on_port": float(len({one.peer for one in on_port})),
        "new_peers": float(sum(one.new_peer for one in those)),
        "same_source_port": float(sum(one.source_port == now.source_port for one in those)),
        "failing_peers_on_port": float(len({one.peer for one in on_port if one.failing})),
        "failing_ports_on_peer": float(len({one.key for one in on_peer if one.failing})),
        "failures_to_host_port": float(sum(one.key == now.key for one in on_peer if one.failing)),
        "failing": _share([one.failing for one in those]),
        "failing_on_port": _share([one.failing for one in on_port]),
        "unanswered": _share([one.unanswered for one in those]),
        "small": _share([one.small for one in those]),
        "bytes_out": float(out) if sized else None,
        "bytes_in": float(into) if sized else None,
        "bytes_out_share": out / (out + into) if out + into else None,
    }


def _share(marks: list[bool | None]) -> float | None:
    known = [mark for mark in marks if mark is not None]
    return sum(known) / len(known) if known else None


def _of_itself(flow: Record) -> Values:
    out, into, bytes_out, bytes_in = flow.packets_out, flow.packets_in, flow.ip_bytes_out, flow.ip_bytes_in
    counted, sure = out >= 0 and into >= 0, not flow.quality & Quality.FLIPPED
    span_us, unanswered = flow.end_us - flow.start_us, _unanswered(flow)
    one_packet = counted and out + into <= 1
    asked = _ports(flow)[0]
    state: str | None = _STATES.get(State(flow.state))
    if state is None and flow.protocol != Protocol.TCP and unanswered is not None:
        state = "no_answer" if unanswered else "ok"
    port_class = PORT_CLASSES[CLASS_OF_PORT[asked] - 1]
    return {
        "duration_s": span_us / 1e6 if span_us > 0 and not one_packet else None,
        "packets_out": _known(out),
        "packets_in": _known(into),
        "ip_bytes_out": _known(bytes_out),
        "ip_bytes_in": _known(bytes_in),
        "mean_bytes_out": bytes_out / out if out > 0 and bytes_out >= 0 else None,
        "mean_bytes_in": bytes_in / into if into > 0 and bytes_in >= 0 else None,
        "packets_out_share": out / (out + into) if counted and sure and out + into else None,
        "bytes_out_share": (
            bytes_out / (bytes_out + bytes_in)
            if min(bytes_out, bytes_in) >= 0 and sure and bytes_out + bytes_in
            else None
        ),
        "no_answer": None if unanswered is None else float(unanswered),
        "one_packet": float(one_packet) if counted else None,
        "role": str(ROLES[flow.role]),
        "direction": str(DIRECTIONS[flow.direction]),
        "protocol": Protocol(flow.protocol).name.lower() if flow.protocol else None,
        "peer_kind": PeerKind(flow.peer_kind).name.lower(),
        "state": state,
        "port_class": (
            None
            if not sure or not flow.protocol
            else "icmp"
            if flow.protocol == Protocol.ICMP
            else port_class
        ),
    }


_STATES = {
    State.ANSWERED: "ok",
    State.NO_ANSWER: "no_answer",
    State.REFUSED: "refused",
    State.RESET: "reset",
    State.HALF_OPEN: "partial",
    State.PARTIAL: "partial",
}


def _known(amount: int) -> float | None:
    return float(amount) if amount >= 0 else None


def _begins(flow: Record) -> bool:
    return str(ROLES[flow.role]) == "originator"


def _ports(flow: Record) -> tuple[int, int]:
    asked, source = flow.peer_port, flow.device_port
    if not _begins(flow):
        asked, source = source, asked
    if flow.protocol == Protocol.ICMP:
        return (source % 256) * 256 + asked % 256, 0
    return asked, source


def _key(flow: Record) -> tuple[int, int, int]:
    return int(_begins(flow)), flow.protocol, _ports(flow)[0]


def _number_of(key: tuple[int, int, int]) -> int:
    begins, protocol, port = key
    return 1 << 19 | begins << 18 | protocol << 16 | port


def _unanswered(flow: Record) -> bool | None:
    replies = flow.packets_in if _begins(flow) else flow.packets_out
    if replies >= 0:
        return replies == 0
    return None if flow.state == State.UNKNOWN else flow.state == State.NO_ANSWER


def _small(flow: Record) -> bool | None:
    if min(flow.packets_out, flow.packets_in, flow.ip_bytes_out, flow.ip_bytes_in) < 0:
        return None
    few = flow.packets_out + flow.packets_in <= 8
    return few and flow.ip_bytes_out <= 64 * flow.packets_out and flow.ip_bytes_in <= 64 * flow.packets_in


def _failing(flow: Record) -> bool | None:
    if flow.protocol != Protocol.TCP:
        return False
    if flow.state in (State.NO_ANSWER, State.REFUSED, State.HALF_OPEN):
        return True
    if flow.state == State.RESET:
        return bool(_small(flow))
    if flow.state == State.UNKNOWN:
        return True if _unanswered(flow) else _small(flow)
    return False


def _cut(amount: int) -> int | None:
    """To its first 11 bits."""
    if amount < 0:
        return None
    beyond = max(amount.bit_length() - 11, 0)
    return amount >> beyond << beyond


def _cells(region: int, thing: int) -> list[int]:
    things = np.zeros((1, 3), np.uint64)
    things[0, region] = thing
    return [int(cell) for cell in cells_of(things)[0, region]]


def _period(time_ms: int) -> int:
    return int(period_of(np.array([time_ms]))[0])


def row_of(values: Values) -> bytes:
    """The values as a row of the table `flow`, packed."""
    numbers = np.array([[values[name] or 0 for name in FLOW.numeric_names]], np.float32)
    codes = np.array([[column.code(str(values[column.name])) for column in FLOW.symbolic]], np.uint8)
    present = np.array([[values[name] is not None for name in FLOW.names]])
    return FLOW.pack(numbers, codes, present).tobytes()


def values_of(row: np.ndarray) -> Values:
    """A row as values, for a legible comparison."""
    present = FLOW.present(row[None])[0]
    numbers, codes = row["numbers"].tolist(), row["codes"].tolist()
    symbols = [
        column.symbols[code - 1] if code else None for column, code in zip(FLOW.symbolic, codes, strict=True)
    ]
    return {
        name: value if there else None
        for name, value, there in zip(FLOW.names, [*numbers, *symbols], present.tolist(), strict=True)
    }


def _stretched(before: Record, now: Record) -> Record:
    return now._replace(
        start_us=min(before.start_us, now.start_us),
        end_us=max(before.end_us, now.end_us),
        service=now.service or before.service,
        state=now.state or before.state,
        quality=now.quality | before.quality & ~Quality.CUT,
    )
