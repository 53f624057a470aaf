"""Sensors beside the devices of a schedule: Zeek's records without keys, and a judge of what is said of them.

What strikes the workers and their servers strikes this way, too. The judge reads the topics itself: each
record's flows must stand on ids.flows as they are in memory, and each flow's verdict must be that of the same
rules in memory, over all that lies in its partition of ids.flows. Where Redis lost its data and nothing is
rebuilt, states begin anew: then all that is asked is that each flow has a verdict.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from bench.faults.case import Broken, Law
from bench.faults.servers import FLOW_MODEL, Servers
from bench.flows_offline import by_partition, said_of
from bench.flows_parity import rekeyed_in_memory
from bench.output import to_the_end
from bench.parity import Said
from streams.adapters.kafka.client import LOG, producer_config
from streams.adapters.kafka.topics import topic_id
from streams.adapters.store.models import open_store
from streams.codec.output.alerts import decode_alert
from streams.core.events import Source
from streams.errors import BrokerUnavailable
from streams.settings import Settings

RECORDS_PER_S: Final = 60.0
DEVICES: Final = 12
_REPEATED: Final = 0.15
_NAMED: Final = 5
_STEP_S: Final = 0.02
_FLUSH_S: Final = 120.0


class Sensors:
    """Sends at a rate; past the proxies, idempotent, and it never gives up."""

    def __init__(self, settings: Settings, topic: str, seconds: float, seed: int) -> None:
        self.sent = 0
        self._topic = topic
        self._rng = random.Random(seed)
        self._count = int(seconds * RECORDS_PER_S)
        self._last: dict[str, Any] = {}
        self._error: BaseException | None = None
        config = {**producer_config(settings), "message.timeout.ms": 0}
        del config["delivery.timeout.ms"]
        self._producer = Producer(config, logger=LOG)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """In a thread of its own; at the end everything is acknowledged."""
        thread = threading.Thread(target=self._run, name="sensors")
        thread.start()
        try:
            yield
        finally:
            thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._send()
        except BaseException as exc:
            self._error = exc
            raise

    def _send(self) -> None:
        begun_s = time.monotonic()
        while self.sent < self._count:
            time.sleep(_STEP_S)
            due = min(int((time.monotonic() - begun_s) * RECORDS_PER_S), self._count)
            for number in range(self.sent, due):
                self._producer.produce(self._topic, self._record(number), on_delivery=self._told)
            self.sent = due
            self._producer.poll(0)
        if self._producer.flush(_FLUSH_S):
            raise BrokerUnavailable(f"sensors' records were not acknowledged within {_FLUSH_S:g} s")

    def _told(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._error is None:
            self._error = BrokerUnavailable(f"a sensor's record was not taken: {error.str()}")

    def _record(self, number: int) -> bytes:
        """A connection of now, or the last one again, by another name."""
        rng = self._rng
        if self._last and rng.random() < _REPEATED:
            return json.dumps({**self._last, "uid": f"R{number}"}).encode()
        packets = rng.randrange(1, 9), rng.randrange(9)
        self._last = {
            "ts": time.time() - rng.random() * 5,
            "uid": f"C{number}",
            "id.orig_h": f"192.168.5.{rng.randrange(DEVICES) + 1}",
            "id.orig_p": 30_000 + number % 20_000,
            "id.resp_h": f"198.51.100.{rng.randrange(40) + 1}",
            "id.resp_p": rng.choice([23, 80, 443, 1883]),
            "proto": "tcp",
            "duration": rng.random() * 3,
            "conn_state": rng.choice(["SF", "S0", "REJ"]),
            "missed_bytes": 0,
            "orig_pkts": packets[0],
            "orig_ip_bytes": packets[0] * 60,
            "resp_pkts": packets[1],
            "resp_ip_bytes": packets[1] * 80,
        }
        return json.dumps(self._last).encode()


def judge_sensors(servers: Servers, sent: int, *, may_begin_anew: bool) -> list[Broken]:
    """What is broken, once the group is done."""
    settings, topics = servers.settings, servers.topics
    records = by_partition(to_the_end(servers, [topics.sensors]))
    there = sum(map(len, records.values()))
    broken = [Broken(Law.LOST, f"{sent - there} sensors' records")] if there < sent else []
    messages = list(to_the_end(servers, [topics.flows]))
    lying = {(one.key(), one.value()) for one in messages}
    wanted = {(one.key, one.value) for one in rekeyed_in_memory(settings, topics.sensors, records)}
    broken += _told(Law.LOST, "flow", [str(value) for _, value in wanted - lying])
    broken += _told(Law.EXTRA, "flow", [str(value) for _, value in lying - wanted])
    detector = open_store(settings.model_store).load(FLOW_MODEL)
    life, expected = topic_id(settings, topics.flows), dict[str, Said]()
    for number, flows in by_partition(messages).items():
        expected |= said_of(Source(topics.flows, life, number), flows, lambda offset: detector)
    found, differing = _found(servers)
    broken += _told(Law.LOST, "verdict on flow", sorted(expected.keys() - found.keys()))
    if may_begin_anew:
        return broken
    broken += _told(Law.DIFFERING, "verdict on flow", differing)
    broken += _told(Law.EXTRA, "verdict on flow", sorted(found.keys() - expected.keys()))
    pairs = [(at, said, expected.get(at, said)) for at, said in found.items()]
    wrong = [f"{at}: {said}, not {right}" for at, said, right in pairs if said != right]
    return broken + _told(Law.WRONG_VERDICT, "verdict on flow", wrong)


def _found(servers: Servers) -> tuple[dict[str, Said], list[str]]:
    """By alert's id, and those that were said in two ways."""
    found: dict[str, Said] = {}
    differing = []
    for message in to_the_end(servers, [servers.topics.classified]):
        alert = decode_alert(message.value(), message.headers())
        said = Said.by(alert)
        if alert.topic == servers.topics.flows and found.setdefault(alert.alert_id, said) != said:
            differing.append(alert.alert_id)
    return found, differing


def _told(law: Law, what: str, which: Sequence[str]) -> list[Broken]:
    return [Broken(law, f"{what} {one[:200]}") for one in which[:_NAMED]] + [
        Broken(law, f"{len(which) - _NAMED} more of {what}") for _ in range(len(which) > _NAMED)
    ]
