"""The composition root: settings in, a running worker out.

Faust brings the group, the rebalances, the commits and the web server; what becomes of a record is a
processor's, and the order of things is the conveyor's.
"""

from __future__ import annotations

import logging
import logging.config
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, NoReturn, Protocol

import faust
import torch

from streams.adapters.certificates import files_of, first_ends_s
from streams.adapters.kafka.client import lacking, where
from streams.adapters.kafka.consumer_thread import Wishes
from streams.adapters.kafka.faust_app import app_settings, chunk_topic
from streams.adapters.kafka.model_topics import follow_states
from streams.adapters.kafka.offsets import PartitionOffsets, Standing
from streams.adapters.kafka.topics import TopicIds
from streams.adapters.kafka.transport import ChunkedApp, Chunks, RebalanceBegins
from streams.adapters.store.models import open_store
from streams.codec.models import ModelState
from streams.core.events import Partition, Source
from streams.core.topics import Topics
from streams.errors import Unavailable
from streams.pipeline.conveyor import Conveyor, Ends, Pace, Processor
from streams.rollout.agent import Agents
from streams.rollout.commands import Commands
from streams.settings import Settings
from streams.worker.flows import build_rekeying
from streams.worker.health import Health
from streams.worker.models import Admissions, WorkerModels
from streams.worker.pages import add_pages, bound, serve_at
from streams.worker.path import Said, connect, waiting
from streams.worker.probes import Probe
from streams.worker.process import (
    WorkerShell,
    closed_then_ended,
    ending,
    log_config,
    share_the_lock,
    spare_what_stays,
    start_watch,
)
from streams.worker.served import LAYOUT, begins, followed, serve
from streams.worker.telling import start_telling

log: Final = logging.getLogger("autodeep")


def run_worker(settings: Settings, log_level: str) -> NoReturn:
    """Check that everything is there, then classify until a signal comes; ends the process."""
    logging.config.dictConfig(log_config(log_level))
    with closed_then_ended(), ExitStack() as parts:
        web = bound(settings)
        torch.set_num_threads(settings.torch_threads)
        store = open_store(settings.model_store, settings.model_trust_key)
        judged, health = begins(settings, store), Health()
        rekeying = build_rekeying(settings, health, parts, log.warning)
        ground = connect(settings, LAYOUT, health, parts)
        served = [serve(one, ground, store, parts) for one in judged]
        admissions, models = Admissions([one.admission for one in served]), followed(served)
        watched: list[Processor[Any]] = [*(one.detection for one in served), *rekeying]
        app, stop_intake = create_app(
            settings, health, admissions, watched, _commands(settings, admissions, models)
        )
        _follow(app, settings, models)
        serve_at(app, web, settings)
        add_pages(app, health, served)
        health.why_held = lambda: admissions.reason
        health.certificate_ends_s = lambda: first_ends_s(files_of(settings))
        start_watch(health, settings)
        for probe in health.probes:
            probe.start(health.wait)
        start_telling(settings, health, served, parts)
        shell = WorkerShell(app, health, stop_intake, settings.stop_timeout_s, log_level)
        spare_what_stays()
        share_the_lock()
        shell.execute_from_commandline()
    raise SystemExit(0)


def _commands(
    settings: Settings, admissions: Admissions, models: Sequence[WorkerModels]
) -> list[Processor[Any]]:
    if not models:
        return []
    agents = Agents({one.follower.family: one.agent for one in models})
    return [Commands(Topics(settings.topic_prefix).model_commands, agents, lambda: admissions.pause(0))]


def _follow(app: faust.App, settings: Settings, models: Sequence[WorkerModels]) -> None:
    """Each family's follower hears of all states, and passes over those of others."""
    if not models:
        return

    def offer(state: ModelState) -> None:
        for one in models:
            one.follower.offer(state)

    app.task(lambda: follow_states(settings, offer, models[0].since))


class Held(Protocol):
    """What decides whether turns may begin."""

    def assigned(self) -> None: ...
    def leave(self) -> None: ...
    def stop(self) -> None: ...


