"""Files of sensors' records, one by one in bounded memory: lines of JSON or of Zeek's TSV, an array of JSON,
Kafka messages one a line, messages of protobuf behind their lengths; each also as gzip.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

from streams.codec.avro.datum import Unreadable
from streams.codec.ingest.flows import goflow2
from streams.codec.ingest.flows.wrapping import LARGEST_BYTES, json_of
from streams.codec.ingest.flows.zeek_tsv import Header, header_after
from streams.core.events import Header as KafkaHeader
from streams.errors import DataError

STANDARD_INPUT: Final = "-"
_BLOCK_BYTES: Final = 1 << 16
_SMALL_BYTES: Final = 1 << 16
_CAPTURE: Final = "a capture of packets; `autodeep try` and `autodeep flows judge` meter it themselves"
_NO_FLOWS: Final = {
    b"Obj\x01": "an Avro container file; flows are read as single objects, as they stand on a topic",
    b"PAR1": "a Parquet file; no sensor writes that",
    b"\xd4\xc3\xb2\xa1": _CAPTURE,
    b"\xa1\xb2\xc3\xd4": _CAPTURE,
    b"\x0a\x0d\x0d\x0a": _CAPTURE,
    b"\x28\xb5\x2f\xfd": "compressed by zstd; decompress it first",
    b"PK\x03\x04": "a zip file; unpack it first",
}
_ARRAY: Final = re.compile(rb"\s*\[\s*[{\]]")
_CSV: Final = re.compile(r"ts,uid,id\.orig_h,.{10,2000}")
_BETWEEN: Final = " \t\r\n,[]"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One record of a file, in the shape of a consumed one."""

    value: bytes | None
    offset: int
    """Its place among the file's records."""
    timestamp: int = 0
    """Kafka's, in milliseconds, where the file has Kafka messages; 0: none."""
    header: Header | None = None
    """Of a file of TSV."""
    key: bytes | None = None
    headers: tuple[KafkaHeader, ...] = ()
    partition: int = 0
    """Of a Kafka message."""


@dataclass(frozen=True, slots=True)
class Options:
    dialect: str = "auto"
    is_kafka: bool = False
    """Every line is a Kafka message; otherwise that is told of each line."""


@contextmanager
def opened(name: str) -> Iterator[io.BufferedReader]:
    """A file, or standard input. Raises DataError where gzip data is damaged, OSError without a file."""
    with ExitStack() as stack:
        raw = sys.stdin.buffer if name == STANDARD_INPUT else stack.enter_context(open(name, "rb"))
        stream = cast(io.BufferedReader, raw)
        if stream.peek(2)[:2] == b"\x1f\x8b":
            stream = io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=stream)))
        try:
            yield stream
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            raise DataError(f"{name}: the gzip data is cut off or damaged ({exc})") from exc


def bytes_read(stream: io.BufferedReader) -> int:
    """Of what `opened` opened, as it lies; 0 where that cannot be told."""
    raw: Any = stream.raw
    inner: Any = raw.fileobj if isinstance(raw, gzip.GzipFile) else stream
    return cast(int, inner.tell()) if inner.seekable() else 0


def records(stream: io.BufferedReader, name: str, options: Options) -> Iterator[FileRecord]:
    """All records of a file. Raises DataError where it is of a kind that holds none."""
    head = stream.peek(_BLOCK_BYTES)[:_BLOCK_BYTES]
    for magic, what in _NO_FLOWS.items():
        if head.startswith(magic):
            raise DataError(f"{name} is {what}")
    if (options.dialect == goflow2.PROTOBUF and not options.is_kafka) or _is_binary(head):
        found = _messages(stream)
    elif _ARRAY.match(head) and not options.is_kafka:
        found = _elements(stream)
    else:
        yield from _lines(stream, options)
        return
    for offset, value in enumerate(found):
        yield FileRecord(value, offset)


def _is_binary(head: bytes) -> bool:
    return any(byte < 0x20 and byte not in b"\t\n\r" for byte in head[:64])


