"""The decoder of telemetry that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from streams.codec.avro.schemas import load_folder
from streams.codec.ingest.checks import Limits
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.codec.ingest.writers import SchemaRegistry
from streams.core.tables import FeatureTable
from streams.settings import Settings


def decoder_of(settings: Settings, table: FeatureTable, registry: SchemaRegistry | None) -> TelemetryDecoder:
    """Our own writer schemas, those of the producers' folder, and the registry's where one is set.

    Raises DataError where the folder cannot be used.
    """
    others = load_folder(Path(settings.writer_schemas)) if settings.writer_schemas else ()
    limits = Limits(settings.device_id_max_bytes, settings.max_clock_skew_s)
    return TelemetryDecoder(table, others, registry, limits)
