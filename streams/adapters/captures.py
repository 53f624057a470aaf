"""Captures in files: pcap (libpcap's format 2.4) and pcapng (draft-ietf-opsawg-pcapng), plain or in gzip."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from streams.codec.ingest.packets import LINKS
from streams.errors import DataError

_GZIP: Final = b"\x1f\x8b"
_PCAP: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1000),
}
"""Byte order, and parts of a microsecond, by the file's first bytes."""
_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_RESOLUTION: Final = 9
_OFFSET: Final = 14
"""Options of an interface: the unit of its times, and seconds to add to them."""
_LARGEST_BYTES: Final = 16 << 20
"""Of a record or block: what says it is longer is damaged."""


class Frame(NamedTuple):
    time_us: int
    link: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int
    units_per_s: int
    offset_s: int


def is_capture(path: Path) -> bool:
    """By its first bytes. Raises OSError."""
    with _opened(path) as file:
        return is_capture_by(file.read(4))


def is_capture_by(start: bytes) -> bool:
    """By the first four bytes of what is in the file, unpacked."""
    return start in _PCAP or start == _PCAPNG


def frames(path: Path) -> Iterator[Frame]:
    """In the file's order. Raises DataError where it is no capture, is damaged, or ends within a frame.

    What stood before the damage has been given by then.
    """
    try:
        with _opened(path) as file:
            yield from frames_in(file, path)
    except (OSError, EOFError, zlib.error) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise DataError(f"{path}: cannot be read: {why}") from exc


def frames_in(file: BinaryIO, path: Path) -> Iterator[Frame]:
    """Of a file that is open, from its beginning. Raises DataError as `frames`, and what reading raises."""
    start = file.read(4)
    if start in _PCAP:
        yield from _of_pcap(file, path, *_PCAP[start])
    elif start == _PCAPNG:
        yield from _of_pcapng(file, path)
    else:
        raise DataError(f"{path}: neither pcap nor pcapng; it begins with {start.hex(' ') or 'nothing'}")


def _of_pcap(file: BinaryIO, path: Path, order: str, per_us: int) -> Iterator[Frame]:
    header = _exactly(file, 20, path)
    link = _known(struct.unpack(f"{order}I", header[16:])[0] & 0x0FFFFFFF, path)
    record = struct.Struct(f"{order}IIII")
    while head := file.read(record.size):
        if len(head) < record.size:
            raise _damaged(path, "it ends within a record's header")
        seconds, parts, size, _ = record.unpack(head)
        yield Frame(seconds * 1_000_000 + parts // per_us, link, _exactly(file, _sane(size, path), path))


def _of_pcapng(file: BinaryIO, path: Path) -> Iterator[Frame]:
    """The file's first four bytes, the type of a section's block, have been read."""
    order, interfaces = "<", list[_Interface]()
    kind_bytes = _PCAPNG
    while kind_bytes:
        if len(kind_bytes) < 4:
            raise _damaged(path, "it ends within a block's type")
        size_bytes = _exactly(file, 4, path)
        if kind_bytes == _PCAPNG:  # a section: its bytes' order comes behind its size
            magic = _exactly(file, 4, path)
            order, interfaces = ("<" if magic == b"\x4d\x3c\x2b\x1a" else ">"), []
            left = magic
        else:
            left = b""
        (kind,) = struct.unpack(f"{order}I", kind_bytes)
        (size,) = struct.unpack(f"{order}I", size_bytes)
        body = left + _exactly(file, _sane(size - 12 - len(left), path), path)
        _exactly(file, 4, path)  # the size again
        if kind == _INTERFACE:
            interfaces.append(_interface(body, order, path))
        elif kind in {_ENHANCED, _SIMPLE}:
            frame = _packet(body, order, kind, interfaces)
            if frame is None:
                raise _damaged(path, "a packet that is longer than its block, or of no interface")
            yield frame
        kind_bytes = file.read(4)


def _interface(body: bytes, order: str, path: Path) -> _Interface:
    if len(body) < 8:
        raise _damaged(path, "an interface's block is too short")
    (link,) = struct.unpack(f"{order}H", body[:2])
    units_per_s, offset_s, at = 1_000_000, 0, 8
    while at + 4 <= len(body):
        code, size = struct.unpack(f"{order}HH", body[at : at + 4])
        value = body[at + 4 : at + 4 + size]
        if code == _RESOLUTION and size == 1:
            power = value[0] & 0x7F
            units_per_s = (2 if value[0] & 0x80 else 10) ** min(power, 60)
        elif code == _OFFSET and size == 8:
            (offset_s,) = struct.unpack(f"{order}q", value)
        elif code == 0:
            break
        at += 4 + (size + 3) // 4 * 4
    return _Interface(_known(link, path), units_per_s, offset_s)


def _packet(body: bytes, order: str, kind: int, interfaces: list[_Interface]) -> Frame | None:
    if kind == _SIMPLE:
        return Frame(0, interfaces[0].link, body[4:]) if interfaces and len(body) >= 4 else None
    if len(body) < 20:
        return None
    number, high, low, size, _ = struct.unpack(f"{order}IIIII", body[:20])
    if number >= len(interfaces) or size > len(body) - 20:
        return None
    interface = interfaces[number]
    time_us = ((high << 32) + low) * 1_000_000 // interface.units_per_s + interface.offset_s * 1_000_000
    return Frame(time_us, interface.link, body[20 : 20 + size])


def _exactly(file: BinaryIO, size: int, path: Path) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _damaged(path, f"it ends {size - len(data)} bytes early")
    return data


def _sane(size: int, path: Path) -> int:
    if not 0 <= size <= _LARGEST_BYTES:
        raise _damaged(path, f"a record of {size} bytes")
    return size


def _known(link: int, path: Path) -> int:
    if link not in LINKS:
        raise DataError(f"{path}: link type {link} is not read; Ethernet, raw IP and Linux cooked are")
    return link


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: damaged: {what}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as plain:
        is_gzip = plain.read(2) == _GZIP
        plain.seek(0)
        if is_gzip:
            with gzip.open(plain) as packed:
                yield cast(BinaryIO, packed)
        else:
            yield plain
