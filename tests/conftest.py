"""Servers for the tests: one of each a session, started when first asked for.

AUTODEEP_TEST_KAFKA and AUTODEEP_TEST_REDIS_URL name servers that run already. Where a server can be neither
found nor started its tests are skipped; with CI=true or AUTODEEP_REQUIRE_KAFKA=1 they fail.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import hypothesis
import pytest

from streams.embedded.kafka import ApacheKafka, Broker, MockKafka
from streams.embedded.redis import RedisServer
from streams.embedded.redis_cluster import RedisCluster
from streams.embedded.redis_sentinel import RedisSentinel
from streams.errors import Unavailable

os.environ.pop("COLUMNS", None)  # the width of whoever runs the tests is nothing that they test
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")  # a busy machine is no failure

NO_KAFKA: Final = "no Apache Kafka: "
NO_REDIS: Final = "no Redis: "
MakeTopic = Callable[..., str]


@dataclass(frozen=True, slots=True)
class _Given:
    bootstrap_servers: str


def absent(reason: str) -> NoReturn:
    """Skip, or fail where the server must be there."""
    if os.environ.get("CI") == "true" or os.environ.get("AUTODEEP_REQUIRE_KAFKA") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """Apache Kafka itself, one node. Give topics and groups names of your own."""
    named = os.environ.get("AUTODEEP_TEST_KAFKA")
    if named:
        yield _Given(named)
        return
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(ApacheKafka())
        except Unavailable as exc:
            absent(f"{NO_KAFKA}{exc}")
        yield broker


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[Broker]:
    """librdkafka's mock cluster. Topics appear on first use, with 4 partitions."""
    with MockKafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis of the session. Give keys a prefix of your own."""
    named = os.environ.get("AUTODEEP_TEST_REDIS_URL")
    if named:
        yield named
        return
    with ExitStack() as stack:
        try:
            server = stack.enter_context(RedisServer())
        except Unavailable as exc:
            absent(f"{NO_REDIS}{exc}")
        yield server.url


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[RedisSentinel]:
    """A primary that sentinels watch; tests may fail it over."""
    with ExitStack() as stack:
        try:
            servers = stack.enter_context(RedisSentinel())
        except Unavailable as exc:
            absent(f"{NO_REDIS}{exc}")
        yield servers


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """Three primaries; tests may move slots between them."""
    with ExitStack() as stack:
        try:
            servers = stack.enter_context(RedisCluster())
        except Unavailable as exc:
            absent(f"{NO_REDIS}{exc}")
        yield servers


@pytest.fixture(params=["single", "sentinel", "cluster"])
def any_redis_url(request: pytest.FixtureRequest) -> str:
    """Of each way in which Redis is deployed."""
    if request.param == "single":
        return str(request.getfixturevalue("redis_url"))
    return str(request.getfixturevalue(f"redis_{request.param}").url)


@pytest.fixture
def new_topic(kafka: Broker) -> MakeTopic:
    """Makes a topic on Apache Kafka: new_topic(partitions=4, name=None, config=None) -> its name."""
    from tests import kafka_reading

    def make(partitions: int = 4, name: str | None = None, config: Mapping[str, str] | None = None) -> str:
        name = name or f"t-{uuid.uuid4().hex[:12]}"
        return kafka_reading.make_topic(kafka.bootstrap_servers, name, partitions, config)

    return make


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Skipped servers are said in the last lines, where nobody overlooks them."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    for absent, what in ((NO_KAFKA, "Apache Kafka"), (NO_REDIS, "Redis")):
        reasons = [text.partition(absent)[2].rstrip("')\"") for text in skipped if absent in text]
        if reasons:
            terminalreporter.write_line(
                f"{len(reasons)} tests on {what} were SKIPPED: {reasons[0]}", yellow=True, bold=True
            )
