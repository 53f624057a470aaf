"""Alerts in Avro's binary encoding, byte for byte what a general writer makes of schemas/Alert.avsc.

A general writer walks the schema for every alert, which costs more than the event's inference. Most of an
alert is the same in all that one model says of one partition: those pieces are written once, found again by
the values they hold, and joined with the few that differ. Nothing is assumed of what alerts have in common.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from streams.codec.avro.writing import long, sized
from streams.core.alerts import Alert, Driver, Explanation

_DOUBLE: Final = struct.Struct("<d")
_END: Final = b"\x00"
"""Ends the blocks of an array or a map; also the branch `null` of a union."""
_PRESENT: Final = b"\x02"
"""The other branch of a union with null."""
_KEPT: Final = 1024
"""Pieces kept of each kind: of more models, partitions and verdicts than a worker sees."""


def encode_alerts(alerts: Sequence[Alert], header: bytes) -> list[bytes]:
    """The values of the alerts' records: each the framing's header and its datum.

    Raises OverflowError for an integer beyond 64 bits, UnicodeEncodeError for text that UTF-8 does not have.
    """
    return [
        b"".join(
            (
                header,
                _size(len(alert_id)),
                alert_id,
                _size(len(device_id)),
                device_id,
                long(alert.event_time_us),
                _moment(alert.detected_at_us),
                _texts(alert.verdict, alert.closest),
                _scores(alert.scores, alert.novelty),
                _place(alert.window_fill, alert.window_width, alert.topic, alert.topic_id, alert.partition),
                long(alert.offset),
                _texts(alert.model_name, alert.model_version, alert.model_digest, alert.model_role),
                _END if alert.explanation is None else _explanation(alert.explanation),
                _END if alert.context is None else _context(alert.context),
                _END if alert.incident_id is None else _PRESENT + sized(alert.incident_id.encode()),
                _END if alert.profile_revision is None else _PRESENT + long(alert.profile_revision),
                _blocks([sized(text.encode()) for text in alert.reasons]) if alert.reasons else _END,
            )
        )
        for alert in alerts
        for alert_id, device_id in ((alert.alert_id.encode(), alert.device_id.encode()),)
    ]


_size = functools.lru_cache(maxsize=_KEPT)(long)
_moment = functools.lru_cache(maxsize=_KEPT)(long)


@functools.lru_cache(maxsize=_KEPT)
def _texts(*texts: str) -> bytes:
    return b"".join(sized(text.encode()) for text in texts)


@functools.lru_cache(maxsize=_KEPT)
def _place(fill: int, width: int, topic: str, topic_id: str, partition: int) -> bytes:
    return b"".join((long(fill), long(width), _texts(topic, topic_id), long(partition)))


def _scores(scores: Mapping[str, float], novelty: float) -> bytes:
    """The map of scores and the novelty behind it: the numbers are packed with gaps that the names fill."""
    pack, names, size = _score_layout(*scores)
    numbers = int.from_bytes(pack(*scores.values(), novelty), "little")
    return (numbers | names).to_bytes(size, "little")


@functools.lru_cache(maxsize=_KEPT)
def _score_layout(*classes: str) -> tuple[Callable[..., bytes], int, int]:
    """How numbers are packed with zero bytes for the names; those names as a number; the size in bytes."""
    texts = [sized(name.encode()) for name in classes]
    if texts:
        texts[0] = long(len(texts)) + texts[0]
    texts.append(_END)  # of the map; the novelty comes behind it
    layout = struct.Struct("<" + "".join(f"{len(text)}xd" for text in texts))
    names = b"".join(text + bytes(_DOUBLE.size) for text in texts)
    return layout.pack, int.from_bytes(names, "little"), layout.size


def _explanation(explanation: Explanation) -> bytes:
    events = [_DOUBLE.pack(share) for share in explanation.events]
    return b"".join((_PRESENT, _blocks([_driver(one) for one in explanation.features]), _blocks(events)))


def _driver(driver: Driver) -> bytes:
    share = _DOUBLE.pack(driver.share)
    return b"".join((_texts(driver.feature, driver.value), share, _texts(driver.usual, driver.normal)))


def _context(context: Mapping[str, str]) -> bytes:
    entries = [sized(name.encode()) + sized(text.encode()) for name, text in context.items()]
    return _PRESENT + _blocks(entries)


def _blocks(items: Sequence[bytes]) -> bytes:
    """An array or a map of these items, as one block."""
    return b"".join((long(len(items)), *items, _END)) if items else _END
