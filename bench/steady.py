"""Events at an even pace, from a process of their own, so that sending does not disturb what is measured.

    python -m bench.steady POOL RATE:SECONDS [RATE:SECONDS ...]

The settings are a worker's, from the environment. POOL is a file of values encoded beforehand, sent in turn:
only the time of sending is written into each, as its event time. Up to 1,000 events a second every event has
a moment of its own; beyond, there is a step each millisecond. A line of JSON on stdout says when a phase
begins or the last one ends, and how many events had been sent by then. SIGTERM ends the sending; leaving
waits until all is on the broker.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from confluent_kafka import KafkaError, Message, Producer

from bench.feed import START_US
from streams.adapters.kafka.client import LOG, producer_config
from streams.adapters.kafka.telemetry import PARTITIONER
from streams.client.replaying import Feed, device_name
from streams.codec.ingest.connections import encode_connections
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable, Unavailable
from streams.settings import PREFIX, Settings

STEP_S: Final = 0.001
_AT_ONCE: Final = 1000
"""Most events between two looks at the clock, where the sender is late."""
_FLUSH_S: Final = 60.0
_END_S: Final = _FLUSH_S + 10.0


class Phase(NamedTuple):
    events_per_s: float
    seconds: float


class Prepared(NamedTuple):
    """A record but for its event time, whose bytes come between `head` and `tail`."""

    key: bytes
    head: bytes
    tail: bytes

    def at(self, stamp: bytes) -> bytes:
        return b"".join((self.head, stamp, self.tail))


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment between two phases, and how many events had been sent by then."""

    at_us: int
    sent: int


def varint(number: int) -> bytes:
    """A whole number that is not negative, as Avro's long."""
    number <<= 1
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def write_pool(path: Path, feed: Feed) -> None:
    names = [device_name(number) for number in feed.device.tolist()]
    stamp = varint(START_US)
    with path.open("w", encoding="ascii") as out:
        for name, value in zip(
            names, encode_connections(KDD99, names, [START_US] * len(feed), feed.rows), strict=True
        ):
            head, _, tail = value.partition(stamp)
            out.write(f"{name} {head.hex()} {tail.hex()}\n")


def read_pool(path: Path) -> list[Prepared]:
    with path.open(encoding="ascii") as lines:
        parts = (line.split() for line in lines)
        return [
            Prepared(name.encode(), bytes.fromhex(head), bytes.fromhex(tail)) for name, head, tail in parts
        ]


def pace(
    phases: Sequence[Phase],
    send: Callable[[int], None],
    begun: Callable[[], None],
    sleep: Callable[[float], bool],
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """Call `send` with how many events are due, evenly; `begun` at each phase's start and at the last's end.

    `sleep` says True where the sending is to end.
    """
    told = False
    for rate, seconds in phases:
        begun()
        start_s, done, most = clock_s(), 0, round(rate * seconds)
        step = max(int(rate * STEP_S), 1)
        while not told and (elapsed_s := clock_s() - start_s) < seconds:
            due = min(int(elapsed_s * rate) + 1, most, done + _AT_ONCE)  # event i is due at i / rate
            if due > done:
                send(due - done)
                done = due
            next_s = (done + step - 1) / rate if done < most else seconds
            told = sleep(max(next_s - (clock_s() - start_s), 0.0))
    begun()


class Sender:
    """The sending process. Leaving the context ends it; `finish` waits for what it still has to send."""

    def __init__(self, environment: Mapping[str, str], pool: Path, phases: Sequence[Phase]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        texts = [f"{phase.events_per_s}:{phase.seconds}" for phase in phases]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.steady", str(pool), *texts],
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def mark(self) -> Mark:
        """The next mark, once it has come. Raises Unavailable where the process ended before."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable(f"the sender ended with exit code {self._process.wait()}")
        return Mark(**json.loads(line))

    def stop(self) -> None:
        """Send no more; the marks of phases that did not come follow at once."""
        self._process.send_signal(signal.SIGTERM)

    def finish(self) -> None:
        """Return once all that was sent is on the broker. Raises Unavailable where it is not."""
        code = self._process.wait(_END_S)
        if code:
            raise Unavailable(f"the sender ended with exit code {code}")


class _Records:
    """Puts records of the pool, in turn, on the topic."""

    def __init__(self, settings: Settings, pool: Sequence[Prepared]) -> None:
        self.sent = 0
        self._topic = Topics(settings.topic_prefix).telemetry
        self._producer = Producer({**producer_config(settings), "partitioner": PARTITIONER}, logger=LOG)
        self._records: Iterator[Prepared] = cycle(pool)
        self._error: KafkaError | None = None

    def send(self, count: int) -> None:
        stamp = varint(time.time_ns() // 1000)
        for record in islice(self._records, count):
            while True:
                try:
                    self._producer.produce(self._topic, record.at(stamp), record.key, on_delivery=self._told)
                except BufferError:
                    self._producer.poll(0.01)
                else:
                    break
        self.sent += count
        self._producer.poll(0)

    def say(self) -> None:
        print(json.dumps({"at_us": time.time_ns() // 1000, "sent": self.sent}), flush=True)

    def finish(self) -> None:
        left = self._producer.flush(_FLUSH_S)
        if left or self._error is not None:
            raise BrokerUnavailable(f"not all was taken: {self._error or f'{left} are left'}")

    def _told(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = error


def main(pool: str, *phases: str) -> None:
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: over.set())
    records = _Records(Settings.from_environment(os.environ), read_pool(Path(pool)))
    asked = [Phase(*map(float, text.split(":"))) for text in phases]
    pace(asked, records.send, records.say, over.wait)
    records.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
