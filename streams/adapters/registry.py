"""Writer schemas by the ids of a Confluent-compatible schema registry.

Needs the extra `registry` (pip install "autodeep-id[registry]"); nothing of it is imported before it is used.
"""

from __future__ import annotations

import importlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from streams.codec.avro import schemas
from streams.codec.avro.schemas import Schema
from streams.errors import DataError, RegistryUnavailable, SettingsError
from streams.settings import Settings

log = logging.getLogger(__name__)

UNKNOWN_FOR_S: Final = 30.0
"""An id that the registry does not have is asked for again after so long: it may have been registered."""

_ABOUT_LOG_IN: Final = "; check AUTODEEP_SCHEMA_REGISTRY_USERNAME and AUTODEEP_SCHEMA_REGISTRY_PASSWORD"

Fetch = Callable[[int], str | None]
"""Schema id to the schema's JSON text, None for an unknown id. Raises RegistryUnavailable."""


@dataclass(frozen=True, slots=True)
class _Entry:
    schema: Schema | None
    until_s: float


class CachedRegistry:
    """Asks `fetch` once an id: ids are immutable. Safe to use from several threads."""

    def __init__(
        self, fetch: Fetch, clock: Callable[[], float] = time.monotonic, max_entries: int = 1024
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._max_entries = max_entries
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def schema(self, schema_id: int) -> Schema | None:
        """The record schema of an id, None where there is none. Raises RegistryUnavailable."""
        with self._lock:
            entry = self._entries.get(schema_id)
            if entry is not None and self._clock() < entry.until_s:
                self._entries.move_to_end(schema_id)
                return entry.schema
        schema = self._ask(schema_id)
        until_s = self._clock() + UNKNOWN_FOR_S if schema is None else float("inf")
        with self._lock:
            self._entries[schema_id] = _Entry(schema, until_s)
            self._entries.move_to_end(schema_id)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
        return schema

    def _ask(self, schema_id: int) -> Schema | None:
        text = self._fetch(schema_id)
        if text is None:
            return None
        try:
            return schemas.parse(text, origin=f"schema id {schema_id} of the registry")
        except DataError as exc:
            log.warning("%s", exc)
            return None


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
        return int(ids[-1])

    def _text(self, schema_id: int) -> str | None:
        with self._translated():
            try:
                found = self._connection.get_schema(schema_id)
            except self._client.refused as exc:
                if exc.http_status_code == 404:
                    return None
                raise
        # An id of Protobuf or JSON Schema is none of ours.
        return found.schema_str if found.schema_type in (None, "AVRO") else None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._client.refused as exc:
            to_do = _ABOUT_LOG_IN if exc.http_status_code in (401, 403) else ""
            raise RegistryUnavailable(f"the schema registry at {self._url} refused: {exc}{to_do}") from exc
        except (self._client.unreachable, OSError) as exc:
            raise RegistryUnavailable(
                f"the schema registry at {self._url} does not answer: {exc or type(exc).__name__}; "
                "set AUTODEEP_SCHEMA_REGISTRY_URL"
            ) from exc


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


def confluent_registry(
    url: str, timeout_s: float = 10.0, own: Mapping[str, Any] | None = None
) -> ConfluentRegistry:
    """The registry at this URL, with further properties of the client.

    Raises SettingsError where it is none, a file cannot be used, or the extra is not installed.
    """
    try:
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
        return ConfluentRegistry(url, timeout_s, client, own or {})
    except OSError as exc:  # SSLError is one too
        raise SettingsError(f"AUTODEEP_SCHEMA_REGISTRY_CA_FILE cannot be used as a PEM file: {exc}") from exc
    except (ValueError, TypeError) as exc:
        raise SettingsError(f"AUTODEEP_SCHEMA_REGISTRY_URL cannot be used: {exc}") from exc
