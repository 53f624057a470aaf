"""Back-off: what is away is waited for, and a stop ends the waiting."""

from __future__ import annotations

import pytest

from streams.core.patience import BackOff
from streams.errors import BrokerUnavailable, Unavailable


class Away:
    """Fails so many times, then answers."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise BrokerUnavailable("away")
        return "answer"


def test_pauses_double_to_five_seconds_and_the_return_is_told() -> None:
    pauses: list[float] = []
    told: list[Unavailable | None] = []
    patience = BackOff(lambda pause_s: pauses.append(pause_s) or False, told.append)
    assert patience(Away(8)) == "answer"
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [str(problem) for problem in told] == ["away"] * 8 + ["None"]


def test_nothing_is_told_when_nothing_was_away() -> None:
    told: list[Unavailable | None] = []
    assert BackOff(lambda _: False, told.append)(Away(0)) == "answer"
    assert told == []


def test_a_stop_while_away_raises_what_was_away() -> None:
    with pytest.raises(BrokerUnavailable, match="away"):
        BackOff(lambda _: True, lambda _: None)(Away(99))


def test_other_errors_are_not_waited_for() -> None:
    def broken() -> str:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        BackOff(lambda _: False, lambda _: None)(broken)
