"""Sequence windows: the last W events of each device, in arrival order, as the BiGRU reads them.

A window is a header and a ring of W rows of a feature table; a `WindowLayout` says which table and how many,
and what else is kept of a device in the same value, where its rows are made of what came before.
`advance` is pure: windows and a chunk's events in, the windows after it out, together with the index by which
every event finds its own past. Raw features are kept, so a new model can read any window at once.

    device A, W = 4     ring  a3 a4 a1 a2      next = 2, count = 4     (oldest a1, newest a4)
    the chunk brings    a5, a6
    window of a5        a2 a3 a4 a5            window of a6   a3 a4 a5 a6
    ring afterwards     a3 a4 a5 a6            next = 0

Rules: an event at or before a window's last offset was applied already and is left out. A gap longer than
`idle_us`, in event time and in Kafka's timestamps (`core/clocks.py`), starts the window anew; so does another
life of the topic. Masked places hold nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.clocks import Latest, Mask, begins_anew, counted_time_us, latest_of
from streams.core.events import NO_TOPIC_ID, Events, Source
from streams.core.moving import copied
from streams.core.sparse import sparse, whole
from streams.core.tables import FeatureTable, Rows

WIDTH: Final = 16
"""W, where nothing else is said: how many events a window holds, the present one included."""

LAYOUT: Final = 1
"""Version of the header and of how a ring follows it; a window of another layout is not read."""

HEAD: Final = np.dtype(
    [
        ("layout", "u1"),
        ("beside", "u1"),  # version of what is kept beside the rows; 0: nothing is
        ("width", "<u2"),
        ("table", "u1", (4,)),  # first bytes of the feature table's digest
        ("topic_id", "u1", (16,)),
        ("partition", "<i4"),
        ("next", "<u2"),  # how many events it took, modulo `rounds_of` W; modulo W the ring place of the next
        ("count", "<u2"),  # rows that belong to the window, at most W
        ("offset", "<i8"),  # of the last event applied
        ("event_time_us", "<i8"),  # the latest that an event counted as since the window began
    ]
)
KAFKA_TIME: Final = np.dtype("<i8")
"""Behind the rows: the latest of Kafka's timestamps since the window began, microseconds."""
_WIDEST: Final = int(np.iinfo("<u2").max)


def rounds_of(width: int) -> int:
    """Events are counted by it: the most whole rounds of its ring that its header has room for."""
    return (_WIDEST + 1) // width * width


Windows = npt.NDArray[np.void]  # (D,) of a layout's `dtype`
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Beside:
    """What is kept of a device beside its rows; all zeros: it has done nothing yet."""

    dtype: np.dtype[np.void]
    version: int
    """1 to 255: what was stored by another is not read."""


