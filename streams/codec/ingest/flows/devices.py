"""Records of sensors to flows of devices: read in any dialect, and given to whom they belong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.events import RawRecord, Rejected
from streams.core.flows import DeviceFlow
from streams.core.home import Home
from streams.core.leases import Naming
from streams.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Read:
    """What some records of a sensor are."""

    flows: Sequence[tuple[int, DeviceFlow]]
    """Place of the record and a device's flow, by place; of one record there may be none or several."""
    rejected: Sequence[Rejected] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Records that are no flows, by reason."""
    foreign: int = 0
    """Flows without a device of ours."""


class Leases(Protocol):
    def check_fresh(self) -> None:
        """Raises Unavailable where more leases may count than are known."""
        ...

    def naming(self, received_us: int) -> Naming | None: ...


class NoLeases:
    """Devices are called by their MAC or address."""

    def check_fresh(self) -> None:
        """There is nothing to know."""

    def naming(self, received_us: int) -> Naming | None:
        return None


NO_LEASES: Final = NoLeases()


@dataclass(frozen=True, slots=True)
class DeviceFlowReader:
    decoder: FlowDecoder
    home: Home
    leases: Leases = NO_LEASES

    def why_not(self) -> str | None:
        """Why records have to wait, if they do: leases are not known yet."""
        try:
            self.leases.check_fresh()
        except Unavailable as exc:
            return str(exc)
        return None

    def read(self, records: Sequence[RawRecord]) -> Read:
        """Raises RegistryUnavailable as the decoder does, Unavailable where leases are not known yet."""
        self.leases.check_fresh()
        decoded = self.decoder.decode(records)
        flows: list[tuple[int, DeviceFlow]] = []
        foreign = 0
        for place, flow in zip(decoded.flows.position.tolist(), decoded.flows, strict=True):
            naming = self.leases.naming(records[place].timestamp * 1_000)
            mine = self.home.device_flows(flow, naming)
            foreign += not mine
            flows += ((place, one) for one in mine)
        skipped = Counter(one.reason for one in decoded.skipped)
        return Read(flows, decoded.rejected, skipped, foreign)
