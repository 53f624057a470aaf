"""Which addresses are ours, from the settings."""

from __future__ import annotations

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
