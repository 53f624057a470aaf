"""What bytes that are not as they should be look like: the usual serializers, by name; and what to set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from streams.codec.avro import framing

_PLAIN: Final = "; have producers send its UTF-8 bytes (StringSerializer)"
_TEXTS: Final[Mapping[str, Callable[[str], bytes]]] = {
    "JSON text": lambda text: json.dumps(text).encode(),
    "JSON text, unescaped": lambda text: json.dumps(text, ensure_ascii=False).encode(),
    "UTF-16": lambda text: text.encode("utf-16-be"),
    "UTF-16, little-endian": lambda text: text.encode("utf-16-le"),
    "hexadecimal digits": lambda text: text.encode().hex().encode(),
}
_BEGINNINGS: Final[Mapping[bytes, str]] = {
    b"{": "JSON",
    b"[": "JSON",
    b'"': "JSON",
    b"Obj\x01": "an Avro container file",
    b"\xac\xed": "Java's own serialization",
    b"\x1f\x8b": "gzip, compressed by the application",
    b"PAR1": "Parquet",
    b"<": "XML",
}


def key_form(key: bytes, device_id: str) -> str:
    """How a key holds the device id, as a detail goes on: "; it is …"; empty where that cannot be seen."""
    plain = device_id.encode()
    for name, written in _TEXTS.items():
        if key == written(device_id):
            return f"; it is the device_id as {name}{_PLAIN}"
    if key[:1] == b"{":
        return "; it looks like a JSON object" + _PLAIN
    place = key.find(plain)
    if place >= framing.CONFLUENT_SIZE and key[0] == framing.CONFLUENT_MAGIC:
        number = int.from_bytes(key[1 : framing.CONFLUENT_SIZE], "big")
        return f"; it is framed by a schema registry's serializer (schema id {number}){_PLAIN}"
    if place >= framing.SINGLE_OBJECT_SIZE and key.startswith(framing.SINGLE_OBJECT_MAGIC):
        return f"; it is framed as an Avro single object{_PLAIN}"
    if key == _avro_length(len(plain)) + plain:
        return f"; it is an Avro string, with its length before it{_PLAIN}"
    return ""


def value_form(header: bytes) -> str:
    """What a value that begins so seems to be, as a detail goes on; empty where that cannot be seen."""
    for beginning, name in _BEGINNINGS.items():
        if header.startswith(beginning):
            return f"; it looks like {name}"
    return ""


def _avro_length(count: int) -> bytes:
    """Avro's long: zigzag, seven bits a byte, the lowest first."""
    left, found = count << 1, bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)