@dataclass(frozen=True)
class WindowLayout:
    """Windows of `width` rows of this table. Raises ValueError for a width that is none."""

    table: FeatureTable
    width: int = WIDTH
    beside: Beside | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.width <= _WIDEST:
            raise ValueError(f"a window holds 1 to {_WIDEST} events, not {self.width}")

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """One device's packed window: what Redis holds is this, as `packed` has it.

        Of 16 rows of KDD'99's table, 48 + 16 * 156 + 8 = 2,552 bytes.
        """
        beside = [] if self.beside is None else [("beside", self.beside.dtype)]
        rows = ("rows", self.table.row, (self.width,))
        return np.dtype([("head", HEAD), rows, *beside, ("kafka_time_us", KAFKA_TIME)])

    def blank(self, n: int, source: Source) -> Windows:
        """`n` empty windows (n,) of devices of this partition: no rows, no offset applied yet."""
        windows = np.zeros(n, self.dtype)
        head = windows["head"]
        head["layout"] = LAYOUT
        head["beside"] = self._beside
        head["width"] = self.width
        head["table"] = self._stamp
        head["offset"] = -1
        self.belong(windows, source)
        return windows

    def belong(self, windows: Windows, source: Source) -> None:
        """These (D,) are of this partition."""
        head = windows["head"]
        head["topic_id"] = np.frombuffer(source.topic_id.bytes, np.uint8)
        head["partition"] = source.partition

    def unpack(self, values: Sequence[bytes | None], source: Source) -> Windows:
        """Stored values, None where there is none, as windows (D,).

        A value of another layout, width or feature table cannot be read by this code and counts as none. One
        that was stored before Kafka's timestamps were has its event time in their place.
        """
        windows = self.blank(len(values), source)
        self.unpack_into(windows, values)
        return windows

    def unpack_into(self, blank: Windows, values: Sequence[bytes | None]) -> None:
        """The same into blank windows (D,) of the values' partitions."""
        for i, value in enumerate(values):
            if value is None or len(value) < HEAD.itemsize:
                continue
            head = np.frombuffer(value[: HEAD.itemsize], HEAD)[0]
            mine = (head["layout"], head["beside"], head["width"]) == (LAYOUT, self._beside, self.width)
            stored = self._stored(value) if mine and (head["table"] == self._stamp).all() else None
            if stored is not None:
                blank[i] = np.frombuffer(stored, self.dtype)[0]

    def _stored(self, value: bytes) -> bytes | None:
        """All bytes of a window; None where there are more or fewer."""
        size, head = self.dtype.itemsize, HEAD.itemsize
        if self.beside is not None:
            rest = whole(value[head:], size - head)
            return None if rest is None else value[:head] + rest
        if len(value) == size - KAFKA_TIME.itemsize:
            return value + value[head - KAFKA_TIME.itemsize : head]
        return value if len(value) == size else None

    @property
    def _beside(self) -> int:
        return 0 if self.beside is None else self.beside.version

    @cached_property
    def _stamp(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.table.digest[: HEAD["table"].itemsize], np.uint8)


def packed(windows: Windows) -> list[bytes]:
    """What is stored of each (D,).

    Where something is kept beside the rows, what holds nothing is left out behind the header, and of W rows
    the oldest: the next event is looked at with the W - 1 before it.
    """
    size, head = windows.dtype.itemsize, HEAD.itemsize
    if "beside" not in (windows.dtype.names or ()):
        data = windows.tobytes()
        return [data[at : at + size] for at in range(0, len(data), size)]
    kept, width = copied(windows), width_of(windows)
    full = np.flatnonzero(kept["head"]["count"] == width)
    kept["rows"][full, kept["head"]["next"][full] % width] = np.zeros((), kept["rows"].dtype)
    values = kept.view(np.uint8).reshape(len(kept), size)
    heads = values[:, :head].tobytes()
    return [heads[at * head : (at + 1) * head] + rest for at, rest in enumerate(sparse(values[:, head:]))]


def width_of(windows: Windows) -> int:
    """W: how many rows each of these windows (D,) has room for."""
    return int(windows.dtype["rows"].shape[0])


def emptied(windows: Windows, which: npt.NDArray[np.bool_]) -> Windows:
    """The same, where those of the mask (D,) hold nothing any more; their offsets stand."""
    windows["head"]["count"][which] = 0
    if "beside" in (windows.dtype.names or ()):
        windows["beside"][which] = np.zeros((), windows.dtype["beside"])
    return windows


def of_this_topic(windows: Windows, source: Source, end_offset: int) -> npt.NDArray[np.bool_]:
    """Which windows (D,) were written by this life of this partition.

    Where the broker gives topics no id, an offset beyond the partition's end gives another life away.
    """
    head = windows["head"]
    topic_id = np.frombuffer(source.topic_id.bytes, np.uint8)
    same = (head["topic_id"] == topic_id).all(axis=1) & (head["partition"] == source.partition)
    if source.topic_id == NO_TOPIC_ID:
        same &= head["offset"] < end_offset
    return np.asarray(same)


def all_of_these_topics(windows: Windows, sources: Sequence[Source], bounds: Sequence[int]) -> bool:
    """Whether all windows (D,) certainly are of the present lives of their partitions.

    Those of `sources[i]` stand between `bounds[i]` and `bounds[i + 1]`. Of a topic without an id it is never
    certain.
    """
    topic_id = sources[0].topic_id
    if topic_id == NO_TOPIC_ID or any(source.topic_id != topic_id for source in sources):
        return False
    head = windows["head"]
    partition = np.repeat([source.partition for source in sources], np.diff(bounds))  # (D,)
    same = (head["topic_id"] == np.frombuffer(topic_id.bytes, np.uint8)).all() and (
        head["partition"] == partition
    ).all()
    return bool(same)


