"""Somebody's own captures and logs through the whole path: read, sent as a sensor would, judged, and told.

Each record leaves with the time of its flow as Kafka's timestamp, in the file's order, and not much faster
than it is judged: the broker that is started here keeps little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from streams.client.flow_files import Options
from streams.client.flow_sources import Block, FlowSource
from streams.client.flow_verdicts import NOTHING_TOLD
from streams.codec.ingest.flows import ours
from streams.core.flows import Flow
from streams.core.home import Home
from streams.demo.flows.account import Account, FileAccount, Standing
from streams.demo.play import Reader
from streams.demo.view import Reading, alerted, buried, ticked
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
    trial.expect(files)
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
        self._began_s = self._moved_s = self._asked_s = clock_s()
        self._time_ms = 0
        self._files = 0
        self._bytes_of: list[int] = []
        """Of each file as far as it was read."""
        self._bytes_in_all = 0

    def expect(self, files: Sequence[Path]) -> None:
        """These are coming: how far it is, is told by them."""
        self._files = len(files)
        self._bytes_in_all = sum(file.stat().st_size for file in files if file.is_file())

    def send(self, file: Path, options: Options, *, is_alone: bool) -> None:
        account = FileAccount(str(file))
        self.account.files.append(account)
        self._bytes_of.append(0)
        source = FlowSource(str(file), options)
        try:
            for block in source.blocks():
                flows = list(block.read.flows)
                self._note(account, block, flows)
                account.packets, self._bytes_of[-1] = source.packets, source.bytes_read
                for values, times_ms in self._pieces(block, flows):
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
        if self._clock_s() - self._asked_s > _POLL_S:
            self._ask()
        self._told()
        while self.account.lost > most:
            self._parts.check()
            self._ask()
            if self._asked_s - self._moved_s > STUCK_S:
                return
            self._listen(_POLL_S)
            self._told()

    def _ask(self) -> None:
        """How far the worker is."""
        before, self.account.standing = self.account.standing, self._parts.standing()
        self._asked_s = self._clock_s()
        if self.account.standing != before:
            self._moved_s = self._asked_s

    def _told(self) -> None:
        account = self.account
        known, judged = account.flows_of.total(), account.standing.judged
        at = ticked(account.view, self._clock_s() - self._began_s, known, judged)
        account.view = replace(at, devices=len(account.flows_of), reading=self._reading(known, judged))
        self._show(account)

    def _reading(self, known: int, judged: int) -> Reading:
        files, before = self.account.files, self.account.view.reading or Reading()
        done = min(judged / known, 1.0) if known else 1.0
        share = sum(self._bytes_of) / self._bytes_in_all * done if self._bytes_in_all else done
        return Reading(
            Path(files[-1].name).name if files else "",
            len(files),
            self._files,
            max(before.share, min(share, 1.0)),
            sum(one.flows for one in files),
            sum(one.foreign + one.skipped.total() + one.rejected.total() for one in files),
        )

    def _listen(self, wait_s: float) -> bool:
        heard, account = self._parts.reader.poll(wait_s), self.account
        account.view = buried(alerted(account.view, heard.alerts), heard.dead_letters)
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

    def _note(self, account: FileAccount, block: Block, flows: Sequence[Flow]) -> None:
        account.records += len(block.records)
        account.skipped.update(one.reason for one in block.read.skipped)
        account.rejected.update(str(one.reason) for one in block.read.rejected)
        account.dialects.update(block.read.flows.dialect.to_list())
        account.flows += len(flows)
        for flow in flows:
            mine = self._home.devices(flow)
            account.foreign += not mine
            for device in mine:
                self.account.flows_of[device] += 1
        if flows:
            first_us = min(flow.start_us for flow in flows)
            self.account.first_us = min(self.account.first_us or first_us, first_us)
            self.account.last_us = max(self.account.last_us, *(flow.end_us for flow in flows))

    def _pieces(self, block: Block, flows: Sequence[Flow]) -> Iterator[tuple[list[bytes], list[int]]]:
        """What is sent of a block, some at a time, with its times."""
        found = list(self._messages(block, flows))
        for first in range(0, len(found), _PIECE):
            piece = found[first : first + _PIECE]
            yield [value for value, _ in piece], [time_ms for _, time_ms in piece]

    def _messages(self, block: Block, flows: Sequence[Flow]) -> Iterator[tuple[bytes, int]]:
        """Rows of a table, which say nothing without its header, leave as our own records."""
        of_record: dict[int, list[Flow]] = {}
        for place, flow in zip(block.read.flows.position.tolist(), flows, strict=True):
            of_record.setdefault(place, []).append(flow)
        for place, record in enumerate(block.records):
            mine = of_record.get(place, [])
            self._time_ms = mine[0].end_us // 1000 if mine else self._time_ms
            if record.header is not None:
                yield from ((ours.encode(flow), self._time_ms) for flow in mine)
            else:
                yield record.value or b"", self._time_ms
