"""What a probe says of a server that answers, does not, or never ends its answer."""

from __future__ import annotations

import logging

import pytest

from streams.errors import AutodeepError, SettingsError, WindowStoreUnavailable
from streams.worker.probes import LOOK_S, SILENT_S, Probe


class Server:
    """A server, its probe, and a clock that moves in `wait`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.problem: AutodeepError | None = None
        self.probe = Probe("Redis at host", self.answer, lambda: self.now_s)

    def answer(self) -> None:
        if self.problem is not None:
            raise self.problem


def test_a_server_that_does_not_serve_is_named_until_it_answers_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    server.probe.look()
    assert server.probe.problem is None
    for problem in (WindowStoreUnavailable("Redis is away"), SettingsError("Redis refuses"), None):
        server.problem = problem
        with caplog.at_level(logging.INFO, "autodeep"):
            server.probe.look()
            server.probe.look()
        assert server.probe.problem == (None if problem is None else str(problem))
    assert caplog.messages == ["Redis is away", "Redis at host answers again"]


def test_an_answer_that_never_comes_is_as_good_as_none() -> None:
    server = Server()
    server.probe.look()
    server.now_s = SILENT_S
    assert server.probe.problem is None
    server.now_s += LOOK_S
    assert server.probe.problem == "Redis at host has not answered for 17 s"
    server.probe.look()
    assert server.probe.problem is None


def test_what_nobody_asks_is_not_away() -> None:
    server = Server()
    server.now_s = 1000.0
    assert server.probe.problem is None