def numbered(device_ids: Sequence[str]) -> tuple[list[str], Index]:
    """The distinct devices (D), in order of appearance, and each event's place (N,) among them."""
    number: dict[str, int] = {}
    place = np.fromiter(
        (number.setdefault(device_id, len(number)) for device_id in device_ids), np.int64, len(device_ids)
    )
    return list(number), place


@dataclass(frozen=True, slots=True, eq=False)
class Advance:
    """A chunk's events beside the windows of its D devices.

    The tape is the D rings laid end to end, (D * W,), followed by the A applied events: `index` points into
    it. So whatever is computed once per row (a latent) serves every window in which the row stands.
    """

    applied: Index  # (A,) places in the chunk's events, ascending; the others had been applied before
    index: Index  # (A, W) places on the tape, oldest first, the event itself last
    valid: npt.NDArray[np.bool_]  # (A, W) False where the window holds no event
    windows: Windows  # (D,) after the chunk
    added: Index  # (D,) events applied, per device: their rows end at ring place head.next - 1
    ring_place: Index  # (A,) d * W + place that each event took; only a device's last W are still there
    stays: npt.NDArray[np.bool_]  # (A,) True for the events that are still in their ring afterwards
    number: Index  # (A,) which event of its device each is, modulo `rounds_of` W
    resets: int = 0
    """Events before which a window began anew, for a gap."""

    @property
    def fill(self) -> Index:
        """(A,) events that each window holds, 1 to W."""
        return np.asarray(self.valid.sum(axis=1))


def begun_anew(layout: WindowLayout, windows: Windows, source: Source, end_offset: int) -> Index:
    """Blank those (D,) of former lives of this partition; (D,) what a save of what grows from all stands on.

    That is the last offset of each, -1 of a blank one; -2 - offset of one of a former life, which the save
    replaces, and nothing else of another life.
    """
    offset = windows["head"]["offset"].astype(np.int64)
    foreign = ~of_this_topic(windows, source, end_offset)
    if foreign.any():
        windows[foreign] = layout.blank(int(foreign.sum()), source)
    return np.where(foreign, -2 - offset, offset)


def reaching(step: Advance, offset: Index) -> Advance:
    """The same of devices (D,) whose records were taken in through `offset`: some of these made no event."""
    head = step.windows["head"]
    head["offset"] = np.maximum(head["offset"], offset)
    return step


def grew(windows: Windows, added: Index, based_on: Index) -> npt.NDArray[np.bool_]:
    """Which windows (D,) took in a record, whether or not it made a row, since they ended at `based_on`."""
    return np.asarray((added > 0) | (windows["head"]["offset"] != based_on))


def part_of(step: Advance, owner: Index, chosen: Index) -> Advance:
    """The advance of some of the devices: as if the others had not been in the chunk.

    `owner` (A,) is the device of each applied event, `chosen` (E,) the devices, ascending.
    """
    devices, events, width = len(step.windows), len(step.applied), width_of(step.windows)
    kept = np.isin(owner, chosen)  # (A,)
    place = np.zeros(devices * width + events, np.int64)  # on the tape -> on the tape of the part
    rings = chosen[:, None] * width + np.arange(width)  # (E, W)
    place[rings.reshape(-1)] = np.arange(rings.size)
    place[devices * width + np.flatnonzero(kept)] = rings.size + np.arange(int(kept.sum()))
    return Advance(
        applied=step.applied[kept],
        index=place[step.index[kept]],
        valid=step.valid[kept],
        windows=copied(step.windows, chosen),
        added=step.added[chosen],
        ring_place=place[step.ring_place[kept]],
        stays=step.stays[kept],
        number=step.number[kept],
    )


