"""Rows of the table `flow` as the network of flows reads them, and the shape of that network."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streams.core.flow.columns import Mask
from streams.core.flow.table import EVIDENCE, FLOW, SLOW
from streams.core.tables import Rows
from streams.model.evidence import log_counts
from streams.model.network import Architecture, Features, Network, features, min_max
from streams.training.binning import bin_edges, table
from streams.training.flow_protocol.labelled import CLASSES
from streams.training.flows.plan import FlowPlan

_NUMBERS: Final = FLOW.numeric_names
EVIDENCE_AT: Final = tuple(_NUMBERS.index(name) for name in EVIDENCE)
WITHHELD: Final = tuple(_NUMBERS.index(name) for name in SLOW if name not in EVIDENCE)
"""For rules and novelty of a network's own habits alone: a classifier that saw them did worse elsewhere."""
_HIDDEN: Final = [*EVIDENCE_AT, *WITHHELD]


class Extremes(NamedTuple):
    """Of log(1 + x), where a number is there. (numbers,) each."""

    low: Tensor
    high: Tensor


def extremes(rows: Rows) -> Extremes:
    there = FLOW.present(rows)[:, : len(_NUMBERS)]
    logs = np.log1p(np.maximum(rows["numbers"], 0.0))
    low = np.where(there, logs, np.inf).min(0)
    high = np.where(there, logs, -np.inf).max(0)
    never = ~there.any(0)
    low[never], high[never] = 0.0, 1.0
    return Extremes(torch.from_numpy(low.astype(np.float32)), torch.from_numpy(high.astype(np.float32)))


def untrained(rows: Rows, weight: npt.NDArray[np.float64], of: Extremes, plan: FlowPlan) -> Network:
    """A network with the bins that these rows, so heavy each, call for."""
    scaled, there = _scaled(rows, of)
    edges = bin_edges((scaled * there).numpy(), weight, plan.quantile_bins, plan.common_bins)
    for place in _HIDDEN:
        edges[place] = np.empty(0, np.float32)
    shape = Architecture(
        bins=tuple(len(one) + 2 for one in edges),  # one more than they part, and one for what is absent
        symbols=tuple(column.size for column in FLOW.symbolic),
        keys=FLOW.key_places,
        classes=len(CLASSES),
        window=plan.window,
        latent=plan.latent,
        vae_hidden=plan.vae_hidden,
        embedding=plan.embedding,
        embedding_hidden=plan.embedding_hidden,
        gru_hidden=plan.gru_hidden,
        weighed=True,
        masked=True,
        evidence=EVIDENCE_AT,
        withheld=WITHHELD,
    )
    network = Network.random(shape, plan.seed)
    found = torch.from_numpy(table(edges))
    network.edges[:, : found.shape[1]] = found
    return network


def as_read(rows: Rows, of: Extremes, network: Network) -> Features:
    """What the detector makes of the rows, for training."""
    scaled, there = _scaled(rows, of)
    codes = torch.from_numpy(rows["codes"].astype(np.int64))
    counts = torch.from_numpy(rows["numbers"][:, list(EVIDENCE_AT)].astype(np.float32))
    found = features(scaled, codes, network.edges, network.shape, there)
    return found._replace(evidence=log_counts(counts))


def _scaled(rows: Rows, of: Extremes) -> tuple[Tensor, Tensor]:
    """In 0..1, and which are seen. (N, numbers) each."""
    there: Mask = FLOW.present(rows)[:, : len(_NUMBERS)].copy()
    there[:, _HIDDEN] = False
    numbers = torch.from_numpy(rows["numbers"].astype(np.float32))
    return min_max(numbers, of.low, of.high), torch.from_numpy(there)
