"""Flows that are of a key of the profile, many at once: by a hash of 64 bits of device, peer and key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.core.flow.columns import DeviceFlows, Hashes, Index, hash_of
from streams.core.flow.facts import ports_of
from streams.core.flow.repeats import mixed
from streams.core.profile.values import KINDS, PROTOCOLS, Key

_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, eq=False)
class FlowKeys:
    """Of N flows: the hash of the key with their peer's kind, and of that with their very peer."""

    by_kind: Hashes
    by_peer: Hashes


def flow_keys(flows: DeviceFlows, devices: Sequence[str]) -> FlowKeys:
    """`devices` are the names by the number in `flows.device`."""
    asked, _ = ports_of(flows)
    numbers, of = np.unique(flows.device, return_inverse=True)
    hashes = np.array([hash_of(devices[number]) for number in numbers.tolist()], np.uint64)
    rest = flows.originates.astype(np.int64) << 18 | flows.protocol.astype(np.int64) << 16 | asked
    device = hashes[of]
    kind = flows.peer_kind.astype(np.uint64) + np.uint64(1)
    return FlowKeys(_hashed(device, kind, rest), _hashed(device, flows.peer, rest))


def key_hashes(keys: Sequence[Key]) -> Hashes:
    """(K,) as those of flows that are of the keys."""
    peers = [KINDS.index(key.peer) + 1 if key.peer in KINDS else hash_of(key.peer) for key in keys]
    rest = [(key.role == "originator") << 18 | PROTOCOLS.index(key.protocol) << 16 | key.port for key in keys]
    devices = np.array([hash_of(key.device) for key in keys], np.uint64)
    return _hashed(devices, np.array(peers, np.uint64), np.array(rest, np.int64))


def _hashed(device: Hashes, peer: Hashes, rest: Index) -> Hashes:
    value = mixed(device + _ODD)
    for part in (peer, rest.astype(np.uint64)):
        value = mixed((value ^ part) * _ODD + _ODD)
    return value
