"""Many flows as columns: what a batch of sensors' records becomes, whatever wrote them.

The frame has the fields of `Flow` in their order. A null is what the sensor did not say: the validity of a
column is its mask of presence, (N,) as the column itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.core.drafts import draft_of
from streams.core.events import Rejected
from streams.core.flows import Flow, Quality, State

SCHEMA: Final[Mapping[str, type[pl.DataType]]] = {
    "flow_id": pl.String,
    "originator": pl.String,
    "responder": pl.String,
    "originator_port": pl.Int32,
    "responder_port": pl.Int32,
    "protocol": pl.String,
    "start_us": pl.Int64,
    "end_us": pl.Int64,
    "state": pl.Int8,
    "service": pl.String,
    "originator_packets": pl.Int64,
    "responder_packets": pl.Int64,
    "originator_ip_bytes": pl.Int64,
    "responder_ip_bytes": pl.Int64,
    "originator_payload_bytes": pl.Int64,
    "responder_payload_bytes": pl.Int64,
    "originator_mac": pl.String,
    "responder_mac": pl.String,
    "community_id": pl.String,
    "site": pl.String,
    "sensor": pl.String,
    "half": pl.Boolean,
    "final": pl.Boolean,
    "tcp_flags": pl.Int32,
    "quality": pl.Int32,
}
COUNTERS: Final = (
    "originator_packets",
    "responder_packets",
    "originator_ip_bytes",
    "responder_ip_bytes",
    "originator_payload_bytes",
    "responder_payload_bytes",
)
_STATES: Final = tuple(State)
assert [int(state) for state in _STATES] == list(range(len(_STATES)))
_Draft: Final = draft_of(Flow)
assert tuple(SCHEMA) == tuple(field.name for field in dataclasses.fields(Flow))


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """N flows."""

    position: npt.NDArray[np.int64]
    """(N,) place of each flow's record in what was read, ascending; one record may hold several flows."""
    frame: pl.DataFrame
    """(N, fields of Flow), of SCHEMA."""
    dialect: pl.Series
    """(N,) String: how each was written."""

    def __len__(self) -> int:
        return len(self.position)

    def __iter__(self) -> Iterator[Flow]:
        qualities: dict[int, Quality] = {}
        for row in self.frame.iter_rows():
            flow = _Draft(*row)
            flow.state = _STATES[flow.state]
            quality = qualities.get(flow.quality)
            if quality is None:
                quality = qualities[flow.quality] = Quality(flow.quality)
            flow.quality = quality
            flow.__class__ = Flow
            yield flow

    @property
    def counters(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The six counters (N, 6), 0 where unknown, and which are known (N, 6)."""
        found = self.frame.select(COUNTERS)
        return found.fill_null(0).to_numpy(), found.select(pl.all().is_not_null()).to_numpy()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that is no flow and does not claim to be: of another log, or another type of event."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReadFlows:
    """What became of a batch of records: each is in one of the three."""

    flows: Flows
    skipped: tuple[Skipped, ...]
    rejected: tuple[Rejected, ...]


def flows_of(positions: Sequence[int], flows: Sequence[Flow], dialects: Sequence[str]) -> Flows:
    """Flows read one by one as columns, N each."""
    names = tuple(SCHEMA)
    rows = [tuple(getattr(flow, name) for name in names) for flow in flows]
    return Flows(
        np.array(positions, np.int64),
        pl.DataFrame(rows, schema=dict(SCHEMA), orient="row"),
        pl.Series("dialect", dialects, dtype=pl.String),
    )


def merged(parts: Sequence[Flows]) -> Flows:
    """The parts' flows in the order of their records."""
    if len(parts) == 1:
        return parts[0]
    position = np.concatenate([part.position for part in parts])  # (N,)
    order = np.argsort(position, kind="stable")
    return Flows(
        position[order],
        pl.concat([part.frame for part in parts])[order],
        pl.concat([part.dialect for part in parts])[order],
    )
