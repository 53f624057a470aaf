"""Whose trace an event belongs to: what its producer said in a header, handed on to its alert.

The text is W3C Trace Context's, level 1. It travels in the event's context; anything else by that name, and
it may be anything, stays where it came from.
"""

from __future__ import annotations

import re
from typing import Final

TRACEPARENT: Final = "traceparent"
_FORM: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_SIZE: Final = 55


def is_traceparent(text: str) -> bool:
    return len(text) == _SIZE and _FORM.fullmatch(text) is not None
