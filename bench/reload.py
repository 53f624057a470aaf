"""Models promoted again and again while events flow: what is lost, who judged, what it costs.

First some events flat out, all at once on the broker: what the two workers make of them is the `capacity`.
Then events flow at `rate`, half of that, and two versions of the shipped model, alike but for their digests,
are promoted in turn through the topic of model commands.

`wrong_model`, by the rule of the plain promote: each worker switches as soon as it is ready. So a verdict may
come from a model that served somewhere between the sending of its event and the broker's append of the
verdict; a model serves from its command to the moment when the last worker had left it for the next. Any
other verdict is wrong, be it of a third model or of one that all had left. (The two judge alike, so it is the
digest in the verdict that counts.)

Latency is from the sending of an event to the broker's append of its verdict. That during reloads is of
events sent from a command until half a second after the last worker's switch, since after it every window is
encoded anew; that without is of all others. `switch_s` is from a command until all workers had switched.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import reload_figures as figures
from bench.feed import send
from bench.flow import Flow, flowing
from bench.model_orders import Orders, alike, promote, switched
from bench.parts import Parts, started
from bench.pipeline import Load, mixed
from bench.reload_figures import Span, Tenure
from streams.client.replaying import Feed
from streams.embedded.workers import WorkerProcess
from streams.errors import Unavailable

WORKERS: Final = 2
FEED_EVENTS: Final = 20_000
DEVICES: Final = 2_000
ATTACK_SHARE: Final = 0.02
PAUSE_S: Final = 1.5
"""Between a switch and the next promote."""
STALLED_S: Final = 60.0
RATED: Final = (0.25, 0.9)
"""Shares of the flat-out events between which the capacity is taken: before are cold windows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` in events a second, 0 for half the capacity; `flat_out` events before, `quiet_s` without any
    promote, then `times` of them."""

    times: int
    rate: float
    flat_out: int
    quiet_s: float


@dataclass(slots=True)
class ReloadRun:
    """What happened: the models' reigns, when it was reloaded, refusals, and workers' memory after each."""

    reigns: list[Tenure]
    spans: list[Span] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    rss_kib: list[list[int]] = field(default_factory=list)


def measure(data: Path, plan: Plan) -> dict[str, Any]:
    feed = mixed(data, Load(FEED_EVENTS, DEVICES, ATTACK_SHARE))
    with tempfile.TemporaryDirectory(prefix="autodeep-bench-store-") as folder:
        digests = alike(folder, 2)
        settings = {"model_store": folder, "publish_classified": "true"}
        with started({"log.message.timestamp.type": "LogAppendTime"}, **settings) as parts:
            workers = [parts.worker(f"worker-{number}") for number in range(WORKERS)]
            for worker in workers:
                worker.wait_ready()
            capacity, flat_out = _capacity(parts, workers, feed, plan.flat_out)
            rate = plan.rate or capacity / 2
            with flowing(Flow(parts.settings, feed, rate)) as flow:
                time.sleep(plan.quiet_s)  # of which the first half is not counted: fetches settle
                course = _reload(parts, workers, digests, plan)
            drained(workers, flat_out + flow.sent)
            with Console(stderr=True).status("reading every verdict"):
                verdicts = figures.read_verdicts(parts)
    since_us = flow.since_us + int(plan.quiet_s / 2 * 1e6)
    return {
        "times": plan.times,
        "workers": WORKERS,
        "capacity": round(capacity),
        "rate": round(rate),
        "events": flat_out + flow.sent,
        "refused": len(course.refusals),
        "refusals": course.refusals,
        "lost": flat_out + flow.sent - len(verdicts),
        "wrong_model": figures.wrong(verdicts, course.reigns),
        "rss_slope_mib_per_100": figures.slope_mib(course.rss_kib),
        "rss_mib": _first_and_last(course.rss_kib),
        **figures.latencies(verdicts, course.spans, since_us),
        "switch_s": figures.percentiles([(r.served_us - r.begun_us) / 1e6 for r in course.reigns[1:]], 3),
    }


def _capacity(parts: Parts, workers: Sequence[WorkerProcess], feed: Feed, events: int) -> tuple[float, int]:
    """Events a second that the workers make of a backlog, and how many events that was."""
    sent = 0
    while sent < events:
        send(parts.settings, feed)
        sent += len(feed)
    places = [share * sent for share in RATED]
    begun, ended = (drained(workers, int(place)) for place in places)
    drained(workers, sent)
    return (ended[1] - begun[1]) / (ended[0] - begun[0]), sent


def drained(workers: Sequence[WorkerProcess], records: int) -> tuple[float, int]:
    """Wait until the workers have worked on so many records; when (s), and how many they were then.

    Raises Unavailable where they stand still.
    """
    last, last_s = -1, time.monotonic()
    while True:
        done = sum(worker.figures().get("records", 0) for worker in workers)
        now_s = time.monotonic()
        if done >= records:
            return now_s, done
        if done > last:
            last, last_s = done, now_s
        if now_s - last_s > STALLED_S:
            tails = "\n".join(worker.log_tail() for worker in workers)
            raise Unavailable(f"the workers stand at {done} of {records} records:\n{tails}")
        time.sleep(0.05)


def _reload(parts: Parts, workers: Sequence[WorkerProcess], digests: Sequence[str], plan: Plan) -> ReloadRun:
    course = ReloadRun([Tenure(digests[0], 0, 0)])
    with Orders(parts) as orders, _progress() as progress:
        for _ in progress.track(range(plan.times), description="models promoted"):
            version = "2" if course.reigns[-1].digest == digests[0] else "1"
            command = promote(version)
            orders.send(command)
            ended_us, refusal = switched(orders, command, len(workers))
            course.spans.append(Span(command.issued_at_us, ended_us))
            if refusal:
                course.refusals.append(refusal)
            else:
                digest = digests[int(version) - 1]
                course.reigns.append(Tenure(digest, command.issued_at_us, ended_us))
                course.rss_kib.append([worker.figures()["rss_kib"] for worker in workers])
            time.sleep(PAUSE_S)
    return course


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _first_and_last(rss_kib: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    if not rss_kib:
        return {}
    first, last = ([kib >> 10 for kib in row] for row in (rss_kib[0], rss_kib[-1]))
    return {"first": first, "last": last}
