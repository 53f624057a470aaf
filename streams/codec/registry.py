"""Writer schemas by the ids of a Confluent-compatible schema registry.

Needs the extra `registry` (pip install "autodeep-id[registry]"); nothing of it is imported before it is used.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from streams.codec import schemas
from streams.codec.schemas import Schema
from streams.errors import DataError, RegistryUnavailable, SettingsError

log = logging.getLogger(__name__)

UNKNOWN_FOR_S: Final = 30.0
"""An id that the registry does not have is asked for again after so long: it may have been registered."""

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


def confluent_registry(url: str, timeout_s: float = 10.0) -> CachedRegistry:
    """A registry at an http(s) URL, asked with confluent-kafka's client.

    Raises SettingsError where the extra `registry` is not installed, or the URL is none.
    """
    try:
        httpx: Any = importlib.import_module("httpx")  # what the client talks with
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsError(
            'AUTODEEP_SCHEMA_REGISTRY_URL needs the extra: pip install "autodeep-id[registry]"'
        ) from exc
    try:
        # The caller retries with back-off, and the cache is ours.
        client = SchemaRegistryClient({"url": url, "timeout": timeout_s, "max.retries": 0})
    except (ValueError, TypeError) as exc:
        raise SettingsError(f"AUTODEEP_SCHEMA_REGISTRY_URL cannot be used: {exc}") from exc

    def fetch(schema_id: int) -> str | None:
        try:
            found = client.get_schema(schema_id)
        except SchemaRegistryError as exc:
            if exc.http_status_code == 404:
                return None
            raise RegistryUnavailable(f"the schema registry at {url} refused: {exc}") from exc
        except (httpx.HTTPError, OSError) as exc:
            raise RegistryUnavailable(
                f"the schema registry at {url} does not answer: {exc or type(exc).__name__}; "
                "set AUTODEEP_SCHEMA_REGISTRY_URL"
            ) from exc
        # An id of Protobuf or JSON Schema is none of ours.
        return found.schema_str if found.schema_type in (None, "AVRO") else None

    return CachedRegistry(fetch)
