"""The topics of models: read to their end, followed for ever, and decided on by one agent a family."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import aiokafka
from aiokafka.errors import KafkaError as FollowingError
from confluent_kafka import KafkaException, Producer
from confluent_kafka import Message as KafkaMessage
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from streams.adapters.kafka.client import Config, lacking, made, producer_config, where
from streams.adapters.kafka.faust_app import credentials, server_list
from streams.adapters.kafka.heard import advice
from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.reconnecting import return_to_brokers
from streams.adapters.kafka.refusals import is_refusal
from streams.adapters.kafka.topics import list_topics
from streams.codec import models
from streams.codec.models import Agreed, ModelMessageUnreadable, ModelRef, ModelState, ModelStatus
from streams.core.events import Message
from streams.core.patience import FIRST_PAUSE_S, LONGEST_PAUSE_S
from streams.core.topics import Topics, transactional_prefix
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


class States:
    """The agreed states of all families, as far as they were taken in.

    Of each key the highest revision counts, and of each family the highest of those. States of before there
    were families are under one key, whatever they are of; the newest of these is its champion's family's.
    """

    def __init__(self) -> None:
        self._by_key: dict[bytes | None, ModelState] = {}
        self._passed_over = 0
        self._problem = ""

    def take(self, key: bytes | None, value: bytes | None) -> None:
        try:
            state = None if value is None else models.decode_state(value)
        except ModelMessageUnreadable as exc:
            self._passed_over, self._problem = self._passed_over + 1, str(exc)
            return
        known = self._by_key.get(key)
        if state is not None and (known is None or state.revision > known.revision):
            self._by_key[key] = state

    def say_passed_over(self, topic: str) -> None:
        """One line for all that could not be read, which is met again at each reading."""
        if self._passed_over:
            log.warning(
                "%d states on %s are passed over, the last one: %s", self._passed_over, topic, self._problem
            )

    def by_family(self) -> dict[str, ModelState]:
        in_order = sorted(self._by_key.values(), key=lambda state: state.revision)
        return {state.family: state for state in in_order}

    @property
    def before_families(self) -> ModelState | None:
        """What was agreed on before there were families."""
        return self._by_key.get(models.KEY_BEFORE_FAMILIES)


def newest_states(settings: Settings) -> States:
    """Raises BrokerUnavailable."""
    states, topic = States(), Topics(settings.topic_prefix).model_active
    for message in _to_the_end(settings, [topic]):
        states.take(message.key(), message.value())
    states.say_passed_over(topic)
    return states


def newest_state(settings: Settings, family: str) -> ModelState | None:
    """None where nothing was decided about the family yet. Raises BrokerUnavailable."""
    return newest_states(settings).by_family().get(family)


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
    if decision.name != challenger.name:
        return since  # another family's
    is_it = decision.digest == challenger.digest
    if decision.outcome in ("shadowing", "canarying"):
        return (decision.revision if since is None else since) if is_it else None
    ends = decision.outcome == "dismissed" or (is_it and decision.outcome in ("promoted", "rolled_back"))
    return None if ends else since


def readable(value: bytes | None) -> ModelState | None:
    """The state; None of a tombstone, and of what cannot be read, which is said."""
    if value is None:
        return None
    try:
        return models.decode_state(value)
    except ModelMessageUnreadable as exc:
        log.warning("a state of the active model is passed over: %s", exc)
        return None


def status_message(topics: Topics, status: ModelStatus) -> Message:
    key = status.command_id if status.kind == "decision" else status.worker
    return Message(topics.model_status, key.encode(), models.encode_status(status))


class DecisionLog:
    """What has been decided about a family, and the only way to decide more. For one thread.

    A state and its status are written in one transaction under the family's transactional id. Whoever takes
    over is told everything that was written before, and the broker refuses what a former agent, stopped or
    cut off in the middle of a decision, still wants to write: no revision is given twice. The agents of other
    families write on.
    """

    def __init__(self, settings: Settings, family: str) -> None:
        self._settings = settings
        self._family = family
        self._topics = Topics(settings.topic_prefix)
        self._producer: Producer | None = None
        self._agreed = Agreed()

    def agreed(self) -> Agreed:
        """What counts now, or has counted until another agent took over. Raises BrokerUnavailable."""
        if self._producer is None:
            with self._translated("taking over the decisions about models"):
                base = transactional_prefix(self._settings.topic_prefix)
                self._fencing(base)  # agents of before there were families
                producer = self._fencing(f"{base}.{self._family}")
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
                producer.produce(self._topics.model_active, models.encode_state(state), state.family.encode())
            told = status_message(self._topics, status)
            producer.produce(told.topic, told.value, told.key)
            producer.commit_transaction(self._settings.network_timeout_s)
        self._producer = producer
        decided = self._agreed.decided | ({status.command_id} if status.is_final else set())
        self._agreed = Agreed(state or self._agreed.state, decided)

    def _fencing(self, transactional_id: str) -> Producer:
        producer = made(Producer, _transactional(self._settings, transactional_id), self._settings)
        producer.init_transactions(self._settings.network_timeout_s)
        return producer

    def _read(self) -> Agreed:
        states, decided = States(), set[str]()
        for message in _to_the_end(self._settings, [self._topics.model_active, self._topics.model_status]):
            if message.topic() == self._topics.model_active:
                states.take(message.key(), message.value())
                continue
            try:
                status = models.decode_status(message.value())
            except ModelMessageUnreadable:
                continue
            if status.is_final:
                decided.add(status.command_id)
        states.say_passed_over(self._topics.model_active)
        return Agreed(states.by_family().get(self._family), frozenset(decided))

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as exc:
            error = exc.args[0]
            to_do = advice(
                error, self._settings, "/".join((self._topics.model_active, self._topics.model_status))
            )
            raise BrokerUnavailable(
                f"{what} on Kafka at {where(self._settings)}: {error.str()}; {to_do}"
            ) from exc


async def follow_states(settings: Settings, take: Callable[[ModelState], None], since: int = 0) -> None:
    """Hand on every state of every family, from the first that the topic keeps to those to come, for ever.

    Of before there were families, those below revision `since` are passed over: later ones, perhaps of
    another family, took their place.
    """
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
                state = readable(record.value)
                old = record.key == models.KEY_BEFORE_FAMILIES
                if state is not None and not (old and state.revision < since):
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


def _transactional(settings: Settings, transactional_id: str) -> Config:
    config = producer_config(settings)
    longest_ms = int(max(2 * settings.network_timeout_s, _LEAST_TRANSACTION_S) * 1000)
    return {
        **config,
        "transactional.id": transactional_id,
        "transaction.timeout.ms": longest_ms,
    }


def _to_the_end(settings: Settings, names: Sequence[str]) -> Iterator[KafkaMessage]:
    """Every committed record of these topics, up to where they end now. Raises BrokerUnavailable."""
    with Reader(settings, "reading the topics of models", {"group.id": "autodeep-models"}) as reader:
        reader.assign(reader.places(names))
        yield from reader.to_the_end()
