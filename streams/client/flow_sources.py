"""A file of a sensor's records, in any dialect, or a capture of packets: in blocks, with their flows."""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from streams.adapters.captures import frames_in, is_capture_by
from streams.client.flow_files import FileRecord, Options, bytes_read, opened, records
from streams.client.flow_reading import BLOCK, blocks
from streams.client.sensing import Sensing
from streams.codec.ingest.flows import ours
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.flow_columns import ReadFlows, flows_of
from streams.core.flows import Flow
from streams.core.meter import Waits
from streams.errors import DataError

METER: Final = "capture"
"""The sensor's name where a capture is metered here."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive records. Those of a capture are what the meter tells, as our own Avro."""

    first: int
    """Number of the first record; the file's first is 1."""
    records: Sequence[FileRecord]
    read: ReadFlows


class FlowSource:
    """Read once, by one thread. `name` is a path, or - for standard input."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.damage = ""
        """Why the rest of the file could not be read; what stood before it was given."""
        self.packets = 0
        """Of a capture."""
        self.bytes_read = 0
        """Of the file as it lies, compressed or not."""
        self._options = options

    def blocks(self) -> Iterator[Block]:
        """Raises DataError where nothing can be read, OSError without a file."""
        with opened(self.name) as stream:
            if is_capture_by(stream.peek(4)[:4]):
                found = self._of_capture(stream)
            else:
                found = self._of_records(stream)
            first = 1
            for read_records, read in found:
                self.bytes_read = bytes_read(stream)
                yield Block(first, read_records, read)
                first += len(read_records)

    def _of_records(self, stream: io.BufferedReader) -> Iterator[tuple[list[FileRecord], ReadFlows]]:
        decoder = FlowDecoder(self._options.dialect)
        for block in blocks(self._whole(records(stream, self.name, self._options))):
            yield block, decoder.decode(block, block[0].header)

    def _of_capture(self, stream: io.BufferedReader) -> Iterator[tuple[list[FileRecord], ReadFlows]]:
        sensing = Sensing(METER, "", Waits())
        flows, offset = self._metered(sensing, stream), 0
        while block := list(itertools.islice(flows, BLOCK)):
            self.packets = sensing.counted.packets
            values = [FileRecord(ours.encode(flow), offset + i) for i, flow in enumerate(block)]
            yield values, ReadFlows(flows_of(range(len(block)), block, [ours.NAME] * len(block)), (), ())
            offset += len(block)
        self.packets = sensing.counted.packets

    def _metered(self, sensing: Sensing, stream: io.BufferedReader) -> Iterator[Flow]:
        yield from sensing.flows(self._whole(frames_in(stream, Path(self.name))))
        yield from sensing.rest()

    def _whole(self, found: Iterable[T]) -> Iterator[T]:
        """What comes before the damage. Raises DataError where that is nothing."""
        is_empty = True
        try:
            for one in found:
                yield one
                is_empty = False
        except (DataError, EOFError, gzip.BadGzipFile, zlib.error) as exc:
            if is_empty:
                raise
            is_ours = isinstance(exc, DataError)
            self.damage = str(exc) if is_ours else f"the gzip data is cut off or damaged ({exc})"