def advance(windows: Windows, device: Index, events: Events, idle_us: int) -> Advance:
    """Apply a chunk's events (N) to the windows (D,) of its devices; `device` (N,) says whose each is.

    The events stand in arrival order, offsets ascending. The windows are of this life of the topic.
    """
    applied = np.flatnonzero(events.offset > windows["head"]["offset"][device])  # (A,)
    owner = device[applied]
    order = np.argsort(owner, kind="stable")  # (A,) by device, then arrival
    d = owner[order]
    place = np.arange(len(order))
    added = np.bincount(d, minlength=len(windows))  # (D,)
    first = (np.cumsum(added) - added)[d]  # (A,) where the device's events begin in this order
    clock, kafka = _clocks(windows, d, events, applied[order])
    has_past = (place > first) | (windows["head"]["count"][d] > 0)
    anew = has_past & begins_anew(clock.since, kafka.since, idle_us)
    start = _starts(windows, d, first, anew)

    head, width = windows["head"], width_of(windows)
    lag = np.arange(width - 1, -1, -1)  # (W,) oldest first
    at = place[:, None] - lag  # (A, W) in the device's order; below `first` lies the ring
    in_ring = at < first[:, None]
    ring = (head["next"].astype(np.int64)[d][:, None] + at - first[:, None]) % width
    tape_new = len(windows) * width + order[np.maximum(at, 0)]
    index = np.where(in_ring, d[:, None] * width + ring, tape_new)
    valid = at >= start[:, None]

    rank = place - first
    number = (head["next"].astype(np.int64)[d] + rank) % rounds_of(width)
    ring_place = d * width + number % width
    stays = rank >= added[d] - width
    after = _after(windows, events.offset[applied[order]], d, place + 1 - start, clock, kafka)
    flat = after["rows"].reshape(-1).copy()
    flat[ring_place[stays]] = events.rows[applied[order][stays]]
    after["rows"] = flat.reshape(-1, width)

    arrival = np.argsort(order)  # back from device order to arrival order
    return Advance(
        applied,
        index[arrival],
        valid[arrival],
        after,
        added,
        ring_place[arrival],
        stays[arrival],
        number[arrival],
        resets=int(anew.sum()),
    )


def _clocks(windows: Windows, d: Index, events: Events, places: Index) -> tuple[Latest, Latest]:
    """By event time, as it counts, and by Kafka's; `places` (A,) of the events, in device order."""
    kafka_us = events.kafka_us[places]
    counted_us = counted_time_us(events.event_time_us[places], kafka_us)
    held_us = windows["head"]["event_time_us"]
    return latest_of(held_us, d, counted_us), latest_of(windows["kafka_time_us"], d, kafka_us)


def _starts(windows: Windows, d: Index, first: Index, anew: Mask) -> Index:
    """(A,) where each event's window begins, in device order; below `first` it begins in the ring."""
    last_anew = np.maximum.accumulate(np.where(anew, np.arange(len(d)), -1))
    return np.where(last_anew >= first, last_anew, first - windows["head"]["count"].astype(np.int64)[d])


def _after(windows: Windows, offset: Index, d: Index, length: Index, clock: Latest, kafka: Latest) -> Windows:
    """The windows (D,) with their headers brought up to the last of the applied events, in device order."""
    after = copied(windows)
    if not len(d):
        return after
    last = np.flatnonzero(np.append(d[1:] != d[:-1], True))  # the last event of each device touched
    touched = d[last]
    added = np.diff(last, prepend=-1)
    head, width = after["head"], width_of(after)
    head["next"][touched] = (head["next"][touched].astype(np.int64) + added) % rounds_of(width)
    head["count"][touched] = np.minimum(length[last], width)
    head["offset"][touched] = offset[last]
    head["event_time_us"][touched] = clock.after[last]
    after["kafka_time_us"][touched] = kafka.after[last]
    return after


def in_order(windows: Windows) -> list[Rows]:
    """Each window's rows, oldest first: how a person, or a test, reads them."""
    width = width_of(windows)
    return [
        window["rows"][(int(window["head"]["next"]) - np.arange(int(window["head"]["count"]), 0, -1)) % width]
        for window in windows
    ]
