"""Which addresses are ours, and how sensors write, from the settings."""

from __future__ import annotations

from streams.codec.ingest.flows.dialects import DIALECTS
from streams.core.home import Home, parse_home
from streams.errors import SettingsError
from streams.settings import Settings


def home_of(settings: Settings) -> Home:
    """Raises SettingsError where networks, site or sensors cannot be used."""
    try:
        return parse_home(settings.home_networks, settings.site, settings.sensor_sites)
    except ValueError as exc:
        raise SettingsError(
            f"AUTODEEP_HOME_NETWORKS, AUTODEEP_SITE or AUTODEEP_SENSOR_SITES cannot be used: {exc}"
        ) from exc


def dialect_of(settings: Settings) -> str:
    """Raises SettingsError where there is no such dialect."""
    if settings.flow_dialect not in DIALECTS:
        known = ", ".join(DIALECTS)
        raise SettingsError(
            f"AUTODEEP_FLOW_DIALECT: {settings.flow_dialect!r} is no dialect; there are {known}"
        )
    return settings.flow_dialect
