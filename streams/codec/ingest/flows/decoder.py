"""Batches of sensors' records to canonical columns, and what was skipped or cannot be read.

Zeek's JSON is read many records at once (`zeek_columns.py`); what is not plain there, and every other
dialect, is read record by record, which is also what the columns are tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streams.codec.avro.datum import Unreadable
from streams.codec.ingest.checks import rejected
from streams.codec.ingest.flows import dialects, ours
from streams.codec.ingest.flows.reading import NoFlow
from streams.codec.ingest.flows.zeek_tsv import Header
from streams.core.events import RawRecord, Reason, Rejected, Unopened
from streams.core.flow_columns import Flows, ReadFlows, Skipped, flows_of, merged
from streams.core.flow_times import settled
from streams.core.flows import Flow

Outcome = list[tuple[Flow, str]] | Skipped | Rejected
"""Of one record: its flows, each with its dialect; or why there are none."""

_LATEST_KAFKA_MS: Final = 4_102_444_800_000


class FlowDecoder:
    """Decodes records of sensors' topics; safe to use from several threads.

    `dialect` is one of `dialects.DIALECTS`; auto tells each record's by its content.
    """

    def __init__(self, dialect: str = dialects.AUTO, registry: ours.Registry | None = None) -> None:
        self._dialect = dialect
        self._registry = registry

    def decode(self, records: Sequence[RawRecord], header: Header | None = None) -> ReadFlows:
        """Flows in the records' order. `header`: that of a file of Zeek's TSV.

        Raises RegistryUnavailable where a schema id is unknown and the registry does not answer.
        """
        parts: list[Flows] = []
        skipped: list[Skipped] = []
        wrong: list[Rejected] = []
        positions: list[int] = []
        flows: list[Flow] = []
        written: list[str] = []
        for position in range(len(records)):
            outcome = self.read(records[position], position, header)
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
            elif isinstance(outcome, Rejected):
                wrong.append(outcome)
            else:
                for flow, dialect in outcome:
                    positions.append(position)
                    flows.append(flow)
                    written.append(dialect)
        parts.append(flows_of(positions, flows, written))
        return ReadFlows(merged(parts), tuple(skipped), tuple(wrong))

    def read(self, record: RawRecord, position: int = 0, header: Header | None = None) -> Outcome:
        """One record by itself."""
        value = record.value
        if not value:
            return rejected(
                position, Reason.EMPTY_VALUE, f"the value is {'null' if value is None else 'empty'}"
            )
        if isinstance(value, Unopened):
            return rejected(position, value.reason, value.detail)
        try:
            seen = dialects.read(value, self._dialect, header, self._registry)
        except NoFlow as exc:
            return Skipped(position, str(exc))
        except Unreadable as exc:
            return rejected(position, exc.reason, exc.detail)
        except RecursionError:
            return rejected(position, Reason.UNDECODABLE, "nested too deeply")
        kafka_us = kafka_time_of(record.timestamp)
        return [(settled(one.flow, kafka_us, one.collected_us), one.dialect) for one in seen]


def kafka_time_of(timestamp_ms: int) -> int | None:
    """None where there is no timestamp that can be."""
    return timestamp_ms * 1_000 if 0 < timestamp_ms < _LATEST_KAFKA_MS else None
