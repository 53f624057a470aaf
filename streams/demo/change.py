"""A model promoted half-way through the demonstration: which one, and what the model agent said to it."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from dataclasses import dataclass

from streams.adapters.store.models import open_store
from streams.client.orders import order
from streams.codec.models import ModelCommand
from streams.errors import AutodeepError
from streams.settings import Settings

_DECISION_S = 60.0


@dataclass(frozen=True, slots=True)
class Versions:
    """What serves from the beginning, and what is promoted half-way; "" where there is no other version."""

    first: str
    then: str = ""


def versions(settings: Settings) -> Versions:
    """The model of the settings and the latest other version of its name: first the older, then the newer.

    Raises ModelRejected and Unavailable as the store does.
    """
    store = open_store(settings.model_store, settings.model_trust_key)
    name, version = store.resolve(settings.model)
    others = [
        entry.version
        for entry in store.entries()
        if entry.name == name and entry.version != version and not entry.retired and not entry.problem
    ]
    if not others:
        return Versions(f"{name}/{version}")
    older, newer = sorted((version, max(others, key=_natural)), key=_natural)
    return Versions(f"{name}/{older}", f"{name}/{newer}")


def _natural(version: str) -> tuple[int, str]:
    """10 comes after 9, and before versions that are no numbers."""
    return (int(version), "") if version.isdecimal() else (sys.maxsize, version)


class Promotion:
    """Asked for once; the waiting for the decision is done in a thread of its own."""

    def __init__(self, settings: Settings, which: Versions) -> None:
        self._settings = settings
        self._which = which
        self.said = f"{which.first} serves"

    def begin(self) -> None:
        """Ask for it; nothing where there is no other version."""
        if self._which.then:
            self.said = f"{self._which.first} serves, {self._which.then} is being examined"
            threading.Thread(target=self._order, name="promotion", daemon=True).start()

    def _order(self) -> None:
        name, _, version = self._which.then.partition("/")
        command = ModelCommand(
            str(uuid.uuid4()), "promote", name, time.time_ns() // 1000, version=version, issued_by="demo"
        )
        try:
            status = order(self._settings, command, _DECISION_S)
        except AutodeepError as exc:
            self.said = f"{self._which.first} serves; {self._which.then} was not promoted: {exc}"
            return
        if status.outcome == "promoted":
            self.said = f"{self._which.then} promoted"
        else:
            self.said = (
                f"{self._which.first} serves; {self._which.then} was {status.outcome}: {status.detail}"
            )
