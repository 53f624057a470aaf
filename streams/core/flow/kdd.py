"""KDD'99's columns of flows, as a projection of a device's state: 26 of the 41, all but those of contents.

    basic       duration to dst_bytes, land; not wrong_fragment and urgent, which no flow tells
    traffic     count to srv_diff_host_rate over two seconds, dst_host_... over the last 100 connections

Definitions are those of `core/traffic.py`. The windows are those of the table `flow`: two seconds hold 100
connections at most, and a flow is compared with what came before it. An error is what the state knows of: a
TCP connection without an answer is a SYN error; one that was refused, stayed half-open or was reset at once
is a REJ error; one that was reset after an exchange is none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import ROLES, DeviceFlows, Index, Mask, Protocol
from streams.core.flow.facts import FAILING, UNANSWERED, facts_of
from streams.core.flow.state import States
from streams.core.flow.tape import Tape, blocks, ends_at, laid_out, window
from streams.core.flows import Role, State
from streams.core.kdd99 import KDD99

UNTOLD: Final = KDD99.numeric_names[4:19]
"""wrong_fragment and urgent, and the 13 of contents."""
FLAGS: Final = {
    State.UNKNOWN: "",
    State.ANSWERED: "SF",
    State.NO_ANSWER: "S0",
    State.REFUSED: "REJ",
    State.RESET: "RSTO",
    State.HALF_OPEN: "RSTOS0",
    State.PARTIAL: "OTH",
}
"""Who reset, and how far a handshake went, is not kept."""
_SPAN_MS: Final = 2_000
_SERVICE_BITS: Final = (1 << 18) - 1
"""Of a key: protocol and port, without who asked."""
_DYNAMIC: Final = 49_152
_NO_VALUE: Final = np.iinfo(np.int64).max

Columns = dict[str, npt.NDArray[np.generic] | list[str]]


def projected(states: States, flows: DeviceFlows, land: Mask) -> Columns:
    """KDD's columns by name, without UNTOLD, of flows (M,) in device order that count; numbers, or NaN.

    `states` are those before them; `land`: whose ends are one address and port.
    """
    facts = facts_of(flows)
    tape = laid_out(states, flows.device, facts, facts.bits)
    mine = flows.role == ROLES.index(Role.ORIGINATOR)
    sent = np.where(mine, flows.payload_bytes_out, flows.payload_bytes_in)
    came = np.where(mine, flows.payload_bytes_in, flows.payload_bytes_out)
    tcp = flows.protocol == Protocol.TCP
    return {
        "duration": np.maximum(flows.end_us - flows.start_us, 0) // 1_000_000,
        "protocol_type": [_PROTOCOLS[one] for one in flows.protocol.tolist()],
        "service": [
            service_of(*one)
            for one in zip(flows.protocol.tolist(), (facts.key & 0xFFFF).tolist(), strict=True)
        ],
        "flag": [
            FLAGS[State(state)] if is_tcp else "SF"
            for state, is_tcp in zip(flows.state.tolist(), tcp.tolist(), strict=True)
        ],
        "src_bytes": np.where(sent >= 0, sent, np.nan),
        "dst_bytes": np.where(came >= 0, came, np.nan),
        "land": land.astype(np.int64),
        **_traffic(tape),
    }


def _traffic(tape: Tape) -> dict[str, npt.NDArray[np.generic]]:
    parts = [_of_block(tape, tape.at[block]) for block in blocks(len(tape.at))]
    names = KDD99.numeric_names[19:]
    if not parts:
        return {name: np.zeros(0) for name in names}
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _of_block(tape: Tape, at: Index) -> dict[str, npt.NDArray[np.generic]]:
    ends = ends_at(at)
    key = window(tape.key, ends).astype(np.int64)  # (n, LAST); the present flow is the last
    asks = key >> 18 & 1
    host = np.where(asks == 1, window(tape.peer, ends).astype(np.int64), -1)
    service = key & _SERVICE_BITS
    bits, time_ms = window(tape.bits, ends), window(tape.time_ms, ends)
    failing, silent = (bits & FAILING) != 0, (bits & UNANSWERED) != 0
    now_ms = time_ms[:, -1:]
    there = key != 0
    recent = there & (time_ms > now_ms - _SPAN_MS) & (time_ms <= now_ms)
    found: dict[str, npt.NDArray[np.generic]] = {}
    for prefix, inside in (("", recent), ("dst_host_", there)):
        at_host, at_service = inside & (host == host[:, -1:]), inside & (service == service[:, -1:])
        hosts, services = at_host.sum(1), at_service.sum(1)
        found[f"{prefix}count"], found[f"{prefix}srv_count"] = hosts, services
        for name, wrong in (("serror", failing & silent), ("rerror", failing & ~silent)):
            found[f"{prefix}{name}_rate"] = _rate((at_host & wrong).sum(1), hosts)
            found[f"{prefix}srv_{name}_rate"] = _rate((at_service & wrong).sum(1), services)
        found[f"{prefix}same_srv_rate"] = _rate((at_host & at_service).sum(1), hosts)
        found[f"{prefix}diff_srv_rate"] = _rate(_distinct(service, at_host), hosts)
        found[f"{prefix}srv_diff_host_rate"] = _rate(_distinct(host, at_service), services)
    port = window(tape.source_port, ends)
    same_port = there & (host == host[:, -1:]) & (port == port[:, -1:])
    found["dst_host_same_src_port_rate"] = _rate(same_port.sum(1), found["dst_host_count"])
    return found


def _rate(part: Index, whole: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """With two decimals, as the file has them."""
    return np.round(part / np.asarray(whole, np.float64), 2)


def _distinct(values: Index, inside: Mask) -> Index:
    """(n,) how many different values there are inside; 0 where it is one."""
    ordered = np.sort(np.where(inside, values, _NO_VALUE), axis=1)
    changes = (ordered[:, 1:] != ordered[:, :-1]) & (ordered[:, 1:] != _NO_VALUE)
    count = changes.sum(1) + 1
    return np.where(count > 1, count, 0)


def service_of(protocol: int, port: int) -> str:
    """KDD's name of what was asked for: `other`, or `private` of a dynamic port, where it has none."""
    if protocol == Protocol.ICMP:
        kind, code = port >> 8, port & 0xFF
        return "urh_i" if (kind, code) == (3, 1) else _ICMP.get(kind, "other")
    named = _UDP if protocol == Protocol.UDP else _TCP
    found = "X11" if named is _TCP and 6_000 <= port <= 6_063 else named.get(port)
    return found or ("private" if port >= _DYNAMIC else "other")


