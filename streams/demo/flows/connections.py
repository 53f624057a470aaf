"""A finished connection as a sensor sees it, how connections of one kind look, and its record of Zeek's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from streams.demo.habits import A_SECOND_US, NOTHING, Spread

_HEADERS: Final = {"tcp": 52, "udp": 28, "icmp": 28}
"""Bytes of a packet's headers, from the IP header on."""
_SYN_BYTES: Final = 60
_RST_BYTES: Final = 40
_SEGMENT: Final = 1_400
_HISTORIES: Final = {
    "SF": "ShADadFf",
    "S1": "ShADad",
    "RSTO": "ShADadR",
    "REJ": "Sr",
    "S0": "S",
    "OTH": "D",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """Times in microseconds."""

    start_us: int
    end_us: int
    originator: str
    originator_port: int
    responder: str
    responder_port: int
    protocol: str
    service: str
    state: str
    """Zeek's."""
    sent: tuple[int, int, int]
    """By the originator: packets, bytes of IP, payload bytes; then what came back."""
    received: tuple[int, int, int]

    @property
    def ends(self) -> tuple[str, str]:
        return self.originator, self.responder

    def moved(self, by_us: int) -> Connection:
        from dataclasses import replace  # noqa: PLC0415

        return replace(self, start_us=self.start_us + by_us, end_us=self.end_us + by_us)


@dataclass(frozen=True, slots=True)
class Kind:
    """How connections to one port look. `states` are the usual ones, each with its share."""

    protocol: str
    port: int
    service: str = ""
    sent: Spread = NOTHING
    received: Spread = NOTHING
    lasts_ms: Spread = NOTHING
    states: Sequence[tuple[str, float]] = (("SF", 1.0),)
    source_port: int = 0
    """0: a fresh one each time."""

    def between(self, originator: str, responder: str, ended_us: int, random: Random) -> Connection:
        """One that ended then."""
        names, shares = zip(*self.states, strict=True)
        state = random.choices(names, shares)[0] if len(names) > 1 else names[0]
        answered = state in ("SF", "S1", "RSTO")
        lasts_us = self.lasts_ms.draw(random) * 1000 if answered else 0
        sent = self.sent.draw(random) if answered or self.protocol != "tcp" else 0
        received = self.received.draw(random) if answered else 0
        return Connection(
            start_us=ended_us - lasts_us,
            end_us=ended_us,
            originator=originator,
            originator_port=self.source_port or random.randint(32_768, 60_999),
            responder=responder,
            responder_port=self.port,
            protocol=self.protocol,
            service=self.service if answered else "",
            state=state,
            sent=self._counted(sent, state, is_back=False),
            received=self._counted(received, state, is_back=True),
        )

    def _counted(self, payload: int, state: str, *, is_back: bool) -> tuple[int, int, int]:
        """Packets, bytes of IP and payload bytes of one way."""
        if self.protocol != "tcp":
            packets = -(-payload // _SEGMENT)
            return packets, payload + packets * _HEADERS[self.protocol], payload
        if state == "S0":
            return (0, 0, 0) if is_back else (1, _SYN_BYTES, 0)
        if state == "REJ":
            return (1, _RST_BYTES, 0) if is_back else (1, _SYN_BYTES, 0)
        packets = 4 + -(-payload // _SEGMENT)
        return packets, payload + packets * _HEADERS["tcp"], payload


def zeek_record(connection: Connection, uid: str) -> bytes:
    """A line of conn.log in JSON."""
    lasts_us = connection.end_us - connection.start_us
    history = _HISTORIES[connection.state]
    if connection.protocol != "tcp":
        history = "Dd" if connection.received[0] else "D"
    record = {
        "ts": connection.start_us / A_SECOND_US,
        "uid": uid,
        "id.orig_h": connection.originator,
        "id.orig_p": connection.originator_port,
        "id.resp_h": connection.responder,
        "id.resp_p": connection.responder_port,
        "proto": connection.protocol,
        "conn_state": connection.state,
        "local_orig": True,
        "missed_bytes": 0,
        "history": history,
        "orig_pkts": connection.sent[0],
        "orig_ip_bytes": connection.sent[1],
        "resp_pkts": connection.received[0],
        "resp_ip_bytes": connection.received[1],
    }
    if connection.service:
        record["service"] = connection.service
    if lasts_us:
        record |= {
            "duration": lasts_us / A_SECOND_US,
            "orig_bytes": connection.sent[2],
            "resp_bytes": connection.received[2],
        }
    return json.dumps(record).encode()
