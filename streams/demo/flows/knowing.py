"""What the demonstration knows of its network before it begins: a profile of the time before.

It is what `autodeep profile learn - FILE` makes of the ordinary connections that came before, and
`autodeep profile accept - all` of its proposals: whoever runs the network says that no attack was among them,
which holds here. It is written while the worker starts, and in force for what comes LEAD_US later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streams.adapters.store.models import open_store
from streams.client.flow_files import FileRecord
from streams.client.flow_verdicts import judge_of
from streams.client.homes import home_of
from streams.client.profiles import OnTopic, Place
from streams.client.site_learning import Learning
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.profile.agreed import LEAD_US
from streams.core.profile.decisions import ALL, decide
from streams.core.profile.learning import learnt
from streams.core.profile.values import UNNAMED, Profile, Word
from streams.demo.flows.trial import Running
from streams.pipeline.flow_judging import Arrived
from streams.settings import Settings

WHY: Final = "ordinary connections alone came before the demonstration"
_BLOCK: Final = 4_096
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Known:
    """The profile, and from when on it is in force, by the clock that `wait_for` is given."""

    profile: Profile
    from_s: float


def know(
    settings: Settings,
    history: Sequence[bytes],
    clock_s: Callable[[], float] = time.monotonic,
) -> Known:
    """Learn the network from what came before, judged in memory, and write it to its topic as accepted.

    Raises BrokerUnavailable, and ModelRejected as the store does.
    """
    profile = profile_of(settings, history, OnTopic(settings))
    return Known(profile, clock_s() + LEAD_US / 1e6 + 1)


def profile_of(settings: Settings, history: Sequence[bytes], place: Place) -> Profile:
    """`history`: the records that came before, as the sensor writes them."""
    detector = open_store(settings.model_store, settings.model_trust_key).load(settings.flow_model)
    learning = Learning(UNNAMED, judge_of(detector, settings))
    home, decoder = home_of(settings), FlowDecoder()
    for first in range(0, len(history), _BLOCK):
        block = [FileRecord(value, at) for at, value in enumerate(history[first : first + _BLOCK])]
        learning.take(
            [
                Arrived(first, one, flow.end_us // 1000)
                for flow in decoder.decode(block).flows
                for one in home.device_flows(flow)
            ]
        )
    learning.rest()
    identity = detector.identity
    word = Word("demo", WHY, time.time_ns() // 1000)
    model = (f"{identity.name}/{identity.version}", identity.digest)

    def change(now: Profile) -> Profile:
        after = learnt(now, learning.warm_up, model, word.at_us, word)
        return decide(after, "accept", [ALL], word) if after.proposals else after

    return place.change(UNNAMED, change)


def wait_for(
    known: Known,
    parts: Running,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Until the profile is in force. Raises Unavailable if the worker ends."""
    while clock_s() < known.from_s:
        parts.check()
        sleep(_POLL_S)
