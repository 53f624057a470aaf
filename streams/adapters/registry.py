"""Writer schemas by the ids of a Confluent-compatible schema registry.

Needs the extra `registry` (pip install "autodeep-id[registry]"); nothing of it is imported before it is used.
"""

from __future__ import annotations

import importlib
import json
import logging
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from streams.codec.avro import schemas
from streams.codec.avro.datum import Unreadable
from streams.codec.avro.schemas import Schema
from streams.core.events import Reason
from streams.errors import DataError, RegistryUnavailable, SettingsError
from streams.settings import Settings

log = logging.getLogger(__name__)

UNKNOWN_FOR_S: Final = 30.0
"""An id that the registry does not have, or does not give, is asked for again after so long."""
WAITED_FOR_S: Final = 60.0
"""How long a refused id is waited for where no id of telemetry was ever given: a right may be missing."""
AT_ONCE: Final = 512
"""Questions to the registry that a worker may ask at once, for what comes of them."""
USELESS: Final = 16
"""So many count for one that comes to nothing: 32 made-up ids at once, then one a second. One that takes
longer than a quarter of a second counts for more: no more than a quarter of the time goes to such."""
PER_S: Final = 16.0

_ABOUT_LOG_IN: Final = "; check AUTODEEP_SCHEMA_REGISTRY_USERNAME and AUTODEEP_SCHEMA_REGISTRY_PASSWORD"

_NO_SUCH_ID: Final = (40403, 404)
"""By which a registry says so; a gateway that has no registry behind it answers 404, too."""

Fetch = Callable[[int], str | None]
"""Schema id to the schema's JSON text, None for an unknown id. Raises RegistryUnavailable."""


class Budget:
    """A token bucket that may be overdrawn by what was taken last."""

    def __init__(self, most: float, per_s: float, now_s: float) -> None:
        self._most = self._level = most
        self._per_s = per_s
        self._at_s = now_s

    def is_left(self, now_s: float) -> bool:
        self._level = min(self._most, self._level + self._per_s * (now_s - self._at_s))
        self._at_s = now_s
        return self._level > 0

    def take(self, count: float) -> None:
        self._level -= count


