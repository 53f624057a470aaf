"""Methods without learning: what a fitted one has to be better than."""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.core.flow.table import FLOW, PORT_CLASSES
from streams.evaluation.flows.methods import Method
from streams.training.flow_protocol.deciding import Scores
from streams.training.flow_protocol.labelled import CLASSES, NORMAL, UNSCORED, LabelledFlows

_NUMBER: Final = {name: place for place, name in enumerate(FLOW.numeric_names)}
_SYMBOL: Final = {name: place for place, name in enumerate(FLOW.symbolic_names)}
_SHELL: Final = PORT_CLASSES.index("shell") + 1


def _number(flows: LabelledFlows, name: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.asarray(flows.rows["numbers"][:, _NUMBER[name]])


def majority(flows: LabelledFlows) -> Scores:
    return np.zeros((len(flows), len(CLASSES) - 1))


def persistence(flows: LabelledFlows) -> Scores:
    """The true class of the device's flow before, which no detector knows: what labels say of each other."""
    scores = majority(flows)
    before: dict[int, int] = {}
    for place, (device, target) in enumerate(zip(flows.device.tolist(), flows.target.tolist(), strict=True)):
        if target == UNSCORED:
            continue
        known = before.get(device, NORMAL)
        if known != NORMAL:
            scores[place, known - 1] = 1.0
        before[device] = target
    return scores


def simple(flows: LabelledFlows) -> Scores:
    """Fan-out, errors, a steady beat, many log-ins."""
    failing = _number(flows, "recent_failing") * _number(flows, "recent_flows")
    beat = _number(flows, "attempts") / (1 + 10 * _number(flows, "interval_spread"))
    return _scores(_number(flows, "last_peers_on_port"), beat, failing, _logins(flows, "recent_same_peer"))


def better(flows: LabelledFlows) -> Scores:
    """Distinct hosts or ports that fail, one that fails again and again, and floods of it."""
    failing = np.maximum(
        _number(flows, "last_failing_peers_on_port"), _number(flows, "last_failing_ports_on_peer")
    )
    flood = _number(flows, "recent_failures_to_host_port")
    return _scores(failing, _number(flows, "fail_streak"), flood, _logins(flows, "last_same_port"))


def _logins(flows: LabelledFlows, name: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Of what comes in to a shell's port."""
    shell = (flows.rows["codes"][:, _SYMBOL["port_class"]] == _SHELL) & flows.inbound
    return np.asarray(np.where(shell, _number(flows, name), 0.0), np.float32)


def _scores(probe: object, c2: object, dos: object, r2l: object) -> Scores:
    """(N, 4) in the order of the classes, as logarithms of what is counted."""
    return np.log1p(np.stack([np.asarray(one, np.float64) for one in (probe, c2, dos, r2l)], axis=1))


RULES: Final = (
    Method("majority", "always normal", lambda task: majority, is_fixed=True),
    Method(
        "persistence",
        "repeats the true class of the device's flow before; no detector knows it",
        lambda task: persistence,
        is_fixed=True,
    ),
    Method(
        "simple rules",
        "peers on one port, failing flows of 2 s, a steady beat, log-ins of one peer",
        lambda task: simple,
    ),
    Method(
        "better rules",
        "distinct failing hosts or ports, failures in a row to one key, failures of 2 s to one host and port",
        lambda task: better,
    ),
)
