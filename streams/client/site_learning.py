"""A site's warm-up: its flows, from files or from the topic of flows, judged in memory and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from streams.adapters.kafka.reading import Reader
from streams.client.flow_sources import FlowSource
from streams.client.flow_verdicts import Counted, arrived_of
from streams.codec import device_flows
from streams.core.flow.columns import hash_of
from streams.core.home import Home
from streams.core.profile.rules import Scores, Seen
from streams.core.profile.values import site_of
from streams.core.profile.warm_up import WarmUp
from streams.core.topics import Topics
from streams.errors import DataError
from streams.pipeline.flow_judging import TURN, Arrived, FlowJudge
from streams.settings import Settings

_MOST_PEERS: Final = 200_000


class Learning:
    """For one thread. What the judge says is counted of the site's devices, whatever it is about others."""

    def __init__(self, site: str, judge: FlowJudge) -> None:
        self.warm_up = WarmUp(site)
        self.foreign = 0
        """Flows of other sites."""
        self._judge = judge
        self._peers: dict[int, str] = {}
        judge.hear = self._hear

    def from_file(self, source: FlowSource, home: Home, counted: Counted) -> None:
        """Raises DataError and OSError as the source does."""
        for block in source.blocks():
            self.take(arrived_of(block, home, counted))

    def from_topic(self, settings: Settings, since_ms: int) -> None:
        """What the topic of flows has of that time and later. Raises BrokerUnavailable."""
        topic = Topics(settings.topic_prefix).flows
        with Reader(settings, "reading flows", {"group.id": "autodeep-profiles"}) as reader:
            reader.assign(reader.places_since([topic], since_ms))
            held: list[Arrived] = []
            for number, message in enumerate(reader.to_the_end()):
                try:
                    flow = device_flows.decode(message.value())
                except DataError:
                    continue  # a dead letter of the workers
                held.append(Arrived(number, flow, message.timestamp()[1]))
                if len(held) >= TURN:
                    self.take(held)
                    held = []
            self.take(held)

    def rest(self) -> None:
        """Nothing more comes."""
        self._judge.rest()

    def take(self, arrived: Sequence[Arrived]) -> None:
        """In the order of their arrival."""
        if len(self._peers) > _MOST_PEERS:
            self._peers.clear()
        self._peers.update({hash_of(one): one for one in {one.flow.peer for one in arrived}})
        for first in range(0, len(arrived), TURN):
            self._judge.turn(arrived[first : first + TURN])

    def _hear(self, seen: Seen, scores: Scores) -> None:
        of_site = np.array([site_of(device) == self.warm_up.site for device in seen.devices], np.bool_)
        mine = np.flatnonzero(of_site[seen.flows.device]) if len(of_site) else np.zeros(0, np.int64)
        self.foreign += len(seen.rows) - len(mine)
        self.warm_up.add(seen.at(mine), scores.at(mine), self._peers)
