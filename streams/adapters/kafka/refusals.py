"""Rights that are taken away while a worker reads: waited for, like a server that is away.

A broker refuses a fetch (READ on the topic), the heartbeat, the join or a commit (READ on the group), or
leaves a topic out of what it tells of the cluster. aiokafka hands such an error to whoever reads, once, and
then its coordinator waits until somebody has asked for it; here it is asked for, and tried again.

Written against aiokafka 0.14.0, pinned exactly, whose private parts it uses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

LOOK_S: Final = 1.0
LONGEST_PAUSE_S: Final = 5.0
_SETTLED_S: Final = 3 * LOOK_S
"""A group that refused nothing for so long, and has this member's heartbeat, refuses no more."""


def is_refusal(exc: BaseException | None) -> bool:
    """Of a right that is missing; aiokafka wraps some of them, and keeps the name."""
    return isinstance(exc, GroupAuthorizationFailedError | TopicAuthorizationFailedError) or (
        isinstance(exc, KafkaError) and "AuthorizationFailed" in str(exc)
    )


class Refusals:
    """In the thread of the consumer."""

    def __init__(self, group: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._group = group
        self._clock_s = clock_s
        self._topics: dict[str, tuple[float, float]] = {}  # for how long it is left alone, and until when
        self._answered_ms: dict[str, int] = {}  # when a fetch of it was answered last, as of its refusal
        self._group_at_s: float | None = None

    def note(self, consumer: Any, exc: BaseException) -> None:
        """An error for which `is_refusal` holds."""
        if isinstance(exc, TopicAuthorizationFailedError):
            named = exc.args[0] if exc.args else ()
            for topic in [named] if isinstance(named, str) else named:
                self._note_topic(consumer, topic)
        elif "Topic" not in str(exc):
            self._group_at_s = self._clock_s()

    def left_alone(self) -> list[str]:
        """Topics that are not asked for records for now."""
        now_s = self._clock_s()
        return [topic for topic, (_, until_s) in self._topics.items() if until_s > now_s]

    def look(self, consumer: Any) -> list[str]:
        """Let the coordinator try again; the rights that are missing now."""
        coordinator = consumer._coordinator
        pending = coordinator._pending_exception
        if is_refusal(pending):
            self.note(consumer, pending)
            self._try_again(coordinator, consumer)
        self._forget_what_is_back(consumer, coordinator)
        hidden = consumer._client.cluster.unauthorized_topics & consumer.subscription()
        rights = [f"READ on topic {topic}" for topic in sorted(self._topics.keys() | hidden)]
        return rights + ([f"READ on group {self._group}"] if self._group_at_s is not None else [])

    def _note_topic(self, consumer: Any, topic: str) -> None:
        pause_s, _ = self._topics.get(topic, (LOOK_S / 2, 0.0))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._topics[topic] = pause_s, self._clock_s() + pause_s
        self._answered_ms[topic] = _answered_ms(consumer, topic)

    def _try_again(self, coordinator: Any, consumer: Any) -> None:
        with suppress(KafkaError):  # it was noted; having been asked for it, the coordinator goes on
            coordinator.check_errors()
        heartbeat, refresh = coordinator._heartbeat_task, coordinator._commit_refresh_task
        if heartbeat is not None and heartbeat.done():
            coordinator.request_rejoin()  # it begins no other one
        assignment = _assignment(consumer)
        if refresh is not None and refresh.done() and assignment is not None:
            coordinator.start_commit_offsets_refresh_task(assignment)

    def _forget_what_is_back(self, consumer: Any, coordinator: Any) -> None:
        hidden = consumer._client.cluster.unauthorized_topics
        mine = {tp.topic for tp in consumer.assignment()}
        for topic in list(self._topics):
            answered = _answered_ms(consumer, topic) > self._answered_ms[topic]
            if topic not in hidden and (answered or topic not in mine):
                del self._topics[topic]
        heartbeat, now_s = coordinator._heartbeat_task, self._clock_s()
        beats = heartbeat is not None and not heartbeat.done() and coordinator.coordinator_id is not None
        if self._group_at_s is not None and beats and now_s > self._group_at_s + _SETTLED_S:
            self._group_at_s = None


def but_for_refusals(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Of a loop, what becomes of errors that nobody asked for: the coordinator replaces tasks that a refusal
    ended, and has told of it elsewhere."""
    if not is_refusal(context.get("exception")):
        loop.default_exception_handler(context)


def _answered_ms(consumer: Any, topic: str) -> int:
    """When a fetch of one of its partitions was answered last, in aiokafka's time; 0 for never."""
    assignment = _assignment(consumer)
    if assignment is None:
        return 0
    return max(
        (assignment.state_value(tp).timestamp or 0 for tp in assignment.tps if tp.topic == topic), default=0
    )


def _assignment(consumer: Any) -> Any:
    subscription = consumer._subscription.subscription
    return None if subscription is None else subscription.assignment
