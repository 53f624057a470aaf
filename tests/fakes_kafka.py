"""A publisher in memory that obeys the laws of the one on Kafka."""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.events import Message
from streams.errors import BrokerUnavailable, MessageTooLarge


class FakeKafkaPublisher:
    """Keeps what was published, by topic. `away` counts the publishes that fail yet."""

    def __init__(self, topics: Sequence[str], largest_bytes: int = 1_048_588) -> None:
        self.topics: dict[str, list[Message]] = {topic: [] for topic in topics}
        self.away = 0
        self._largest_bytes = largest_bytes

    def publish(self, messages: Sequence[Message]) -> None:
        unknown = {message.topic for message in messages} - self.topics.keys()
        if self.away or unknown:
            self.away = max(self.away - 1, 0)
            raise BrokerUnavailable(f"the fake broker is away, or has no topic {', '.join(unknown)}")
        too_large = tuple(
            i for i, message in enumerate(messages) if self._size(message) > self._largest_bytes
        )
        for place, message in enumerate(messages):
            if place not in too_large:
                self.topics[message.topic].append(message)
        if too_large:
            raise MessageTooLarge(f"{len(too_large)} messages are too large", too_large)

    def _size(self, message: Message) -> int:
        headers = sum(len(name) + len(value or b"") for name, value in message.headers)
        return len(message.key or b"") + len(message.value or b"") + headers
