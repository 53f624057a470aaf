"""What is kept of a device, packed: one value of fixed size, 6,288 bytes.

| part | bytes | what |
| --- | --- | --- |
| head | 48 | layout, the topic's life, offset, times of first and latest flow, count |
| connections | 2,400 | 24 of each of the last 100: time 6, peer 4, key and facts 4, source port 2, bytes 4, |
| | | and how far back its peer, key, pair and failing pair were before 4 |
| regular | 1,664 | 26 of each of 64 keys: peer and port 4, time 6, intervals 7, sizes 7, failures, attempts |
| familiar | 512 | cells of the sketch of what the device did before |
| seen | 512 | 4 of each of the last 128 records |
| held | 1,152 | 12 waiting records of 96: halves and open flows |

Connections, keys and records stand oldest first, right-aligned: a place that holds nothing is 0 and stands
before all that do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

LAYOUT: Final = 1
"""Version of all that follows; a value of another layout is not read."""
LAST: Final = 100
"""Connections, the present one included, that a flow is compared with."""
KEYS: Final = 64
CELLS: Final = 512
SEEN: Final = 128
HELD: Final = 12

HEAD: Final = np.dtype(
    [
        ("layout", "<u2"),
        ("pad", "u1", (2,)),
        ("partition", "<i4"),
        ("topic_id", "u1", (16,)),
        ("offset", "<i8"),  # of the last record applied; the fence is the caller's
        ("latest_ms", "<i8"),  # the latest end of a flow; 0: none yet
        ("count", "<u4"),  # flows that counted, as many as there is room for
        ("first_s", "<u4"),  # when the first of them ended, in seconds since 1970
    ]
)
CONNECTIONS: Final = np.dtype(
    [
        ("time_low", "<u4", (LAST,)),  # milliseconds since 1970, the lower 32 bits
        ("peer", "<u4", (LAST,)),
        ("key", "<u4", (LAST,)),  # 20 bits of the key, above them 8 bits of facts; 0: no connection
        ("time_high", "<u2", (LAST,)),
        ("source_port", "<u2", (LAST,)),
        ("out", "<u2", (LAST,)),
        ("into", "<u2", (LAST,)),
        ("back", "u1", (4, LAST)),  # how far back the same peer, key, pair, failing pair is; 255: farther
    ]
)
REGULAR: Final = np.dtype(
    [
        ("key", "<u4"),  # of peer, role, protocol and port; 0: none
        ("last_low", "<u4"),  # milliseconds since 1970 of its latest flow, the lower 32 bits
        ("interval_squares", "<u4"),
        ("size_squares", "<u4"),
        ("last_high", "<u2"),
        ("interval_sum", "<u2"),
        ("size_sum", "<u2"),
        ("intervals", "u1"),
        ("sizes", "u1"),
        ("streak", "u1"),
        ("attempts", "u1"),
    ]
)
HELD_RECORD: Final = np.dtype(
    [
        ("peer", "<u8"),
        ("identity", "<u8"),
        ("start_us", "<i8"),
        ("end_us", "<i8"),
        ("packets_out", "<i8"),
        ("packets_in", "<i8"),
        ("ip_bytes_out", "<i8"),
        ("ip_bytes_in", "<i8"),
        ("payload_bytes_out", "<i8"),
        ("payload_bytes_in", "<i8"),
        ("service", "<u4"),
        ("device_port", "<u2"),
        ("peer_port", "<u2"),
        ("quality", "<u2"),
        ("tcp_flags", "<i2"),
        ("peer_kind", "u1"),
        ("ends", "u1"),  # role, and above it the direction
        ("protocol", "u1"),
        ("state", "u1"),  # with the kind of record above it: 1 a half, 2 an open flow; 0: no record
    ]
)
STATE: Final = np.dtype(
    [
        ("head", HEAD),
        ("connections", CONNECTIONS),
        ("regular", REGULAR, (KEYS,)),
        ("familiar", "u1", (CELLS,)),
        ("seen", "<u4", (SEEN,)),
        ("held", HELD_RECORD, (HELD,)),
    ]
)

States = npt.NDArray[np.void]  # (D,) of STATE


def blank(n: int) -> States:
    """`n` devices that have done nothing yet."""
    states = np.zeros(n, STATE)
    states["head"]["layout"] = LAYOUT
    states["head"]["offset"] = -1
    return states


def unpack(values: Sequence[bytes | None]) -> States:
    """Stored values as states (D,). None, or of another layout or size: a device that did nothing yet."""
    states = blank(len(values))
    for i, value in enumerate(values):
        if value is not None and len(value) == STATE.itemsize:
            stored = np.frombuffer(value, STATE)[0]
            if stored["head"]["layout"] == LAYOUT:
                states[i] = stored
    return states


def times_of(low: npt.NDArray[np.uint32], high: npt.NDArray[np.uint16]) -> npt.NDArray[np.int64]:
    """Milliseconds since 1970."""
    return low.astype(np.int64) | high.astype(np.int64) << 32


def bytes_of(states: States, part: str) -> npt.NDArray[np.uint8]:
    """(D, size) a part of the states as bytes, not copied: what is moved whole is moved fastest so."""
    assert STATE.fields is not None
    dtype, start = STATE.fields[part][:2]
    whole = states.view(np.uint8).reshape(len(states), STATE.itemsize)
    return whole[:, start : start + dtype.itemsize]
