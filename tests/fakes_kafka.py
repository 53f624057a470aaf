"""A publisher in memory that obeys the laws of the one on Kafka."""

from __future__ import annotations

from collections.abc import Sequence

from streams.codec.output.sizes import wire_bytes
from streams.core.events import Message
from streams.errors import BrokerUnavailable, MessageTooLarge


class FakeKafkaPublisher:
    """Keeps what was published, by topic. `away` counts the publishes that fail yet.

    Where it says its limit it takes nothing of a list with a message beyond it, else all others.
    """

    def __init__(self, topics: Sequence[str], largest_bytes: int = 1_048_588) -> None:
        self.topics: dict[str, list[Message]] = {topic: [] for topic in topics}
        self.away = 0
        self.largest_bytes = largest_bytes
        self.says_limit = True

    def publish(self, messages: Sequence[Message]) -> None:
        unknown = {message.topic for message in messages} - self.topics.keys()
        if self.away or unknown:
            self.away = max(self.away - 1, 0)
            raise BrokerUnavailable(f"the fake broker is away, or has no topic {', '.join(unknown)}")
        too_large = [i for i, message in enumerate(messages) if wire_bytes(message) > self.largest_bytes]
        for place, message in enumerate(messages):
            if place not in too_large and not (too_large and self.says_limit):
                self.topics[message.topic].append(message)
        if too_large:
            limits = dict.fromkeys(too_large, self.largest_bytes if self.says_limit else None)
            raise MessageTooLarge(f"{len(too_large)} messages are too large", limits)
