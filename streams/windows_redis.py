"""Windows in Redis: one packed value per device, read by MGET and written by one script call a chunk.

Keys carry a hash tag of topic and partition, `ids:w:{ids.telemetry-7}:<device>`, so that a chunk's keys share
a slot of Redis Cluster. A value is exactly `core.windows.WINDOW`. The script compares before it writes:

    stored window is of this life and newer than ours     nothing is written, NEWER_STORED
    stored window is the one that ours grew from          header and new rows alone, by SETRANGE
    anything else (missing, lost, another life, older)    the whole value
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, cast

import numpy as np
import numpy.typing as npt
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streams.core.events import Source
from streams.core.features import ROW
from streams.core.ports import Saved
from streams.core.windows import HEAD, WIDTH, Index, Windows
from streams.errors import AccessDenied, SettingsError, WindowStoreUnavailable

_LOAD_AT_ONCE: Final = 2048
_STALE: Final = 2
_REFUSED: Final = (redis.AuthenticationError, redis.exceptions.NoPermissionError)
_ABOUT_ACCESS: Final = "AUTODEEP_REDIS_URL (user and password), AUTODEEP_REDIS_CA_FILE and Redis's ACL"

# The header, 48 bytes: the first 28 say whose window it is (layout, table, topic id, partition); the offset
# stands at byte 32. Offsets below 2^53 are exact in Lua's numbers. ARGV: those 28 bytes, time to live in ms;
# then six per key: the new offset, the offset it grew from, and the four answers of `_parts`.
_SAVE: Final = """
local identity, ttl_ms, answers, arg = ARGV[1], ARGV[2], {}, 3
for i, key in ipairs(KEYS) do
  local ours, based_on = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  local head = redis.call('GETRANGE', key, 0, 39)
  local stored = nil
  if #head == 40 and string.sub(head, 1, 28) == identity then
    stored = struct.unpack('<i8', string.sub(head, 33, 40))
  end
  local answer = 0
  if stored and stored > ours and stored ~= based_on then
    answer = 1
  elseif tonumber(ARGV[arg + 2]) < 0 then
    redis.call('SET', key, ARGV[arg + 3], 'PX', ttl_ms)
  elseif stored and (stored == based_on or stored == ours) then
    redis.call('SETRANGE', key, 0, ARGV[arg + 3])
    redis.call('SETRANGE', key, tonumber(ARGV[arg + 2]), ARGV[arg + 4])
    if ARGV[arg + 5] ~= '' then redis.call('SETRANGE', key, 48, ARGV[arg + 5]) end
    redis.call('PEXPIRE', key, ttl_ms)
  else
    answer = 2
  end
  answers[i] = answer
  arg = arg + 6
end
return answers
"""


class RedisWindows:
    """The window store of a worker. A context manager; safe to call from one thread at a time."""

    def __init__(self, url: str, prefix: str, ttl_s: float, timeout_s: float, ca_file: str = "") -> None:
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
        self._call(self._save, keys=[key], args=[b"", 1000, 0, -1, -1, b"", b"", b""])
        self._call(self._redis.setrange, key, 0, b"0")
        self._call(self._redis.getrange, key, 0, 0)
        self._call(self._redis.pexpire, key, 1)

    def key(self, source: Source, device: str) -> str:
        return f"{self._prefix}:w:{{{source.topic}-{source.partition}}}:{device}"

    def load(self, source: Source, devices: Sequence[str]) -> list[bytes | None]:
        keys = [self.key(source, device) for device in devices]
        values: list[bytes | None] = []
        for start in range(0, len(keys), _LOAD_AT_ONCE):
            values += cast(Any, self._call(self._redis.mget, keys[start : start + _LOAD_AT_ONCE]))
        return values

    def save(
        self, source: Source, devices: Sequence[str], based_on: Index, windows: Windows, added: Index
    ) -> npt.NDArray[np.uint8]:
        keys = [self.key(source, device) for device in devices]
        whole = (based_on < 0) | (added >= WIDTH)
        answers = self._write(keys, based_on, windows, np.where(whole, WIDTH, added))
        stale = np.flatnonzero(answers == _STALE)
        if len(stale):  # Redis lost them or went back in time: what we hold is the truth
            answers[stale] = self._write(
                [keys[i] for i in stale.tolist()],
                based_on[stale],
                windows[stale],
                np.full(len(stale), WIDTH),
            )
        return np.where(answers == Saved.NEWER_STORED, Saved.NEWER_STORED, Saved.DONE).astype(np.uint8)

    def _write(
        self, keys: list[str], based_on: Index, windows: Windows, added: Index
    ) -> npt.NDArray[np.uint8]:
        """One script call; `added` (D,) rows of each window are sent, all of it where that is W."""
        arguments: list[Any] = [windows[0].tobytes()[:28], self._ttl_ms]
        packed = windows.tobytes()
        size = windows.dtype.itemsize
        after = windows["head"]["next"].tolist()
        offsets = windows["head"]["offset"].tolist()
        for i, n in enumerate(added.tolist()):
            value = packed[i * size : (i + 1) * size]
            arguments += (offsets[i], int(based_on[i]), *_parts(value, after[i], n))
        return np.array(self._call(self._save, keys=keys, args=arguments), np.uint8)

    def _call(self, command: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except redis.RedisError as exc:
            raise WindowStoreUnavailable(
                f"Redis at {self.address} (AUTODEEP_REDIS_URL) does not serve: {type(exc).__name__}: {exc}"
            ) from exc


def _parts(value: bytes, after: int, added: int) -> tuple[int, bytes, bytes, bytes]:
    """What the script writes: (-1, whole value), or the first new row's byte, header, rows, wrapped rows.

    The new rows end at ring place `after` - 1; those that passed the ring's end went on at place 0.
    """
    if added >= WIDTH:
        return -1, value, b"", b""
    head, row = HEAD.itemsize, ROW.itemsize
    first = (after - added) % WIDTH
    if first + added <= WIDTH:
        return head + first * row, value[:head], value[head + first * row : head + (first + added) * row], b""
    return head + first * row, value[:head], value[head + first * row :], value[head : head + after * row]
