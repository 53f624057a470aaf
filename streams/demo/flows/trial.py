"""Somebody's own captures and logs through the whole path: read, sent as a sensor would, judged, and told.

Each record leaves with the time of its flow as Kafka's timestamp, in the file's order, and not much faster
than it is judged: the broker that is started here keeps little.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from streams.client.flow_files import Options
from streams.client.flow_sources import Block, FlowSource
from streams.client.flow_verdicts import NOTHING_TOLD, Told
from streams.codec.ingest.flows import ours
from streams.core.flows import Flow
from streams.core.home import Home
from streams.core.incidents import Incident
from streams.demo.play import Reader
from streams.errors import DataError

UNDER_WAY: Final = 16_384
"""Most records that were sent and are not judged yet."""
_PIECE: Final = 1_024
_KEY: Final = "file"
"""All records go to one partition: what a file has in order stays so."""
_POLL_S: Final = 0.1
_QUIET_S: Final = 1.0
STUCK_S: Final = 60.0
"""Without progress for so long, what was not judged counts as lost."""


class Sender(Protocol):
    def queue(
        self, keys: list[str | None], values: list[bytes], timestamps_ms: list[int] | None = None
    ) -> None: ...
    def finish(self) -> None: ...


class Running(Protocol):
    """The running parts: records of sensors go in, verdicts come out."""

    @property
    def sender(self) -> Sender: ...
    @property
    def reader(self) -> Reader: ...
    def check(self) -> None:
        """Raise Unavailable if the worker has ended."""


class Parts(Running, Protocol):
    """And how far the worker is can be asked."""

    def standing(self) -> Standing: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the worker is: records of sensors read, records of devices written of them, and taken in."""

    read: int = 0
    written: int = 0
    judged: int = 0
    verdicts: int = 0
    repeats: int = 0
    """Of what another record had told."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Verdicts that do not alert, by why."""


@dataclass(slots=True)
class FileAccount:
    """What a file held."""

    name: str
    records: int = 0
    flows: int = 0
    foreign: int = 0
    """Flows without an end at home."""
    packets: int = 0
    dialects: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    damage: str = ""
    """Why it, or the rest of it, could not be read."""


@dataclass(slots=True)
class Account:
    """What came of all of it."""

    files: list[FileAccount] = field(default_factory=list)
    flows_of: Counter[str] = field(default_factory=Counter)
    """Events by device."""
    alerts: Counter[str] = field(default_factory=Counter)
    """By class."""
    alerts_of: Counter[str] = field(default_factory=Counter)
    """By device."""
    alone: int = 0
    """Alerts of no incident."""
    incidents: dict[str, Incident] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    """Incidents by their alerts: their own records say how many there were at their time."""
    sent: int = 0
    standing: Standing = Standing()
    dead_letters: int = 0
    seconds: float = 0.0
    first_us: int = 0
    last_us: int = 0
    interrupted: bool = False

    @property
    def lost(self) -> int:
        """Records and flows that came to no end."""
        return self.sent - self.standing.read + self.standing.written - self.standing.judged


def files_in(path: Path) -> list[Path]:
    """A file, or all of a folder, by name; raises DataError where there is none."""
    if not path.is_dir():
        return [path]
    found = sorted(
        one
        for one in path.rglob("*")
        if one.is_file() and not any(part.startswith(".") for part in one.relative_to(path).parts)
    )
    if not found:
        raise DataError(f"{path} is an empty folder; give a capture, a conn.log or an eve.json")
    return found


def tried(
    parts: Parts,
    files: Sequence[Path],
    home: Home,
    options: Options,
    show: Callable[[Account], None],
    clock_s: Callable[[], float] = time.monotonic,
) -> Account:
    """Send all files' records, and return when they are judged, or nothing moves any more.

    `show` gets the account several times a second. Ctrl-C ends it early. Raises DataError where the only file
    cannot be read, BrokerUnavailable, and Unavailable if the worker ends.
    """
    trial = _Trial(parts, home, show, clock_s)
    began_s = clock_s()
    try:
        for file in files:
            trial.send(file, options, is_alone=len(files) == 1)
        trial.settle()
    except KeyboardInterrupt:
        trial.account.interrupted = True
    trial.account.seconds = clock_s() - began_s
    return trial.account


