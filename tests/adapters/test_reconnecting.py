"""A broker that does not answer: when it is tried again, and what is said of it."""

from __future__ import annotations

import asyncio
import logging

import aiokafka
import pytest
from aiokafka.errors import KafkaConnectionError

from streams.adapters.kafka import reconnecting
from streams.adapters.kafka.reconnecting import LONGEST_PAUSE_S, Addresses, return_to_brokers

PLACE = ("kafka.example", 9092)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_an_address_that_fails_is_left_alone_for_a_growing_pause_until_it_answers() -> None:
    clock = Clock()
    addresses = Addresses(clock)
    pauses = []
    for _ in range(8):
        addresses.failed(PLACE, OSError())
        pauses.append(addresses.wait_s(PLACE))
        addresses.failed(PLACE, OSError())  # another task that tried at the same time
        clock.now_s += addresses.wait_s(PLACE)
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[-1] == LONGEST_PAUSE_S
    addresses.answered(PLACE)
    assert addresses.wait_s(PLACE) == 0


def test_one_line_says_that_a_broker_is_away_and_one_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    addresses = Addresses(clock)
    addresses.answered(PLACE)
    for _ in range(100):
        addresses.failed(PLACE, OSError("refused"))
        clock.now_s += 3
    addresses.answered(PLACE)
    addresses.answered(PLACE)
    away, back = (record.getMessage() for record in caplog.records)
    assert away == "Kafka's broker at kafka.example:9092 does not answer (refused); trying again"
    assert back == "Kafka's broker at kafka.example:9092 answers again, after 300 s"


def test_whatever_a_connection_meets_is_an_error_that_aiokafka_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any other, as of a token's source, would end its tasks, and nobody would know."""

    async def connect(host: str, port: int, **options: object) -> None:
        raise ValueError("AWS credentials cannot be found")

    monkeypatch.setattr(reconnecting, "_connect", connect)
    with pytest.raises(KafkaConnectionError, match="ValueError: AWS credentials cannot be found"):
        asyncio.run(reconnecting._connected(*PLACE))


def test_aiokafkas_clients_are_of_this_kind(caplog: pytest.LogCaptureFixture) -> None:
    async def started_nowhere() -> None:
        consumer = aiokafka.AIOKafkaConsumer("t", bootstrap_servers="127.0.0.1:1", group_id=None)
        assert isinstance(consumer._client, reconnecting.ReturningClient)
        try:
            await consumer.start()
        finally:
            await consumer.stop()

    return_to_brokers()
    with pytest.raises(KafkaConnectionError), caplog.at_level(logging.WARNING, "autodeep"):
        asyncio.run(started_nowhere())
    assert "Kafka's broker at 127.0.0.1:1 does not answer" in caplog.text