_PROTOCOLS: Final = {Protocol.OTHER: "", Protocol.TCP: "tcp", Protocol.UDP: "udp", Protocol.ICMP: "icmp"}
_ICMP: Final = {0: "ecr_i", 3: "urp_i", 5: "red_i", 8: "eco_i", 11: "tim_i"}
_UDP: Final = {53: "domain_u", 69: "tftp_u", 123: "ntp_u", 137: "netbios_ns", 138: "netbios_dgm"}
_TCP: Final = {
    5: "rje", 7: "echo", 9: "discard", 11: "systat", 13: "daytime", 15: "netstat", 20: "ftp_data", 21: "ftp",
    22: "ssh", 23: "telnet", 25: "smtp", 37: "time", 42: "name", 43: "whois", 53: "domain", 57: "mtp",
    70: "gopher", 71: "remote_job", 79: "finger", 80: "http", 84: "ctf", 87: "link", 95: "supdup",
    101: "hostnames", 102: "iso_tsap", 105: "csnet_ns", 109: "pop_2", 110: "pop_3", 111: "sunrpc",
    113: "auth", 117: "uucp_path", 119: "nntp", 137: "netbios_ns", 138: "netbios_dgm", 139: "netbios_ssn",
    143: "imap4", 150: "sql_net", 175: "vmnet", 179: "bgp", 194: "IRC", 210: "Z39_50", 389: "ldap",
    433: "nnsp", 443: "http_443", 512: "exec", 513: "login", 514: "shell", 515: "printer", 520: "efs",
    530: "courier", 540: "uucp", 543: "klogin", 544: "kshell", 2784: "http_2784", 5190: "aol", 6667: "IRC",
    8001: "http_8001",
}  # fmt: skip
