"""What a file's records are as device events, for the command line."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

from streams.client.flow_files import FileRecord
from streams.codec.ingest.flows.decoder import FlowDecoder, Outcome
from streams.core.events import Rejected
from streams.core.flow_columns import Skipped
from streams.core.flows import DeviceFlow, State
from streams.core.home import Home

BLOCK: Final = 4_096


def outcomes(records: Iterable[FileRecord], decoder: FlowDecoder) -> Iterator[tuple[FileRecord, Outcome]]:
    """One of each record, in their order."""
    for record in records:
        yield record, decoder.read(record, header=record.header)


def as_json(outcome: Outcome, home: Home) -> dict[str, Any]:
    """One object a record: its device events, none where no end is at home; or why there are none."""
    if isinstance(outcome, Skipped):
        return {"skipped": outcome.reason}
    if isinstance(outcome, Rejected):
        return {"rejected": str(outcome.reason), "detail": outcome.detail}
    events = itertools.chain.from_iterable(home.device_flows(flow) for flow, _ in outcome)
    return {"flows": [event_as_json(event) for event in events]}


def event_as_json(event: DeviceFlow) -> dict[str, Any]:
    """Null is unknown, which is not 0."""
    return {
        "device": event.device,
        "direction": str(event.direction),
        "role": str(event.role),
        "peer": event.peer,
        "protocol": event.protocol,
        "device_port": event.device_port,
        "peer_port": event.peer_port,
        "service": event.service or None,
        "state": None if event.state is State.UNKNOWN else event.state.name.lower(),
        "start_us": event.start_us,
        "end_us": event.end_us,
        "packets_out": event.packets_out,
        "packets_in": event.packets_in,
        "ip_bytes_out": event.ip_bytes_out,
        "ip_bytes_in": event.ip_bytes_in,
        "payload_bytes_out": event.payload_bytes_out,
        "payload_bytes_in": event.payload_bytes_in,
        "flow_id": event.flow_id,
        "quality": event.quality.words,
        "final": event.final,
    }


def blocks(records: Iterable[FileRecord]) -> Iterator[list[FileRecord]]:
    """The records in pieces that are decoded at once: of one header each."""
    for _, run in itertools.groupby(records, key=lambda record: record.header):
        while block := list(itertools.islice(run, BLOCK)):
            yield block
