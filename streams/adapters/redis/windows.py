"""Windows in Redis: one packed value per device, read by MGET and written by a script, a call a partition.

Keys carry a hash tag of topic and partition, `ids:w:{ids.telemetry-7}:<device>`, so that a partition's keys
share a slot of Redis Cluster. The calls of a turn's partitions go in one round trip. A value is exactly
one window of the layout. The script compares before it writes:

    stored window is of this life and newer than ours     nothing is written, NEWER_STORED
    stored window is the one that ours grew from          header and new rows alone, by SETRANGE
    anything else (missing, lost, another life, older)    the whole value

The one that ours grew from is told by its offset and by its ring: a window that was rebuilt, or begun anew
after a loss, ends at the same offset, and its rows stand in other places.

The key of a partition's mark is that of its devices without `:<device>`, so no device can have it. Its value:
the first 28 bytes of the windows' headers, `since` and `through`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, cast

import numpy as np
import numpy.typing as npt
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from streams.core.events import Source
from streams.core.windows import HEAD, KAFKA_TIME, Index, WindowLayout
from streams.errors import AccessDenied, SettingsError, WindowStoreUnavailable
from streams.pipeline.ports import Mark, Save

_LOAD_AT_ONCE: Final = 2048
_STALE: Final = 2
_REFUSED: Final = (redis.AuthenticationError, redis.exceptions.NoPermissionError)
_ABOUT_ACCESS: Final = "AUTODEEP_REDIS_URL (user and password), AUTODEEP_REDIS_CA_FILE and Redis's ACL"

_IDENTITY_BYTES: Final = 28
_OFFSETS: Final = struct.Struct("<qq")

# The header, 48 bytes: the first 28 say whose window it is (layout, table, topic id, partition); then come
# the ring place of the next row and the count of rows, 2 bytes each, and the offset. Offsets below 2^53 are
# exact in Lua's numbers. ARGV: those 28 bytes; time to live in ms; for the mark, whose key is then the last,
# the offset that it must have reached and the one it goes on to, or two empty strings; whether nothing is to
# be written unless it has; the first byte of Kafka's time, the last 8, which formerly stored windows lack.
# Then eight per window: the new offset; of the window it grew from the offset, the `next` and the least
# count; four by `_parts`.
_SAVE: Final = """
local identity, ttl_ms, answers, arg, windows, stale = ARGV[1], ARGV[2], {}, 7, #KEYS, false
local tail = tonumber(ARGV[6])
local through = nil
if ARGV[4] ~= '' then
  windows = windows - 1
  local mark = redis.call('GETRANGE', KEYS[#KEYS], 0, 43)
  if #mark == 44 and string.sub(mark, 1, 28) == identity then
    through = struct.unpack('<i8', string.sub(mark, 37, 44))
    if through < tonumber(ARGV[3]) then through = nil end
  end
  if not through and ARGV[5] == '1' then
    for i = 1, windows do answers[i] = 3 end
    return answers
  end
end
for i = 1, windows do
  local key, ours, based_on = KEYS[i], tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  local head = redis.call('GETRANGE', key, 0, 39)
  local stored, grown = nil, false
  if #head == 40 and string.sub(head, 1, 28) == identity then
    stored = struct.unpack('<i8', string.sub(head, 33, 40))
    local place, count = struct.unpack('<I2I2', string.sub(head, 29, 32))
    grown = stored == based_on and place == tonumber(ARGV[arg + 2]) and count >= tonumber(ARGV[arg + 3])
  end
  local answer = 0
  if stored and stored > ours and stored ~= based_on then
    answer = 1
  elseif tonumber(ARGV[arg + 4]) < 0 then
    redis.call('SET', key, ARGV[arg + 5], 'PX', ttl_ms)
  elseif grown or string.sub(ARGV[arg + 5], 1, 40) == head then
    redis.call('SETRANGE', key, 0, ARGV[arg + 5])
    redis.call('SETRANGE', key, tonumber(ARGV[arg + 4]), ARGV[arg + 6])
    redis.call('SETRANGE', key, tail, ARGV[arg + 7])
    redis.call('PEXPIRE', key, ttl_ms)
  else
    answer, stale = 2, true
  end
  answers[i] = answer
  arg = arg + 8
end
if through and not stale and through < tonumber(ARGV[4]) then
  redis.call('SETRANGE', KEYS[#KEYS], 36, struct.pack('<i8', tonumber(ARGV[4])))
end
return answers
"""


class RedisWindows:
    """The window store of a worker. A context manager; safe to call from one thread at a time."""

    def __init__(
        self,
        layout: WindowLayout,
        url: str,
        prefix: str,
        ttl_s: float,
        timeout_s: float,
        ca_file: str = "",
    ) -> None:
        secured = {"ssl_ca_certs": ca_file} if ca_file and url.startswith("rediss:") else {}
        try:
            self._redis = redis.Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),  # the pipeline's patience retries, and says so
                health_check_interval=30,
                **secured,
            )
        except ValueError as exc:
            raise SettingsError(
                "AUTODEEP_REDIS_URL: expected redis://[user:password@]host:port/db or rediss://…"
            ) from exc
        place = self._redis.connection_pool.connection_kwargs
        self.address = f"{place.get('host', place.get('path', '?'))}:{place.get('port', '')}".rstrip(":")
        self._save = self._redis.register_script(_SAVE)
        self._layout = layout
        self._prefix = prefix
        self._ttl_ms = int(ttl_s * 1000)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redis.close()

    def ping(self) -> None:
        """Raises WindowStoreUnavailable when Redis does not answer, AccessDenied where one refuses the other.

        Every command that the path needs is tried, on a key of its own.
        """
        try:
            self._call(self._redis.ping)
            self._try_commands(f"{self._prefix}:w:{{ping}}:")
        except WindowStoreUnavailable as exc:
            problem = exc.__cause__
            if isinstance(problem, _REFUSED) or "certificate verify failed" in str(problem):
                raise AccessDenied(f"{exc}; check {_ABOUT_ACCESS}") from exc
            raise

    def _try_commands(self, key: str) -> None:
        self._call(self._redis.mget, [key])
        self._call(self._save, keys=[key], args=[b"", 1000, b"", b"", 0, 0, 0, -1, 0, 0, -1, b"", b"", b""])
        self._call(self._redis.setrange, key, 0, b"0")
        self._call(self._redis.getrange, key, 0, 0)
        self._call(self._redis.pexpire, key, 1)

    def key(self, source: Source, device: str) -> str:
        return f"{self.mark_key(source)}:{device}"

    def mark_key(self, source: Source) -> str:
        return f"{self._prefix}:w:{{{source.topic}-{source.partition}}}"

    def load(self, wanted: Sequence[tuple[Source, Sequence[str]]]) -> list[list[bytes | None]]:
        calls, counts = [], []
        for source, devices in wanted:
            keys = [self.key(source, device) for device in devices]
            parts = [keys[start : start + _LOAD_AT_ONCE] for start in range(0, len(keys), _LOAD_AT_ONCE)]
            calls += [("MGET", *part) for part in parts]
            counts.append(len(parts))
        answers = iter(self._round_trip(calls))
        return [[value for _ in range(count) for value in next(answers)] for count in counts]

    def save(self, saves: Sequence[Save]) -> list[npt.NDArray[np.uint8]]:
        width = self._layout.width
        added = [
            np.where((save.based_on < 0) | (save.added >= width), width, save.added)  # width: all of it
            for save in saves
        ]
        answers = self._write([replace(save, added=rows) for save, rows in zip(saves, added, strict=True)])
        again = []  # Redis lost them or went back in time: what we hold is the truth
        for number, answer in enumerate(answers):
            stale = np.flatnonzero(answer == _STALE)
            if len(stale):
                again.append((number, stale, self._whole(saves[number], stale)))
        for (number, stale, _), answer in zip(again, self._write([save for *_, save in again]), strict=True):
            answers[number][stale] = answer
        return answers

    def mark(self, source: Source) -> Mark | None:
        (value,) = cast(Any, self._call(self._redis.mget, [self.mark_key(source)]))
        if value is None or len(value) != _IDENTITY_BYTES + _OFFSETS.size:
            return None
        if value[:_IDENTITY_BYTES] != self._identity(source):
            return None
        return Mark(*_OFFSETS.unpack(value[_IDENTITY_BYTES:]))

    def put_mark(self, source: Source, mark: Mark) -> None:
        value = self._identity(source) + _OFFSETS.pack(mark.since, mark.through)
        self._call(self._redis.set, self.mark_key(source), value)

    def _write(self, saves: Sequence[Save]) -> list[npt.NDArray[np.uint8]]:
        """One script call each; `added` (D,) rows of each window are sent, all of it where that is W."""
        calls = [("EVALSHA", self._save.sha, *self._arguments(save)) for save in saves]
        try:
            answers = self._round_trip(calls)
        except WindowStoreUnavailable as exc:
            if not isinstance(exc.__cause__, NoScriptError):
                raise
            self._call(self._redis.script_load, _SAVE)  # Redis was restarted: some calls may have passed
            answers = self._round_trip(calls)
        return [np.array(answer, np.uint8) for answer in answers]

    def _arguments(self, save: Save) -> list[Any]:
        """Count of keys, keys, and the rest, as the script has them."""
        source, reach = save.source, save.reach
        keys = [self.key(source, device) for device in save.devices]
        if reach is not None:
            keys.append(self.mark_key(source))
        arguments: list[Any] = [len(keys), *keys, self._identity(source), self._ttl_ms]
        arguments += (
            [b"", b"", 0] if reach is None else [reach.follows, reach.last, int(reach.only_with_mark)]
        )
        arguments.append(self._layout.dtype.itemsize - KAFKA_TIME.itemsize)
        head = save.windows["head"]
        packed, size = save.windows.tobytes(), save.windows.dtype.itemsize
        after, counts, offsets = head["next"].tolist(), head["count"].tolist(), head["offset"].tolist()
        based_on = save.based_on.tolist()
        for i, n in enumerate(save.added.tolist()):
            value = packed[i * size : (i + 1) * size]
            grew_from = ((after[i] - n) % self._layout.width, counts[i] - n)
            arguments += (offsets[i], based_on[i], *grew_from, *_parts(self._layout, value, after[i], n))
        return arguments

    def _round_trip(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers to several commands, sent together. The first that is an error is raised.

        On a bare connection: the library's pipeline costs more than the commands do.
        """
        return cast("list[Any]", self._call(self._exchange, calls)) if calls else []

    def _exchange(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        pool = self._redis.connection_pool
        connection: Any = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(calls))
            answers = [_answer(connection) for _ in calls]
        except BaseException:
            connection.disconnect()  # answers that nobody read would be taken for those of the next commands
            raise
        finally:
            pool.release(connection)
        for answer in answers:
            if isinstance(answer, redis.ResponseError):
                raise answer
        return answers

    def _whole(self, save: Save, chosen: Index) -> Save:
        """Some of the windows, all of each."""
        devices, rows = [save.devices[i] for i in chosen.tolist()], np.full(len(chosen), self._layout.width)
        return Save(save.source, devices, save.based_on[chosen], save.windows[chosen], rows, save.reach)

    def _identity(self, source: Source) -> bytes:
        """What the headers of this life's windows begin with."""
        return bytes(self._layout.blank(1, source).tobytes()[:_IDENTITY_BYTES])

    def _call(self, command: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except redis.RedisError as exc:
            raise WindowStoreUnavailable(
                f"Redis at {self.address} (AUTODEEP_REDIS_URL) does not serve: {type(exc).__name__}: {exc}"
            ) from exc


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as exc:
        return exc


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