def create_app(
    settings: Settings,
    health: Health,
    admission: Held,
    processors: Sequence[Processor[Any]],
    unwatched: Sequence[Processor[Any]] = (),
) -> tuple[faust.App, Callable[[], None]]:
    """A Faust app that runs these processors, each on a conveyor of its own; and what begins nothing more.

    Health does not watch those whose turns may take as long as people do.
    """
    linger_s = settings.linger_ms / 1000
    wishes = Wishes(
        ask_topic_id=_asking_topic_ids(TopicIds(settings), health),
        note_read=health.note_read,
        note_lacking=_note_lacking(settings, health),
        note_lost=lambda loss: health.totals.note_lost(loss.reason, loss.records),
        linger_s=linger_s,
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
    )
    app = ChunkedApp(settings.group, wishes, **app_settings(settings))
    pace = Pace(linger_s, settings.chunk_max_records)
    held: dict[str, frozenset[Partition]] = {}
    conveyors = [
        Conveyor(one, _ends(app, one.topic, held), pace, ending=lambda: ending("turn"))
        for one in (*processors, *unwatched)
    ]
    for conveyor in conveyors:
        _add_agent(app, conveyor, health)
    watched = frozenset(one.topic for one in processors)
    _add_hooks(app, conveyors, watched, health, admission)
    app.task(health.beat)
    health.watch(conveyors[: len(processors)])

    def standings() -> Mapping[Partition, Standing]:
        found: Mapping[Partition, Standing] = app.consumer.standings()  # it is made when the app starts
        return found

    health.standings.of_consumer = standings
    health.probes.append(Probe(f"Kafka at {where(settings)}", _ask_kafka(settings, health)))

    def stop_intake() -> None:
        admission.stop()
        for conveyor in conveyors:
            conveyor.stop()

    return app, stop_intake


def _asking_topic_ids(
    topic_ids: Callable[[str], uuid.UUID], health: Health
) -> Callable[[str, Callable[[], bool]], uuid.UUID]:
    def ask(topic: str, is_over: Callable[[], bool]) -> uuid.UUID:
        try:
            return waiting(health, is_over)(lambda: topic_ids(topic))
        except Unavailable:
            health.note_away(None)  # nobody waits for it any more
            raise

    return ask


def _note_lacking(settings: Settings, health: Health) -> Callable[[Sequence[str]], None]:
    said = Said()

    def note(rights: Sequence[str]) -> None:
        problem = lacking(settings, rights) if rights else None
        said(problem)
        health.note_away(problem)

    return note


def _ask_kafka(settings: Settings, health: Health) -> Callable[[], None]:
    """Whether it answers, by the question where the worker's partitions stand."""
    offsets = PartitionOffsets(settings)

    def ask() -> None:
        health.standings.note_offsets(offsets(health.partitions))
        line = health.standings.unfetched()
        if line is not None:
            log.warning("%s", line)

    return ask


def _ends(app: faust.App, topic: str, held: dict[str, frozenset[Partition]]) -> Ends:
    """Of one topic's conveyor; `held` is shared by all. The consumer is made when the app starts."""

    def acknowledge(source: Source, through: int, watermark_ms: int | None) -> None:
        app.consumer.acknowledge(source, through, watermark_ms)

    def give_up(source: Source, first: int) -> None:
        app.consumer.give_up(source, first)

    def hold(partitions: frozenset[Partition]) -> None:
        held[topic] = partitions
        app.consumer.hold(frozenset[Partition]().union(*held.values()))

    return Ends(acknowledge, give_up, hold)


def _add_agent(app: faust.App, conveyor: Conveyor[Any], health: Health) -> None:
    async def take(stream: faust.StreamT[Chunks]) -> None:
        """Hands on what arrives; the conveyor acknowledges it."""
        async for chunks in stream.noack():
            health.note_chunks(chunks)
            conveyor.put(chunks)

    topic = conveyor.processor.topic
    app.agent(chunk_topic(app, topic), name=topic)(take)
    app.task(conveyor.run)


def _add_hooks(
    app: faust.App,
    conveyors: Sequence[Conveyor[Any]],
    watched: frozenset[str],
    health: Health,
    admission: Held,
) -> None:
    def rebalance_begins() -> None:
        admission.leave()
        for conveyor in conveyors:
            app.loop.call_soon_threadsafe(conveyor.rebalance_begins)

    held = frozenset[Partition]()

    async def revoked(sender: Any, revoked: Any = (), **kwargs: Any) -> None:
        nonlocal held
        for conveyor in conveyors:
            await conveyor.revoked(_of(conveyor, held))
        held = frozenset()
        health.revoked()

    async def assigned(sender: Any, assigned: Any = (), **kwargs: Any) -> None:
        nonlocal held
        held = partitions = frozenset((tp.topic, tp.partition) for tp in assigned)
        admission.assigned()
        for conveyor in conveyors:
            mine = _of(conveyor, partitions)
            numbers = sorted(number for _, number in mine)
            log.info("partitions of %s: %s", conveyor.processor.topic, numbers or "none")
            conveyor.assigned(mine)
        health.assigned(frozenset(place for place in partitions if place[0] in watched))

    app.sensors.add(RebalanceBegins(rebalance_begins))
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)


def _of(conveyor: Conveyor[Any], partitions: frozenset[Partition]) -> frozenset[Partition]:
    return frozenset(place for place in partitions if place[0] == conveyor.processor.topic)
