"""What the topics that we write to take: the most bytes of a message, as the brokers say."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

from confluent_kafka.admin import AclOperation

from streams.adapters.kafka.rights import worker_rights
from streams.adapters.kafka.topics import message_limits
from streams.codec.output.dead_letters import LARGEST_BYTES
from streams.codec.output.sizes import wire_bytes
from streams.core.events import Message
from streams.core.topics import Topics
from streams.errors import AutodeepError
from streams.settings import Settings

log: Final = logging.getLogger("autodeep")

ASK_AGAIN_S: Final = 30.0
"""A limit may be raised while we run: it is asked for again before a message is held to an old answer."""
_LETTER_BYTES: Final = 4096
"""What a dead letter adds to its record, at most: our headers."""
_OTHER_BYTES: Final = 64 * 1024
"""Above every alert, state and status, with an explanation and a device id of the length that is usual."""


class TopicLimits:
    """By topic; None for one of which nobody says. Not to be shared between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, int | None] = {}
        self._asked_s: dict[str, float] = {}
        self._said: dict[str, int | None] = {}

    def of(self, topic: str) -> int:
        """The most bytes that a message for it may have, as far as is known: its limit, and ours."""
        ours, known = self._settings.kafka_message_max_bytes, self._known.get(topic)
        return ours if known is None else min(known, ours)

    def told(self, message: Message) -> int | None:
        """What its topic takes; None where all that is known would let it pass."""
        limit = self.of(message.topic)
        return limit if wire_bytes(message) > limit else None

    def knows(self, topic: str) -> bool:
        return self._known.get(topic) is not None

    @property
    def least(self) -> int:
        """Of all that are known, and ours."""
        known = [limit for limit in self._known.values() if limit is not None]
        return min([*known, self._settings.kafka_message_max_bytes])

    def ask(self, topics: Iterable[str]) -> None:
        """Ask the brokers. Where they do not answer, or refuse to, what was known before stays."""
        wanted = sorted(set(topics))
        now_s = time.monotonic()
        try:
            found = message_limits(self._settings, wanted)
        except AutodeepError as exc:
            log.info("%s; what topics take stays unknown", exc)
            found = {}
        for topic in wanted:
            self._asked_s[topic] = now_s
            self._known[topic] = found.get(topic, self._known.get(topic))

    def exceeded(self, messages: Sequence[Message]) -> dict[int, int | None]:
        """The places of the messages that their topics are known not to take, and what those take."""
        smallest = self.least // 2  # what is not even half as large need not be measured
        suspects = [i for i, one in enumerate(messages) if len(one.value or b"") > smallest]
        over = [place for place in suspects if self.told(messages[place]) is not None]
        due_s = time.monotonic() - ASK_AGAIN_S
        old = {messages[place].topic for place in over}
        old = {topic for topic in old if self._asked_s.get(topic, -inf) < due_s}
        if old:
            self.ask(old)
        told = {place: self.told(messages[place]) for place in over}
        return {place: limit for place, limit in told.items() if limit is not None}

    def say(self, topic: str) -> None:
        """One line that names the topic, for each limit that it is found to have."""
        limit = self._known.get(topic)
        if self._said.get(topic, -1) == limit:
            return
        self._said[topic] = limit
        known = "fewer bytes than was tried" if limit is None else f"at most {self.of(topic)} bytes"
        log.warning(
            "topic %s takes %s a message: larger ones go with less in them, or wait; raise max.message.bytes",
            topic,
            known,
        )


def check_limits(settings: Settings, limits: TopicLimits) -> None:
    """Ask for the limits of telemetry and of all that a worker writes; a warning for each that is small."""
    topics = Topics(settings.topic_prefix)
    names = [name for name, may in worker_rights(settings).items() if AclOperation.WRITE in may]
    limits.ask((*names, topics.telemetry))
    for name in names:
        limit, wanted = limits.of(name), _wanted(limits, topics, name)
        if limits.knows(name) and limit < wanted:
            log.warning(
                "topic %s takes messages of at most %d bytes (the least of its max.message.bytes and "
                "AUTODEEP_KAFKA_MESSAGE_MAX_BYTES), where up to %d may come: %s",
                name,
                limit,
                wanted,
                "larger dead letters will be cut"
                if name == topics.dead_letters
                else "alerts will go without their explanation, and what is too large all the same will wait",
            )


def _wanted(limits: TopicLimits, topics: Topics, name: str) -> int:
    """The largest that we publish there; a record may only be as large as the topic of telemetry takes."""
    if name != topics.dead_letters:
        return _OTHER_BYTES
    return min(LARGEST_BYTES, limits.of(topics.telemetry)) + _LETTER_BYTES
