"""The topics of models: read to their end, followed for ever, and decided on by one agent at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import aiokafka
from aiokafka.errors import KafkaError as FollowingError
from confluent_kafka import KafkaException, Producer
from confluent_kafka import Message as KafkaMessage
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from streams.adapters.kafka.client import LOG, producer_config, where
from streams.adapters.kafka.faust_app import credentials, server_list
from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.reconnecting import return_to_brokers
from streams.adapters.kafka.refusals import is_refusal
from streams.adapters.kafka.topics import lacking, list_topics
from streams.codec import models
from streams.codec.models import Agreed, ModelMessageUnreadable, ModelRef, ModelState, ModelStatus
from streams.core.events import Message
from streams.core.patience import FIRST_PAUSE_S, LONGEST_PAUSE_S
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable
from streams.settings import Settings

log: Final = logging.getLogger("autodeep.models")

_LEAST_TRANSACTION_S: Final = 10.0


def missing_model_topics(settings: Settings) -> tuple[str, ...]:
    """Those of the three topics of models that the cluster lacks. Raises BrokerUnavailable."""
    topics = Topics(settings.topic_prefix)
    known = list_topics(settings, settings.topic_prefix)
    wanted = (topics.model_commands, topics.model_active, topics.model_status)
    return tuple(topic for topic in wanted if topic not in known)


def newest_state(settings: Settings) -> ModelState | None:
    """The state of the highest revision; None where nothing was decided yet. Raises BrokerUnavailable."""
    best: ModelState | None = None
    for message in _to_the_end(settings, [Topics(settings.topic_prefix).model_active]):
        best = newer(best, message.value())
    return best


def challenge_statuses(settings: Settings, challenger: ModelRef) -> list[ModelStatus]:
    """The newest that each worker has told of this challenger since it became one. Raises BrokerUnavailable.

    What workers told of an earlier challenge by the same model, and are gone since, does not count.
    """
    newest: dict[str, ModelStatus] = {}
    since = None  # the revision with which it became challenger
    for message in _to_the_end(settings, [Topics(settings.topic_prefix).model_status]):
        try:
            status = models.decode_status(message.value())
        except ModelMessageUnreadable:
            continue
        if status.kind == "decision":
            since = _challenger_since(since, status, challenger)
        elif status.kind == "challenge" and status.digest == challenger.digest:
            newest[status.worker] = status
    return [status for status in newest.values() if status.revision >= (since or 0)]


def _challenger_since(since: int | None, decision: ModelStatus, challenger: ModelRef) -> int | None:
    """The revision with which the model became challenger, None while it is none, after one more decision."""
    is_it = decision.digest == challenger.digest
    if decision.outcome in ("shadowing", "canarying"):
        return (decision.revision if since is None else since) if is_it else None
    ends = decision.outcome == "dismissed" or (is_it and decision.outcome in ("promoted", "rolled_back"))
    return None if ends else since


def newer(best: ModelState | None, value: bytes | None) -> ModelState | None:
    """The newer of the best so far and one more record; what cannot be read is said and passed over."""
    if value is None:
        return best
    try:
        state = models.decode_state(value)
    except ModelMessageUnreadable as exc:
        log.warning("a state of the active model is passed over: %s", exc)
        return best
    return state if best is None or state.revision > best.revision else best


def status_message(topics: Topics, status: ModelStatus) -> Message:
    key = status.command_id if status.kind == "decision" else status.worker
    return Message(topics.model_status, key.encode(), models.encode_status(status))


class DecisionLog:
    """What has been decided, and the only way to decide more. For one thread.

    A state and its status are written in one transaction under one transactional id. Whoever takes over is
    told everything that was written before, and the broker refuses what a former agent, stopped or cut off in
    the middle of a decision, still wants to write: no revision is given twice.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = Topics(settings.topic_prefix)
        self._producer: Producer | None = None
        self._agreed = Agreed()

    def agreed(self) -> Agreed:
        """What counts now, or has counted until another agent took over. Raises BrokerUnavailable."""
        if self._producer is None:
            with self._translated("taking over the decisions about models"):
                producer = Producer(_transactional(self._settings), logger=LOG)
                producer.init_transactions(self._settings.network_timeout_s)
            self._agreed = self._read()  # after the line above: nobody else can write any more
            self._producer = producer
        return self._agreed

    def write(self, state: ModelState | None, status: ModelStatus) -> None:
        """A decision; `state` None changes nothing. Raises BrokerUnavailable: ask `agreed` again then.

        Until then it is not known whether it was written.
        """
        if self._producer is None:
            raise RuntimeError("a decision without knowing what is agreed")
        producer, self._producer = self._producer, None
        with self._translated("publishing a decision about a model"):
            producer.begin_transaction()
            if state is not None:
                producer.produce(self._topics.model_active, models.encode_state(state), models.ACTIVE_KEY)
            told = status_message(self._topics, status)
            producer.produce(told.topic, told.value, told.key)
            producer.commit_transaction(self._settings.network_timeout_s)
        self._producer = producer
        decided = self._agreed.decided | ({status.command_id} if status.is_final else set())
        self._agreed = Agreed(state or self._agreed.state, decided)

    def _read(self) -> Agreed:
        agreed = Agreed()
        for message in _to_the_end(self._settings, [self._topics.model_active, self._topics.model_status]):
            if message.topic() == self._topics.model_active:
                agreed = replace(agreed, state=newer(agreed.state, message.value()))
                continue
            try:
                status = models.decode_status(message.value())
            except ModelMessageUnreadable:
                continue
            if status.is_final:
                agreed = replace(agreed, decided=agreed.decided | {status.command_id})
        return agreed

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as exc:
            raise BrokerUnavailable(
                f"{what} on Kafka at {where(self._settings)}: {exc.args[0].str()}"
            ) from exc


