"""What bytes that are not as they should be look like: the usual serializers, by name; and what to set."""

from __future__ import annotations

import codecs
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Final

from streams.codec.avro import framing

_PLAIN: Final = "; have producers send its UTF-8 bytes (StringSerializer)"
_TEXTS: Final[Mapping[str, Callable[[str], bytes]]] = {
    "JSON text": lambda text: json.dumps(text).encode(),
    "JSON text, unescaped": lambda text: json.dumps(text, ensure_ascii=False).encode(),
    "UTF-16": lambda text: text.encode("utf-16-be"),
    "UTF-16, little-endian": lambda text: text.encode("utf-16-le"),
    "UTF-16 with a byte order mark": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "UTF-16, big-endian, with a byte order mark": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "UTF-8 with a byte order mark": lambda text: text.encode("utf-8-sig"),
    "Latin-1": lambda text: text.encode("latin-1", "replace"),
    "hexadecimal digits": lambda text: text.encode().hex().encode(),
    "base64": lambda text: b64encode(text.encode()),
    "base64 of URLs": lambda text: urlsafe_b64encode(text.encode()),
    "base64 without padding": lambda text: b64encode(text.encode()).rstrip(b"="),
    "text of Java's own serialization": lambda text: _java(text.encode()),
}
_AROUND: Final = b" \t\r\n\0\"'"
_BEGINNINGS: Final[Mapping[bytes, str]] = {
    b"{": "JSON",
    b"[": "JSON",
    b'"': "JSON",
    b"Obj\x01": "an Avro container file",
    b"\xac\xed": "Java's own serialization",
    b"\x1f\x8b": "gzip, compressed by the application",
    b"PAR1": "Parquet",
    b"<": "XML",
    codecs.BOM_UTF8: "text with a byte order mark",
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
    b"\x28\xb5\x2f\xfd": "zstd, compressed by the application",
    b"\x04\x22\x4d\x18": "lz4, compressed by the application",
    b"\x82SNA": "snappy, compressed by the application",
    b"\xff\x06\x00\x00": "snappy, compressed by the application",
    b64encode(framing.SINGLE_OBJECT_MAGIC)[:2]: "base64 of an Avro single object",
    b64encode(bytes(3)): "base64 of a registry's framing",
    b64encode(b'{"')[:2]: "base64 of JSON",
}


def key_form(key: bytes, device_id: str) -> str:
    """How a key holds the device id, as a detail goes on: "; it is …"; empty where that cannot be seen."""
    plain = device_id.encode()
    how = _as_text(key, device_id) or _framed(key, plain)
    if how:
        return f"; it {how}{_PLAIN}"
    return "; they differ in capitals alone" if key.lower() == plain.lower() else ""


def _as_text(key: bytes, device_id: str) -> str:
    for name, written in _TEXTS.items():
        if key == written(device_id):
            return f"is the device_id as {name}"
    if key.strip(_AROUND) == device_id.encode():
        return "is the device_id with blanks, quotes, a line end or a zero around it"
    return "looks like a JSON object" if key[:1] == b"{" else ""


def _framed(key: bytes, plain: bytes) -> str:
    place = key.find(plain)
    if place >= framing.CONFLUENT_SIZE and key[0] == framing.CONFLUENT_MAGIC:
        number = int.from_bytes(key[1 : framing.CONFLUENT_SIZE], "big")
        return f"is framed by a schema registry's serializer (schema id {number})"
    if place >= framing.SINGLE_OBJECT_SIZE and key.startswith(framing.SINGLE_OBJECT_MAGIC):
        return "is framed as an Avro single object"
    if key == _avro_length(len(plain)) + plain:
        return "is an Avro string, with its length before it"
    return ""


def value_form(header: bytes) -> str:
    """What a value that begins so seems to be, as a detail goes on; empty where that cannot be seen."""
    for beginning, name in _BEGINNINGS.items():
        if header.startswith(beginning) or header.lstrip().startswith(beginning):
            return f"; it looks like {name}"
    return ""


def _java(text: bytes) -> bytes:
    """As ObjectOutputStream writes a String of less than 64 KiB, its letters being usual ones."""
    return b"\xac\xed\x00\x05t" + (len(text) & 0xFFFF).to_bytes(2, "big") + text


def _avro_length(count: int) -> bytes:
    """Avro's long: zigzag, seven bits a byte, the lowest first."""
    left, found = count << 1, bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)
