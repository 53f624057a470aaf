"""The two framings of a value: a few bytes that name the writer's schema, then the Avro datum.

    Confluent       00 | 4-byte schema id, big-endian | datum        where a schema registry is configured
    single object   C3 01 | 8-byte CRC-64-AVRO fingerprint, little-endian | datum        where none is

The second is the Avro specification's "single-object encoding".
"""

from __future__ import annotations

from typing import Final

CONFLUENT_MAGIC: Final = 0x00
CONFLUENT_SIZE: Final = 5
SINGLE_OBJECT_MAGIC: Final = b"\xc3\x01"
SINGLE_OBJECT_SIZE: Final = 10


def confluent_header(schema_id: int) -> bytes:
    return bytes([CONFLUENT_MAGIC]) + schema_id.to_bytes(4, "big")


def single_object_header(fingerprint: bytes) -> bytes:
    """Raises ValueError unless the fingerprint has 8 bytes."""
    if len(fingerprint) != 8:
        raise ValueError(f"a CRC-64-AVRO fingerprint has 8 bytes, not {len(fingerprint)}")
    return SINGLE_OBJECT_MAGIC + fingerprint