class _Trial:
    def __init__(
        self, parts: Parts, home: Home, show: Callable[[Account], None], clock_s: Callable[[], float]
    ) -> None:
        self.account = Account()
        self._parts = parts
        self._home = home
        self._show = show
        self._clock_s = clock_s
        self._moved_s = clock_s()
        self._time_ms = 0

    def send(self, file: Path, options: Options, *, is_alone: bool) -> None:
        account = FileAccount(str(file))
        self.account.files.append(account)
        source = FlowSource(str(file), options)
        try:
            for block in source.blocks():
                self._note(account, block)
                account.packets = source.packets
                for values, times_ms in self._pieces(block):
                    self._parts.sender.queue([_KEY] * len(values), values, times_ms)
                    self.account.sent += len(values)
                    self._wait(UNDER_WAY)
            account.damage = source.damage
        except (DataError, OSError) as exc:
            if is_alone:
                raise
            account.damage = getattr(exc, "strerror", None) or str(exc)

    def settle(self) -> None:
        self._parts.sender.finish()
        self._wait(0)
        quiet_since_s = self._clock_s()
        while self._clock_s() - quiet_since_s < _QUIET_S:
            if self._listen(_POLL_S):
                quiet_since_s = self._clock_s()

    def _wait(self, most: int) -> None:
        """Until no more than so many are under way."""
        self._listen(0.0)
        self._show(self.account)
        while self.account.lost > most:
            self._parts.check()
            before = self.account.standing
            self.account.standing = self._parts.standing()
            if self.account.standing != before:
                self._moved_s = self._clock_s()
            elif self._clock_s() - self._moved_s > STUCK_S:
                return
            self._listen(_POLL_S)
            self._show(self.account)

    def _listen(self, wait_s: float) -> bool:
        heard, account = self._parts.reader.poll(wait_s), self.account
        for alert in heard.alerts:
            account.alerts[alert.verdict] += 1
            account.alerts_of[alert.device_id] += 1
            if alert.incident_id is None:
                account.alone += 1
            else:
                before = account.told.get(alert.incident_id, NOTHING_TOLD)
                account.told[alert.incident_id] = before.with_one(alert.event_time_us)
        for one in heard.incidents:
            account.incidents[one.incident_id] = one
        account.dead_letters += heard.dead_letters
        return bool(heard.alerts or heard.incidents or heard.dead_letters)

    def _note(self, account: FileAccount, block: Block) -> None:
        account.records += len(block.records)
        account.skipped.update(one.reason for one in block.read.skipped)
        account.rejected.update(str(one.reason) for one in block.read.rejected)
        account.dialects.update(block.read.flows.dialect.to_list())
        for flow in block.read.flows:
            mine = self._home.device_flows(flow)
            account.flows += 1
            account.foreign += not mine
            self.account.flows_of.update(one.device for one in mine)
            self.account.first_us = min(self.account.first_us or flow.start_us, flow.start_us)
            self.account.last_us = max(self.account.last_us, flow.end_us)

    def _pieces(self, block: Block) -> Iterator[tuple[list[bytes], list[int]]]:
        """What is sent of a block, some at a time, with its times."""
        found = list(self._messages(block))
        for first in range(0, len(found), _PIECE):
            piece = found[first : first + _PIECE]
            yield [value for value, _ in piece], [time_ms for _, time_ms in piece]

    def _messages(self, block: Block) -> Iterator[tuple[bytes, int]]:
        """Rows of a table, which say nothing without its header, leave as our own records."""
        flows: dict[int, list[Flow]] = {}
        for place, flow in zip(block.read.flows.position.tolist(), block.read.flows, strict=True):
            flows.setdefault(place, []).append(flow)
        for place, record in enumerate(block.records):
            mine = flows.get(place, [])
            self._time_ms = mine[0].end_us // 1000 if mine else self._time_ms
            if record.header is not None:
                yield from ((ours.encode(flow), self._time_ms) for flow in mine)
            else:
                yield record.value or b"", self._time_ms


def standing_of(figures: Mapping[str, Any]) -> Standing:
    """From a worker's figures."""
    topics = figures.get("flows", {}).values()
    return Standing(
        read=sum(one["records"] for one in topics),
        written=sum(sum(one["flows"].values()) for one in topics),
        judged=figures.get("records", 0),
        verdicts=figures.get("classified", 0),
        repeats=figures.get("duplicates", 0),
        held={name: count for name, count in figures.get("held_back", {}).items() if count},
    )
