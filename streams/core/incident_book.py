"""One partition's incidents: what a turn's alerts and its time make of them. No I/O.

    record      7        8        9                10
    closes      -        A        B                -          one at most each, the one due longest
    alert       A opens  -        -                A again

A record first closes the incident that has been due longest, if there is one, then its own alert counts. So a
record causes at most one closing, and however many end in one moment, a turn's output stays in proportion to
its records. All of it follows from records and offsets: whatever the turns, the same revisions come of them.

Each device's standings are kept packed, as they are stored. A device has one entry in the queue, never later
than what it is due for; an entry that is too early is put back where it belongs.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from streams.core.alerts import event_ids, incident_id_of, offset_of, order_of
from streams.core.events import Chunk, Source
from streams.core.incident_rules import (
    IncidentRules,
    Standing,
    Status,
    close,
    pack,
    take,
    unpack,
    untold,
)
from streams.core.incidents import Activity, Incident, IncidentDraft
from streams.core.severity import Severity
from streams.core.sightings import Index, Moments, Sightings

_MOST_IDS: Final = 4096
"""Ids of incidents that are remembered from turn to turn."""
_MOST_UNPACKED: Final = 2048
"""Devices whose standings stay unpacked from turn to turn: a flood is of the same ones."""
_MANY: Final = 8
"""Alerts of one device and class from which on they are worth an array."""

_SEVERITIES: Final = {int(one): one for one in Severity}

NEVER: Final = -1
"""Before the first offset."""


@dataclass(slots=True)
class Outcome:
    """What a turn made of one partition's incidents."""

    source: Source
    incidents: list[Incident] = field(default_factory=list)
    """The revisions, in the order of their records; without explanation and context."""
    links: list[str | None] = field(default_factory=list)
    """Of each alert the incident that counts it."""
    changed: dict[str, bytes | None] = field(default_factory=dict)
    """What is now kept of the devices that changed; None where nothing is."""
    worst: dict[tuple[str, str], int | None] = field(default_factory=dict)
    """By class and device the worst alert's event, where this turn brought it; None: all forgotten."""
    earlier: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Worst alerts of revisions that came before this turn, by id; their class and device."""


class IncidentBook:
    """Of one life of a partition. For one thread; `through` is the last offset taken in."""

    def __init__(
        self, source: Source, rules: IncidentRules, through: int, kept: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        self.source = source
        self.through = through
        self.open: Counter[tuple[str, int]] = Counter()
        """How many are open, by class and severity."""
        self._rules = rules
        self._kept = dict(kept)
        self._ids: dict[tuple[int, str], str] = {}
        self._unpacked: dict[str, dict[str, Standing]] = {}
        self._queue: list[tuple[int, str]] = []
        for device_id, value in list(self._kept.items()):
            standings = list(unpack(value))
            if not standings:  # of a layout that this code cannot read
                del self._kept[device_id]
                continue
            self.open.update((one.verdict, one.severity) for one in standings if one.status is Status.OPEN)
            self._queue.append((min(one.expires_us(rules) for one in standings), device_id))
        heapq.heapify(self._queue)

    def __len__(self) -> int:
        """Devices of which something is kept."""
        return len(self._kept)

    @property
    def kept(self) -> Mapping[str, bytes]:
        return self._kept

    def turn(self, chunk: Chunk, moments: Moments | None, sightings: Sightings | None) -> Outcome:
        """Take in the records beyond `through`, and the alerts of the chunk's events.

        Without alerts there need be no moments, where nothing is kept of any device.
        """
        if moments is None:
            self.through = max(self.through, chunk.last_offset)
            return Outcome(self.source)
        if len(self._ids) > _MOST_IDS:
            self._ids.clear()
        if len(self._unpacked) > _MOST_UNPACKED:
            self._unpacked.clear()
        turn = _Turn(self)
        begin = int(np.searchsorted(moments.offset, self.through, "right"))
        if sightings is not None:
            turn.outcome.links = [None] * len(sightings)
            first = int(np.searchsorted(sightings.place, begin))
            for i in range(first):
                turn.link_before(sightings, i)
            if self._is_still(moments, begin):
                turn.see_by_groups(sightings, first)
            else:
                for i in range(first, len(sightings)):
                    end = int(sightings.place[i]) + 1
                    turn.pass_time(moments, begin, end)
                    begin = end
                    turn.see(sightings, i)
        turn.pass_time(moments, begin, len(moments.offset))
        self.through = max(self.through, chunk.last_offset)
        turn.finish()
        return turn.outcome

    def _is_still(self, moments: Moments, begin: int) -> bool:
        """Whether nothing can be due in these records, so that devices may be looked at one by one."""
        if begin >= len(moments.stream_us):
            return True
        first_us, last_us = int(moments.stream_us[begin]), int(moments.stream_us[-1])
        is_due = bool(self._queue) and self._queue[0][0] < last_us
        return not is_due and last_us - first_us <= self._rules.quiet_us


class _Turn:
    """What is under way: the standings of the devices touched so far, unpacked."""

    def __init__(self, book: IncidentBook) -> None:
        self.outcome = Outcome(book.source)
        self._source = book.source
        self._rules = book._rules
        self._kept = book._kept
        self._queue = book._queue
        self._counts = book.open
        self._ids = book._ids
        self._unpacked = book._unpacked
        self._through = book.through
        self._touched: dict[str, dict[str, Standing]] = {}
        self._drafts: list[Any] = []
        self._topic_id = str(book.source.topic_id)

    def see_by_groups(self, sightings: Sightings, first: int) -> None:
        """All alerts from the first of these on, where nothing is due: each device's class by itself."""
        places: dict[tuple[str, str], list[int]] = {}
        pairs = zip(sightings.device_id[first:], sightings.verdict[first:], strict=True)
        for i, pair in enumerate(pairs, first):
            places.setdefault(pair, []).append(i)
        for group in places.values():
            if len(group) < _MANY:
                for i in group:
                    self.see(sightings, i)
            else:
                self._see_many(sightings, np.array(group))

    def _see_many(self, sightings: Sightings, group: Index) -> None:
        """Of one device and class: mostly nothing is told of an alert, and then many are taken in at once."""
        done = 0
        while done < len(group):
            standing = self.see(sightings, int(group[done]))
            done += 1
            if standing.status is not Status.OPEN or len(group) - done < _MANY:
                continue
            rest = group[done : done + untold(standing)]
            count = _silent(standing, sightings, rest, self._rules)
            if count:
                self._absorb(standing, sightings, rest[:count])
                done += count

    def _absorb(self, standing: Standing, sightings: Sightings, of: Index) -> None:
        """Alerts of which nothing is told."""
        standing.alerts += len(of)
        standing.last = int(sightings.event[of[-1]])
        standing.stream_us = max(standing.stream_us, int(sightings.stream_us[of[-1]]))
        event_us = sightings.event_us[of]
        standing.first_us = min(standing.first_us, int(event_us.min()))
        standing.last_us = max(standing.last_us, int(event_us.max()))
        standing.counted_us = max(standing.counted_us, int(sightings.counted_us[of].max()))
        standing.novelty = max(standing.novelty, float(sightings.novelty[of].max()))
        worst = of[int(sightings.score[of].argmax())]  # the first of equals
        if float(sightings.score[worst]) > standing.score:
            standing.score, standing.worst = float(sightings.score[worst]), int(sightings.event[worst])
            self.outcome.worst[standing.verdict, sightings.device_id[int(worst)]] = standing.worst
        link = self._id(standing)
        for i in of.tolist():
            self.outcome.links[i] = link

    def see(self, sightings: Sightings, i: int) -> Standing:
        """An alert counts."""
        seen, rules = sightings.seen(i), self._rules
        device_id, verdict = sightings.device_id[i], sightings.verdict[i]
        mine = self._of(device_id)
        standing = mine.get(verdict)
        if standing is not None and not standing.goes_on(seen, rules):
            if standing.status is Status.OPEN:
                self._close(device_id, standing, offset_of(seen.event), seen.stream_us)
            standing = None
        if standing is None:
            is_known = bool(mine)
            standing = mine[verdict] = Standing(verdict)
            if not is_known:
                heapq.heappush(self._queue, (seen.stream_us + rules.quiet_us, device_id))
        status, severity, worst = standing.status, standing.severity, standing.worst
        is_revision = take(standing, seen, rules)
        if standing.status is not Status.OPEN:
            return standing
        if status is not Status.OPEN or standing.severity != severity:
            if status is Status.OPEN:
                self._counts[verdict, severity] -= 1
            self._counts[verdict, standing.severity] += 1
        if worst != standing.worst or status is Status.PENDING:
            self.outcome.worst[verdict, device_id] = standing.worst
        self.outcome.links[i] = self._id(standing)
        if is_revision:
            self._tell(device_id, standing, offset_of(seen.event), seen.stream_us)
        return standing

    def pass_time(self, moments: Moments, begin: int, end: int) -> None:
        """These records are next, before what they bring."""
        while begin < end and self._queue:
            due_us = self._queue[0][0]
            begin += int(np.searchsorted(moments.stream_us[begin:end], due_us, "right"))
            if begin >= end:
                return
            if self._due(int(moments.offset[begin]), int(moments.stream_us[begin])):
                begin += 1

    def link_before(self, sightings: Sightings, i: int) -> None:
        """An alert that was taken in before: it is published again, and counts no more."""
        standing = self._of(sightings.device_id[i]).get(sightings.verdict[i])
        if standing is None or standing.status is Status.PENDING:
            return
        if order_of(standing.opened) > order_of(int(sightings.event[i])):
            return
        self.outcome.links[i] = self._id(standing)

    def finish(self) -> None:
        """Pack what was touched, and say what is told."""
        self.outcome.incidents = self._incidents()
        for device_id, mine in self._touched.items():
            value = pack(mine.values()) if mine else None
            if value == self._kept.get(device_id):
                continue
            self.outcome.changed[device_id] = value
            if value is None:
                self._kept.pop(device_id, None)
            else:
                self._kept[device_id] = value
        self._unpacked.update(self._touched)

    def _due(self, offset: int, stream_us: int) -> bool:
        """The first of the queue: whether it was an incident that closed with this record."""
        queued_us, device_id = heapq.heappop(self._queue)
        mine = self._of(device_id)
        for verdict, standing in list(mine.items()):
            if standing.status is not Status.OPEN and standing.due_us(self._rules) < stream_us:
                del mine[verdict]
                self.outcome.worst[verdict, device_id] = None
        if not mine:
            return False
        due_us, verdict = min((one.due_us(self._rules), one.verdict) for one in mine.values())
        if due_us > queued_us or mine[verdict].status is not Status.OPEN:
            self._queue_again(device_id, due_us, stream_us)
            return False
        self._close(device_id, mine[verdict], offset, stream_us)
        self._queue_again(device_id, min(one.due_us(self._rules) for one in mine.values()), stream_us)
        return True

    def _queue_again(self, device_id: str, due_us: int, stream_us: int) -> None:
        """No later than what an incident that opens next is due for."""
        heapq.heappush(self._queue, (min(due_us, stream_us + self._rules.quiet_us), device_id))

    def _close(self, device_id: str, standing: Standing, offset: int, stream_us: int) -> None:
        self._counts[standing.verdict, standing.severity] -= 1
        close(standing)
        self._tell(device_id, standing, offset, stream_us)

    def _of(self, device_id: str) -> dict[str, Standing]:
        mine = self._touched.get(device_id)
        if mine is None:
            found = self._unpacked.pop(device_id, None)
            if found is None:
                found = {one.verdict: one for one in unpack(self._kept.get(device_id, b""))}
            mine = self._touched[device_id] = found
        return mine

    def _id(self, standing: Standing) -> str:
        key = (standing.opened, standing.verdict)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = incident_id_of(self._source, *key)
        return found

    def _tell(self, device_id: str, standing: Standing, offset: int, stream_us: int) -> None:
        """A draft of the revision, with places where `_incidents` puts the ids of alerts."""
        source, is_closed = self._source, standing.status is Status.CLOSED
        activity = Activity.OPEN if standing.revision == 1 else Activity.UPDATE
        draft: Any = IncidentDraft()
        draft.incident_id = self._id(standing)
        draft.revision = standing.revision
        draft.activity = Activity.CLOSE if is_closed else activity
        draft.device_id = device_id
        draft.verdict = standing.verdict
        draft.severity = _SEVERITIES[standing.severity]
        draft.alerts = standing.alerts
        draft.first_event_us = standing.first_us
        draft.last_event_us = standing.last_us
        draft.changed_at_us = stream_us
        draft.expires_at_us = standing.expires_us(self._rules)
        draft.worst_score = standing.score
        draft.worst_novelty = standing.novelty
        draft.first_alert_id = standing.opened
        draft.worst_alert_id = standing.worst
        draft.last_alert_id = standing.last
        draft.models = tuple(standing.models)
        draft.topic = source.topic
        draft.topic_id = self._topic_id
        draft.partition = source.partition
        draft.offset = offset
        draft.closed_because = "quiet" if is_closed else None
        draft.explanation = draft.context = None
        draft.reasons = ()
        self._drafts.append(draft)

    def _incidents(self) -> list[Incident]:
        """Of the drafts, in the order of their records."""
        drafts: list[Any] = sorted(self._drafts, key=lambda one: one.offset)
        places = {
            place for one in drafts for place in (one.first_alert_id, one.worst_alert_id, one.last_alert_id)
        }
        ids = dict(zip(places, event_ids(self._source, places), strict=True))
        for one in drafts:
            place = one.worst_alert_id
            one.first_alert_id, one.last_alert_id = ids[one.first_alert_id], ids[one.last_alert_id]
            one.worst_alert_id = ids[place]
            if offset_of(place) <= self._through:
                self.outcome.earlier[ids[place]] = one.verdict, one.device_id
            one.__class__ = Incident
        return drafts


def _silent(standing: Standing, sightings: Sightings, of: Index, rules: IncidentRules) -> int:
    """How many of these alerts of the incident come one after the other without anything to tell."""
    counted_us = sightings.counted_us[of]
    latest_us = np.maximum.accumulate(np.append(standing.counted_us, counted_us[:-1]))
    says_more = (
        (counted_us - latest_us > rules.together_us)
        | (counted_us - standing.revised_us >= rules.update_us)
        | (sightings.severity[of] > standing.severity)
    )
    return int(says_more.argmax()) if says_more.any() else len(of)
