"""Alerts for your own programs: `from streams.alerts import read_alerts`. The code is in `streams.client`."""

from streams.client.alerts import read_alerts

__all__ = ["read_alerts"]