async def follow_states(settings: Settings, take: Callable[[ModelState], None]) -> None:
    """Hand on every state, from the first that the topic keeps to those to come, for ever."""
    return_to_brokers()
    topic = Topics(settings.topic_prefix).model_active
    pause_s, said = FIRST_PAUSE_S, ""
    while True:
        begun_s = time.monotonic()
        consumer = aiokafka.AIOKafkaConsumer(
            topic,
            bootstrap_servers=server_list(settings),
            group_id=None,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            client_id="autodeep-id-models",
            check_crcs=False,  # as librdkafka's default: its mock cluster ends transactions with a CRC of 0
            **credentials_to_aiokafka_auth(credentials(settings), None),
        )
        try:
            await consumer.start()
            async for record in consumer:
                said = ""
                state = newer(None, record.value)
                if state is not None:
                    take(state)
        except FollowingError as exc:
            problem = f"following {topic}: {exc or type(exc).__name__}"
            if is_refusal(exc):
                problem = str(lacking(settings, [f"READ on topic {topic}"]))
            if problem != said:
                log.warning("%s; trying again", problem)
            said = problem
        finally:
            await consumer.stop()
        if time.monotonic() - begun_s > LONGEST_PAUSE_S:
            pause_s = FIRST_PAUSE_S
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _transactional(settings: Settings) -> dict[str, str | int | float | bool]:
    config = producer_config(settings)
    longest_ms = max(2 * int(config["delivery.timeout.ms"]), int(_LEAST_TRANSACTION_S * 1000))
    return {
        **config,
        "transactional.id": f"{settings.topic_prefix}.models",
        "transaction.timeout.ms": longest_ms,
    }


def _to_the_end(settings: Settings, names: Sequence[str]) -> Iterator[KafkaMessage]:
    """Every committed record of these topics, up to where they end now. Raises BrokerUnavailable."""
    with Reader(settings, "reading the topics of models", {"group.id": "autodeep-models"}) as reader:
        reader.assign(reader.places(names))
        yield from reader.to_the_end()
