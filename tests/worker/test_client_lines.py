"""What the client libraries write is in the log once for as long as it lasts."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator

import pytest

from streams.errors import Unavailable
from streams.worker.client_lines import QUIET_S, ClientLines
from streams.worker.path import Said
from streams.worker.process import log_config


class Seconds:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def record(name: str, text: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, text, (), None)


def test_lines_that_differ_in_numbers_alone_are_one_until_they_have_been_quiet() -> None:
    clock = Seconds()
    lines = ClientLines(clock)
    passed = []
    for second in (0, 1, 30, 80, 139, 139 + QUIET_S, 1000):
        clock.now_s = second
        passed.append(lines.filter(record("aiokafka", f"fetch {second} of topic t timed out")))
    assert passed == [True, False, False, False, False, True, True]


def test_another_line_and_another_library_pass() -> None:
    lines = ClientLines(Seconds())
    for name in ("aiokafka.consumer", "faust.app", "autodeep.librdkafka"):
        for text in ("a fetch timed out", "topic t is not authorized"):
            assert lines.filter(record(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("aiokafka", "Unable connect to node with id 1: [Errno 111] Connect call failed"),
        ("aiokafka.consumer.fetcher", "Failed fetch messages from 1: NodeNotReadyError: Attempt to send"),
        ("autodeep.librdkafka", "FAIL [rdkafka#producer-3] Connect to ipv4#127.0.0.1:9 failed: refused"),
    ],
)
def test_what_is_said_of_each_address_anyway_is_left_out(name: str, text: str) -> None:
    assert not ClientLines(Seconds()).filter(record(name, text))


def test_our_own_lines_all_pass() -> None:
    lines = ClientLines(Seconds())
    assert all(lines.filter(record("autodeep", "Unable connect to 1")) for _ in range(3))


@pytest.fixture
def kept_logging() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.parametrize(("level", "times"), [("INFO", 1), ("DEBUG", 3)])
def test_the_workers_log_is_so_unless_everything_is_asked_for(
    kept_logging: None, capfd: pytest.CaptureFixture[str], level: str, times: int
) -> None:
    logging.config.dictConfig(log_config(level))
    for _ in range(3):
        logging.getLogger("aiokafka").warning("a fetch timed out")
    assert capfd.readouterr().err.count("a fetch timed out") == times


def test_what_is_away_is_said_once_and_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()
    with caplog.at_level(logging.INFO, "autodeep"):
        said(None)
        for problem in ("Redis refuses", "Redis refuses", "Kafka is away", "Redis refuses"):
            said(Unavailable(problem))
        said(None)
        said(Unavailable("Redis refuses"))
    assert [record.getMessage() for record in caplog.records] == [
        "Redis refuses; trying again",
        "Kafka is away; trying again",
        "no longer: Kafka is away",
        "no longer: Redis refuses",
        "Redis refuses; trying again",
    ]
