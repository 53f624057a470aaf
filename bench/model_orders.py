"""Commands about models, sent, and what the workers say to them, for the benches."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from bench.parts import Parts
from streams.adapters.kafka.client import Config
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.reading import Reader
from streams.adapters.store.models import open_store
from streams.codec.models import ModelCommand, ModelStatus, decode_status, encode_command
from streams.core.events import Message
from streams.errors import Unavailable

NAME: Final = "kdd99"
SWITCH_S: Final = 60.0


def alike(folder: str, count: int) -> list[str]:
    """A store with the shipped model as versions 1 to `count`, alike but for their digests; these."""
    detector = open_store().load(f"{NAME}@champion")
    store = open_store(folder)
    digests = [
        store.save(detector, NAME, str(number + 1), {}, "for a bench").digest for number in range(count)
    ]
    store.set_alias(NAME, "champion", "1")
    return digests


def promote(version: str) -> ModelCommand:
    return ModelCommand(str(uuid.uuid4()), "promote", NAME, time.time_ns() // 1000, version=version)


def rollback() -> ModelCommand:
    return ModelCommand(str(uuid.uuid4()), "rollback", "", time.time_ns() // 1000)


class Orders:
    """Sends commands, and reads the status topic from its beginning, each status once."""

    def __init__(self, parts: Parts) -> None:
        self._topics = parts.topics
        self._publisher = KafkaPublisher(parts.settings)
        own: Config = {"group.id": "bench", "fetch.wait.max.ms": 10}
        self._reader = Reader(parts.settings, "reading what the workers say", own)
        self._reader.assign(self._reader.places([self._topics.model_status]))

    def __enter__(self) -> Self:
        self._publisher.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()
        self._publisher.__exit__(kind, exc, trace)

    def send(self, command: ModelCommand) -> None:
        self._publisher.publish([Message(self._topics.model_commands, b"", encode_command(command))])

    def wait_for(self, enough: Callable[[ModelStatus], bool], what: str, timeout_s: float = SWITCH_S) -> None:
        """Hand every new status to `enough` until it says so. Raises Unavailable if that takes too long."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            for message in self._reader.take(1, 0.1):  # one: the next call is to see those after it
                if enough(decode_status(message.value())):
                    return
            if time.monotonic() > deadline_s:
                raise Unavailable(f"waiting for {what}: nothing within {timeout_s:g} s")


def switched(orders: Orders, command: ModelCommand, workers: int) -> tuple[int, str]:
    """When (microseconds) the last worker served what the command asked for; or it was refused, and why."""
    serving: dict[str, int] = {}
    refused: list[ModelStatus] = []

    def enough(status: ModelStatus) -> bool:
        if status.command_id == command.command_id and status.outcome == "serving":
            serving[status.worker] = status.at_us
        elif status.command_id == command.command_id and status.outcome == "refused":
            refused.append(status)
        return bool(refused) or len(serving) == workers

    orders.wait_for(enough, f"all {workers} workers to serve {command.version}")
    if refused:
        return refused[0].at_us, refused[0].detail
    return max(serving.values()), ""
