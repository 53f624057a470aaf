"""What is made by a draft is what its class would have made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, astuple, dataclass

import pytest

from streams.core.drafts import draft_of


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    name: str = "origin"


def test_a_draft_becomes_a_value_that_nobody_can_change() -> None:
    made = draft_of(Point)(3)
    made.x += 1
    made.__class__ = Point
    assert made == Point(4)
    assert hash(made) == hash(Point(4))
    assert astuple(made) == (4, "origin")
    with pytest.raises(FrozenInstanceError):
        made.x = 5
