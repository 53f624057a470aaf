"""A made-up site: devices that talk at home and outside, one of them infected; and a judge of its flows.

The judge is no model: it scores by the windows' failures, as one does that was trained, and knows nothing
of the site.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from streams.core.flow.columns import hash_of
from streams.core.flow.features import advance
from streams.core.flow.records import Record, flows_of
from streams.core.flow.state import blank
from streams.core.flow.table import FLOW
from streams.core.flows import State
from streams.core.profile.rules import Scores, Seen
from tests.core.flow.drawn import START_US, record

NAMES = ("normal", "probe", "c2", "dos", "r2l", "novel")
DIGEST = "d" * 64
MODEL = ("flows/1", DIGEST)
DEVICES = ["home/192.168.1.10", "home/192.168.1.11", "home/192.168.1.12"]
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
PEERS = {hash_of(one): one for one in ("192.168.1.2", "203.0.113.9", "198.51.100.7")}
LAN, CLOUD, MASTER = PEERS
Peer = tuple[int, int, int]
"""Hash of its address, its kind, and the port."""


@dataclass(frozen=True)
class Day:
    """Records in arrival order, and what each is in truth."""

    records: list[Record]
    truth: list[str]


def day(seed: int, hours: float, attacks_from_us: int | None) -> Day:
    """Every device polls a private hub and a public cloud; the first one keeps calling its master in vain,
    and scans at the full hour, from `attacks_from_us` after the start on (None: never).
    """
    rng = random.Random(seed)
    made: list[tuple[int, Record, str]] = []
    for device in range(len(DEVICES)):
        for peer, kind, port, every_s in ((LAN, 1, 8554, 30), (CLOUD, 0, 443, 60)):
            at_us = rng.randrange(every_s) * SECOND_US
            while at_us < hours * HOUR_US:
                one = _flow(len(made), device, (peer, kind, port), at_us)
                made.append((at_us, one, "normal"))
                at_us += every_s * SECOND_US + rng.randrange(SECOND_US)
    if attacks_from_us is not None:
        made += _attacks(attacks_from_us, hours, len(made))
    made.sort(key=lambda one: one[0])
    return Day([one for _, one, _ in made], [truth for _, _, truth in made])


def _attacks(from_us: int, hours: float, number: int) -> list[tuple[int, Record, str]]:
    made: list[tuple[int, Record, str]] = []
    for at_us in range(from_us, int(hours * HOUR_US), 20 * SECOND_US):
        one = _flow(number + len(made), 0, (MASTER, 0, 4975), at_us, refused=True)
        made.append((at_us, one, "c2"))
    for hour in range(int(hours)):
        for target in range(60):
            at_us = from_us + hour * HOUR_US + target * 50_000
            one = _flow(number + len(made), 0, (1_000 + target, 0, 23), at_us, refused=True)
            made.append((at_us, one, "probe"))
    return made


def _flow(number: int, device: int, peer: Peer, at_us: int, *, refused: bool = False) -> Record:
    address, kind, port = peer
    return record(
        device=device,
        peer=address,
        peer_kind=kind,
        direction=2 if kind == 1 else 0,
        peer_port=port,
        device_port=40_000 + number % 20_000,
        start_us=START_US + at_us,
        end_us=START_US + at_us + 10_000,
        identity=number + 1,
        state=int(State.REFUSED if refused else State.ANSWERED),
        packets_out=1 if refused else 10,
        packets_in=1 if refused else 12,
        ip_bytes_out=40 if refused else 900,
        ip_bytes_in=40 if refused else 4_000,
    )


def judged(of: Day, doubtful: bool = True) -> tuple[Seen, Scores, np.ndarray]:
    """The whole day in one turn, with the truth of each flow; `doubtful`: clean flows score now and then."""
    step = advance(blank(len(DEVICES)), flows_of(of.records))
    seen = Seen(DEVICES, step.flows, step.rows, step.age_ms)
    return seen, scored(seen, doubtful), np.array(of.truth)[step.record]


def scored(seen: Seen, doubtful: bool = True) -> Scores:
    def column(name: str) -> np.ndarray:
        return np.asarray(seen.rows["numbers"][:, FLOW.numeric_names.index(name)])

    failing, streak = column("last_failing_peers_on_port"), column("fail_streak")
    posterior = np.full((len(seen.rows), 5), 0.01, np.float32)
    posterior[:, 1] = np.clip(failing / 10, 0.01, 0.98)
    posterior[:, 2] = np.where(streak > 0, np.clip(0.5 + streak / 20, 0.01, 0.9), 0.01)
    if doubtful:  # about one clean flow in ten looks like c2
        odd = seen.flows.device_port % 10 == 0
        posterior[odd & (streak == 0), 2] = 0.6
    posterior[:, 0] = 0.4
    verdict = posterior.argmax(1).astype(np.int64)
    return Scores(NAMES, verdict, posterior, np.full(len(seen.rows), 0.2, np.float32), DIGEST)