def _lines(stream: BinaryIO, options: Options) -> Iterator[FileRecord]:
    header, offset = Header(()), 0
    for line in _bounded_lines(stream):
        text = line.strip()
        if not text:
            continue
        if text.startswith(b"#") and not options.is_kafka:
            header = header_after(header, line.decode("utf-8", "replace").rstrip("\r\n"))
            continue
        if not header.columns and (found := _CSV.fullmatch(text[:4096].decode("utf-8", "replace"))):
            header = Header(tuple(found.group().split(",")), ",")
            continue
        message = _message_of(text, offset) if options.is_kafka or _is_message(text) else None
        if message is not None:
            yield message
        else:
            is_table = header.columns and not text.startswith(b"{")
            yield FileRecord(line, offset, header=header if is_table else None)
        offset += 1


def _bounded_lines(stream: BinaryIO) -> Iterator[bytes]:
    """A line that is longer than a record may be comes cut, one byte longer than that."""
    while line := stream.readline(LARGEST_BYTES + 1):
        if len(line) > LARGEST_BYTES:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(_BLOCK_BYTES)
        yield line


def _is_message(line: bytes) -> bool:
    return line.startswith(b"{") and b'"offset"' in line and b'"partition"' in line


def _message_of(line: bytes, offset: int) -> FileRecord | None:
    """A Kafka message that stands in a line; None where the line is none."""
    try:
        found: Any = json_of(line.decode("utf-8", "replace"))
    except Unreadable:
        return None
    if not isinstance(found, dict) or not {"partition", "offset"} <= found.keys():
        return None
    names = [name for name in ("value", "value_b64", "payload") if name in found]
    if not names:
        return None
    value = found[names[0]]
    timestamp, partition = found.get("timestamp_ms", found.get("ts")), found["partition"]
    return FileRecord(
        _value_of(value, names[0] == "value_b64"),
        offset,
        timestamp if isinstance(timestamp, int) else 0,
        partition=partition if isinstance(partition, int) else 0,
    )


def _value_of(value: Any, is_base64: bool) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return json.dumps(value).encode()
    if is_base64:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return value.encode("utf-8", "surrogatepass")
    return value.encode("utf-8", "surrogatepass")


def _elements(stream: BinaryIO) -> Iterator[bytes]:
    """The elements of arrays; what cannot be told apart any more is the last one."""
    decoder, text, is_end = json.JSONDecoder(), "", False
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        text = text.lstrip(_BETWEEN)
        try:
            _, end = decoder.raw_decode(text)
        except (ValueError, RecursionError) as exc:
            if is_end or len(text) > LARGEST_BYTES or isinstance(exc, RecursionError):
                break
            block = stream.read(_BLOCK_BYTES)
            is_end, text = not block, text + characters.decode(block, not block)
            continue
        yield text[:end].encode("utf-8", "surrogatepass")
        text = text[end:]
    if text:
        yield text[: LARGEST_BYTES + 1].encode("utf-8", "surrogatepass")


def _messages(stream: io.BufferedReader) -> Iterator[bytes]:
    """Messages behind their lengths; a small file may be one message as it is."""
    whole = stream.peek(_SMALL_BYTES + 1)
    if len(whole) <= _SMALL_BYTES and _is_one(whole):
        yield whole
        return
    while True:
        length = _length(stream)
        if length is None:
            return
        message = stream.read(min(length, LARGEST_BYTES + 1))
        yield message
        if not 0 < len(message) == length:  # cut, or no lengths at all: nothing behind it can be found
            return


def _is_one(data: bytes) -> bool:
    try:
        goflow2.read_protobuf(data)
    except Unreadable:
        return False
    return True


def _length(stream: BinaryIO) -> int | None:
    length = 0
    for place in range(5):
        byte = stream.read(1)
        if not byte:
            return None if place == 0 else LARGEST_BYTES + 1
        length |= (byte[0] & 0x7F) << (7 * place)
        if byte[0] < 0x80:
            return length
    return LARGEST_BYTES + 1