class CachedRegistry:
    """Asks `fetch` once an id: ids are immutable. Safe to use from several threads.

    Any sender can name any id, so what an id costs is bounded. One that comes to nothing is remembered apart
    from the good ones, and takes no place of theirs. An id that is refused while another one is given is at
    fault itself; where none is given the registry is away, and is waited for.
    """

    def __init__(
        self, fetch: Fetch, clock: Callable[[], float] = time.monotonic, max_entries: int = 1024
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._max_entries = max_entries
        self._found: OrderedDict[int, Schema] = OrderedDict()  # the one used longest ago first
        self._useless: dict[int, tuple[float, str]] = {}  # until when, and why where the registry has it
        self._own: int | None = None  # an id that was registered by ourselves
        self._refused_since_s: float | None = None
        self._budget = Budget(AT_ONCE, PER_S, clock())
        self._lock = threading.Lock()

    def schema(self, schema_id: int) -> Schema | None:
        """The record schema of an id, None where there is none.

        Raises Unreadable where the registry refuses this id or was not asked, RegistryUnavailable where it is
        away. One thread asks at a time.
        """
        with self._lock:
            schema = self._found.get(schema_id)
            if schema is not None:
                self._found.move_to_end(schema_id)
                return schema
            now_s = self._clock()
            until_s, why = self._useless.get(schema_id, (now_s, ""))
            if now_s >= until_s:
                schema, why = self._asked(schema_id, now_s)
            if why:
                raise Unreadable(Reason.UNKNOWN_SCHEMA, why)
            return schema

    def _asked(self, schema_id: int, now_s: float) -> tuple[Schema | None, str]:
        if not self._budget.is_left(now_s):
            return None, f"schema id {schema_id} was not asked for: too many ids came to nothing lately"
        schema, why = self._ask(schema_id)
        if schema is not None:
            self._budget.take(1)
            self._found[schema_id] = schema
            if len(self._found) > self._max_entries:
                self._found.popitem(last=False)
            return schema, ""
        end_s = self._clock()
        self._budget.take(USELESS * max(1.0, 4 * (end_s - now_s)))
        self._useless = {of: kept for of, kept in self._useless.items() if end_s < kept[0]}
        if why and not any(said for _, said in self._useless.values()):  # once, however many there are
            log.warning("%s; its records are dead letters", why)
        self._useless[schema_id] = (end_s + UNKNOWN_FOR_S, why)
        return None, why

    def _ask(self, schema_id: int) -> tuple[Schema | None, str]:
        """The schema, or none and why the registry does not give what it has."""
        try:
            text = self._fetch(schema_id)
        except RegistryUnavailable:
            if not self._gives_another():
                raise
            try:
                text = self._fetch(schema_id)  # it may have been in trouble for a moment
            except RegistryUnavailable as exc:
                cause = exc.__cause__ or exc
                says = f"{type(cause).__name__}: {_line(cause)}"
                return None, f"schema id {schema_id} cannot be had, though another can: {says}"
        if text is None:
            return None, ""
        try:
            return schemas.parse(text, origin=f"schema id {schema_id} of the registry"), ""
        except DataError as exc:
            log.warning("%s", exc)
            return None, ""

    def _gives_another(self) -> bool:
        """Whether the registry gives what it gave before. Raises RegistryUnavailable where it does not.

        Our own id alone, which stands for alerts, proves nothing of the rights to telemetry's: for a while.
        """
        known = next(reversed(self._found), self._own)
        if known is None:
            return False
        self._fetch(known)
        if self._found:
            return True
        now_s = self._clock()
        self._refused_since_s = now_s if self._refused_since_s is None else self._refused_since_s
        return now_s - self._refused_since_s >= WAITED_FOR_S


class ConfluentRegistry(CachedRegistry):
    """A registry at an http(s) URL, spoken to with confluent-kafka's client."""

    def __init__(self, url: str, timeout_s: float, client: _Client, own: Mapping[str, Any]) -> None:
        super().__init__(self._text)
        self._url = url
        self._client = client
        # The caller retries with back-off, and the cache is ours.
        self._connection = client.open({"url": url, "timeout": timeout_s, "max.retries": 0, **own})

    def register(self, subjects: Iterable[str], schema: Schema) -> int:
        """Register a schema under every subject; the id that its values carry. Raises RegistryUnavailable.

        The registry refuses, and so does this, what its compatibility rule forbids.
        """
        text = json.dumps(schema.source)
        with self._translated():
            ids = [self._connection.register_schema(name, self._client.schema(text)) for name in subjects]
        self._own = int(ids[-1])
        return self._own

    def _text(self, schema_id: int) -> str | None:
        with self._translated():
            self._connection.clear_caches()  # of the client's own: what it has says nothing of the registry
            try:
                found = self._connection.get_schema(schema_id)
            except self._client.refused as exc:
                if exc.http_status_code == 404 and exc.error_code in _NO_SUCH_ID:
                    return None
                raise
            if not isinstance(found.schema_str, str):
                raise TypeError("there is no schema in its answer")
            # An id of Protobuf or JSON Schema is none of ours.
            return found.schema_str if found.schema_type in (None, "AVRO") else None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever is raised inside: the client's own, its libraries', or what it makes of an odd answer."""
        try:
            yield
        except self._client.refused as exc:
            to_do = _ABOUT_LOG_IN if exc.http_status_code in (401, 403) else ""
            raise RegistryUnavailable(
                f"the schema registry at {self._url} refused: {_line(exc)}{to_do}"
            ) from exc
        except (self._client.unreachable, OSError) as exc:
            raise RegistryUnavailable(
                f"the schema registry at {self._url} does not answer: {_line(exc)}; "
                "set AUTODEEP_SCHEMA_REGISTRY_URL"
            ) from exc
        except Exception as exc:
            raise RegistryUnavailable(
                f"the schema registry at {self._url} answers as none does: {type(exc).__name__}: {_line(exc)}"
            ) from exc


def _line(exc: BaseException) -> str:
    return ascii(" ".join(str(exc).split()))[1:-1][:300] or type(exc).__name__


@dataclass(frozen=True, slots=True)
class _Client:
    """What we use of the extra, which is imported only where a registry is set."""

    open: Any
    schema: Any
    refused: Any
    unreachable: Any


def registry_of(settings: Settings) -> ConfluentRegistry:
    """The one that the settings name, with their log-in and authority. Raises as `confluent_registry`."""
    own: dict[str, Any] = {}
    if settings.schema_registry_username:
        password = settings.schema_registry_password
        own["basic.auth.user.info"] = f"{settings.schema_registry_username}:{password}"
    if settings.schema_registry_ca_file:
        own["ssl.ca.location"] = settings.schema_registry_ca_file
    return confluent_registry(settings.schema_registry_url, settings.network_timeout_s, own)


def _unheard() -> AbstractContextManager[object]:
    """What libraries warn each other's authors of, and show to whoever runs them."""
    return warnings.catch_warnings(record=True)


def confluent_registry(
    url: str, timeout_s: float = 10.0, own: Mapping[str, Any] | None = None
) -> ConfluentRegistry:
    """The registry at this URL, with further properties of the client.

    Raises SettingsError where it is none, a file cannot be used, or the extra is not installed.
    """
    try:
        with _unheard():
            httpx: Any = importlib.import_module("httpx")  # what the client talks with
            registry: Any = importlib.import_module("confluent_kafka.schema_registry")
    except ImportError as exc:
        raise SettingsError(
            'AUTODEEP_SCHEMA_REGISTRY_URL needs the extra: pip install "autodeep-id[registry]"'
        ) from exc
    client = _Client(
        registry.SchemaRegistryClient,
        lambda text: registry.Schema(text, schema_type="AVRO"),
        registry.SchemaRegistryError,
        httpx.HTTPError,
    )
    try:
        with _unheard():
            return ConfluentRegistry(url, timeout_s, client, own or {})
    except OSError as exc:  # SSLError is one too
        raise SettingsError(f"AUTODEEP_SCHEMA_REGISTRY_CA_FILE cannot be used as a PEM file: {exc}") from exc
    except (ValueError, TypeError) as exc:
        raise SettingsError(f"AUTODEEP_SCHEMA_REGISTRY_URL cannot be used: {exc}") from exc
