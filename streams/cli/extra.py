"""What only some commands need beyond a plain installation."""

from __future__ import annotations

import importlib.util

from streams.errors import SettingsError


def require_training(what: str) -> None:
    """Raises SettingsError where the packages of the extra `train` are not installed."""
    missing = [name for name in ("sklearn", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"{what} needs {' and '.join(missing)}: install them with pip install 'autodeep-id[train]'"
        )
