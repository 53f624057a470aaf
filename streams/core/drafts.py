"""Frozen values made fast.

A frozen dataclass sets each field through `object.__setattr__`: 6 us for twenty-five of them. A draft has
the same fields and is not frozen; it becomes a value by its class, which Python allows between classes whose
slots are the same.
"""

from __future__ import annotations

from dataclasses import MISSING, field, fields, make_dataclass
from typing import Any


def draft_of(cls: type[Any]) -> Any:
    """A class with the fields of this frozen dataclass with slots; its instances may become of `cls`."""
    made = []
    for one in fields(cls):
        made.append((one.name, Any, field() if one.default is MISSING else field(default=one.default)))
    return make_dataclass(f"{cls.__name__}Draft", made, slots=True)
