"""Windows in Redis: one packed value per device, read by MGET and written by a script, a call a partition.

links.py and cluster.py bring the calls to a server, a primary that sentinels name, or a cluster's nodes.

Keys carry a hash tag of topic and partition, `ids:w:{ids.telemetry-7}:<device>`, so that a partition's keys
share a slot of Redis Cluster. The calls of a turn's partitions go in one round trip. A value is one window of
the layout (`packed`). The script (script.py) compares before it writes:

    stored window is of this life and newer than ours     nothing is written, NEWER_STORED
    stored window is the one that ours grew from          header and new rows alone, by SETRANGE
    anything else (missing, lost, another life, older)    the whole value
    something is kept beside the rows                     the whole value: most of it has changed

The one that ours grew from is told by its offset and by its ring: a window that was rebuilt, or begun anew
after a loss, ends at the same offset, and its rows stand in other places.

The key of a partition's mark is that of its devices without `:<device>`, so no device can have it. Its value:
the first 28 bytes of the windows' headers, `since` and `through`.

A replica answers reads with what it has, which may be old, and a demoted server goes on to. So each read
comes with a write that changes nothing: a replica refuses it.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt
import redis

from streams.adapters.redis.address import parse_address
from streams.adapters.redis.cluster import Cluster
from streams.adapters.redis.evictions import Evictions, read_evictions
from streams.adapters.redis.incidents import How, incident_keys, look_at_head, pieces, read, through_of
from streams.adapters.redis.incidents import arguments as incident_arguments
from streams.adapters.redis.links import Call, Link, OneServer, Sentinels
from streams.adapters.redis.refusals import is_refusal, why
from streams.adapters.redis.script import SAVE, SAVE_SHA
from streams.adapters.redis.server import Words, raise_error
from streams.core.events import Source
from streams.core.windows import HEAD, KAFKA_TIME, Index, WindowLayout, packed, rounds_of
from streams.errors import AccessDenied, SettingsError, WindowStoreUnavailable
from streams.pipeline.ports import IncidentSave, Mark, Save

T = TypeVar("T")

_LOAD_AT_ONCE: Final = 2048
_STALE: Final = 2

_IDENTITY_BYTES: Final = 28
_OFFSETS: Final = struct.Struct("<qq")


class RedisWindows:
    """The window store of a worker. A context manager; for all threads."""

    def __init__(
        self,
        layout: WindowLayout,
        url: str,
        prefix: str,
        ttl_s: float,
        timeout_s: float,
        ca_file: str = "",
    ) -> None:
        self._link = connect(url, timeout_s, ca_file)
        self._layout = layout
        self._prefix = prefix
        self._ttl_ms = int(ttl_s * 1000)

    def of(self, layout: WindowLayout) -> RedisWindows:
        """The same store for windows of another layout. It is this one that is closed."""
        other = copy.copy(self)
        other._layout = layout
        return other

    @property
    def address(self) -> str:
        return self._link.said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.close()

    def ping(self) -> None:
        """Raises WindowStoreUnavailable when Redis does not answer, AccessDenied where one refuses the other.

        Every command that the path needs is tried, on a key of its own.
        """
        try:
            self._call(lambda: raise_error([pong for (pong,) in self._link.each([("PING",)])]))
            self._try_commands(f"{self._prefix}:w:{{ping}}:")
        except WindowStoreUnavailable as exc:
            if isinstance(exc.__cause__, redis.RedisError) and is_refusal(exc.__cause__):
                raise AccessDenied(str(exc)) from exc
            raise

    def _try_commands(self, key: str) -> None:
        blank = (b"", 1000, b"", b"", 0, 0, 0, 0, -1, 0, 0, -1, b"", b"", b"")
        states = f"{self._prefix}:i:{{ping}}"
        tried: Sequence[Words] = (
            ("MGET", key),
            ("EVALSHA", SAVE_SHA, 1, key, *blank),
            ("HSET", states, "", b"0"),
            ("HGET", states, ""),
            ("HMGET", states, ""),
            ("HSCAN", states, 0),
            ("HDEL", states, ""),
            ("UNLINK", states),
            ("SETRANGE", key, 0, b"0"),
            ("GETRANGE", key, 0, 0),
            ("PEXPIRE", key, 1),
        )
        self._exchange([Call(key, words) for words in tried])

    def claim(self, group: str) -> None:
        """These windows are this group's, as long as it looks after them; see `look`.

        Raises SettingsError where another group's claim stands.
        """
        key = self._claim_key
        owner = self.owner()
        if owner is None:
            self._exchange([Call(key, ("SET", key, group, "NX", "PX", self._ttl_ms))])
            owner = self.owner()
        if owner != group:
            other = owner or ""
            raise SettingsError(
                f"AUTODEEP_GROUP={group}: the windows of AUTODEEP_TOPIC_PREFIX={self._prefix} in Redis at "
                f"{self.address} belong to the group {other!r}, and what one group has applied the other "
                f"would pass over: give each group a Redis or a database of its own (AUTODEEP_REDIS_URL), "
                f"or, where {other!r} is no more, delete the key {key}"
            )
        self._exchange([Call(key, ("PEXPIRE", key, self._ttl_ms))])

    def owner(self) -> str | None:
        """The group that has claimed these windows."""
        (found,) = self._exchange([Call(self._claim_key, ("MGET", self._claim_key))])[0]
        return None if found is None else found.decode(errors="replace")

    @property
    def _claim_key(self) -> str:
        return f"{self._prefix}:w:group"

    def evictions(self) -> Evictions:
        """What the servers say of themselves. Not known is no error: a service may refuse to tell."""
        told = self._call(lambda: self._link.each([("INFO", "memory"), ("INFO", "stats")]))
        return read_evictions(told)

    def key(self, source: Source, device: str) -> str:
        return f"{self.mark_key(source)}:{device}"

    def mark_key(self, source: Source) -> str:
        return f"{self._prefix}:w:{{{source.topic}-{source.partition}}}"

    def load(self, wanted: Sequence[tuple[Source, Sequence[str]]]) -> list[list[bytes | None]]:
        reads: list[Call] = []
        counts = []
        for source, devices in wanted:
            mark, keys = self.mark_key(source), [self.key(source, device) for device in devices]
            parts = [keys[start : start + _LOAD_AT_ONCE] for start in range(0, len(keys), _LOAD_AT_ONCE)]
            reads += [Call(mark, ("MGET", *part)) for part in parts]
            counts.append(len(parts))
        answers = iter(self._read(reads))
        return [[value for _ in range(count) for value in next(answers)] for count in counts]

    def _read(self, reads: Sequence[Call]) -> list[Any]:
        """With a write that changes nothing: no key is a mark's with a question mark behind it.

        One suffices: all go to one server, or to a cluster, whose replicas read nothing to us.
        """
        if not reads:
            return []
        key = f"{reads[0].key}?"
        return self._exchange([Call(key, ("PEXPIRE", key, 1)), *reads])[1:]

    def save(self, saves: Sequence[Save]) -> list[npt.NDArray[np.uint8]]:
        answers = self._write(saves)
        again = []  # Redis lost them or went back in time: what we hold is the truth
        for number, answer in enumerate(answers):
            stale = np.flatnonzero(answer == _STALE)
            if len(stale):
                again.append((number, stale, self._whole(saves[number], stale)))
        for (number, stale, save), answer in zip(
            again, self._write([save for *_, save in again]), strict=True
        ):
            answers[number][stale] = answer[: len(stale)]
            if save.incidents is not None:  # they were not written before their windows could be
                answers[number] = np.append(answers[number], answer[-1])
        return answers

    def mark(self, source: Source) -> Mark | None:
        key = self.mark_key(source)
        ((value,),) = self._read([Call(key, ("MGET", key))])
        if value is None or len(value) != _IDENTITY_BYTES + _OFFSETS.size:
            return None
        if value[:_IDENTITY_BYTES] != self._identity(source):
            return None
        return Mark(*_OFFSETS.unpack(value[_IDENTITY_BYTES:]))

    def put_mark(self, source: Source, mark: Mark) -> None:
        value = self._identity(source) + _OFFSETS.pack(mark.since, mark.through)
        key = self.mark_key(source)
        self._exchange([Call(key, ("SET", key, value))])

    def incidents(self, source: Source) -> tuple[int, Iterator[tuple[str, bytes]]]:
        return read(incident_keys(self._prefix, source), source, self._read)

    def reached(self, sources: Sequence[Source]) -> list[int]:
        heads = self._read([look_at_head(incident_keys(self._prefix, source)) for source in sources])
        return [through_of(head, source) for head, source in zip(heads, sources, strict=True)]

    def reasons(self, wanted: Sequence[tuple[Source, str]]) -> list[bytes | None]:
        """Where a partition's keys stand together, they are asked for together."""
        reads: list[Call] = []
        for source, group in groupby(wanted, lambda one: one[0]):
            _, kept = incident_keys(self._prefix, source)
            keys = [key for _, key in group]
            parts = [keys[start : start + _LOAD_AT_ONCE] for start in range(0, len(keys), _LOAD_AT_ONCE)]
            reads += [Call(kept, ("HMGET", kept, *part)) for part in parts]
        return [value for answer in self._read(reads) for value in answer]

    def _write(self, saves: Sequence[Save]) -> list[npt.NDArray[np.uint8]]:
        """One script call each; of a window that grew from none, or by its width, all is sent."""
        calls: list[Call] = []
        last = []  # of each save the place of its call; pieces of incidents that are saved whole come before
        for save in saves:
            rest, following = save.incidents, save
            if rest is not None and rest.whole:
                calls += self._pieces(save, rest)
                following = replace(save, incidents=replace(rest, changed={}))
            last.append(len(calls))
            calls.append(self._save_call(following))
        answers = self._exchange(calls)
        return [np.array(answers[place], np.uint8) for place in last]

    def _pieces(self, save: Save, incidents: IncidentSave) -> list[Call]:
        none = self._whole(save, np.zeros(0, np.int64))
        return [
            self._save_call(replace(none, reach=None, incidents=piece), how)
            for piece, how in pieces(incidents)
        ]

    def _save_call(self, save: Save, how: How = How.ON) -> Call:
        return Call(self.mark_key(save.source), ("EVALSHA", SAVE_SHA, *self._arguments(save, how)))

    def _arguments(self, save: Save, how: How) -> list[Any]:
        """Count of keys, keys, and the rest, as the script has them."""
        source, reach = save.source, save.reach
        keys = [self.key(source, device) for device in save.devices]
        if reach is not None:
            keys.append(self.mark_key(source))
        if save.incidents is not None:
            keys += incident_keys(self._prefix, source)
        arguments: list[Any] = [len(keys), *keys, self._identity(source), self._ttl_ms]
        arguments += (
            [b"", b"", 0] if reach is None else [reach.follows, reach.last, int(reach.only_with_mark)]
        )
        arguments += (self._layout.dtype.itemsize - KAFKA_TIME.itemsize, 0 if save.incidents is None else 2)
        head = save.windows["head"]
        values = packed(save.windows)
        after, counts, offsets = head["next"].tolist(), head["count"].tolist(), head["offset"].tolist()
        based_on, width, rounds = save.based_on.tolist(), self._layout.width, rounds_of(self._layout.width)
        whole = self._layout.beside is not None
        for i, grown in enumerate(save.added.tolist()):
            n = width if whole or based_on[i] < 0 or grown >= width else grown
            grew_from = ((after[i] - n) % rounds, counts[i] - n)
            arguments += (offsets[i], based_on[i], *grew_from, *_parts(self._layout, values[i], after[i], n))
        if save.incidents is not None:
            arguments += incident_arguments(source, save.incidents, how)
        return arguments

    def _exchange(self, calls: Sequence[Call]) -> list[Any]:
        return self._call(lambda: self._link.exchange(calls)) if calls else []

    def _whole(self, save: Save, chosen: Index) -> Save:
        """Some of the windows, all of each."""
        devices, rows = [save.devices[i] for i in chosen.tolist()], np.full(len(chosen), self._layout.width)
        return replace(
            save, devices=devices, based_on=save.based_on[chosen], windows=save.windows[chosen], added=rows
        )

    def _identity(self, source: Source) -> bytes:
        """What the headers of this life's windows begin with."""
        return bytes(self._layout.blank(1, source).tobytes()[:_IDENTITY_BYTES])

    def _call(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except redis.RedisError as exc:
            raise WindowStoreUnavailable(
                f"Redis at {self.address} (AUTODEEP_REDIS_URL) does not serve: {why(exc)}"
            ) from exc


def connect(url: str, timeout_s: float, ca_file: str = "") -> Link:
    """Connects to nothing yet. Raises SettingsError for a URL that is none."""
    address = parse_address(url, timeout_s, ca_file)
    if address.kind == "cluster":
        return Cluster(address, SAVE)
    if address.kind == "sentinel":
        return Sentinels(address, SAVE)
    return OneServer(address.places[0], SAVE)


def _parts(layout: WindowLayout, value: bytes, after: int, added: int) -> tuple[int, bytes, bytes, bytes]:
    """What the script writes: (-1, whole value), or the first new row's byte, header, rows, Kafka's time.

    The new rows end at ring place `after` - 1; those that passed the ring's end went on at place 0, behind
    the header.
    """
    width = layout.width
    if added >= width:
        return -1, value, b"", b""
    head, row, tail = HEAD.itemsize, layout.table.row.itemsize, len(value) - KAFKA_TIME.itemsize
    first = (after - added) % width
    wrapped = max(first + added - width, 0)
    rows = value[head + first * row : head + (first + added - wrapped) * row]
    return head + first * row, value[: head + wrapped * row], rows, value[tail:]
