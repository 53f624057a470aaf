"""Incidents of a turn: the alerts of its verdicts are counted, and what has ended meanwhile is closed.

In the thread that computes, from a book a partition (`core/incident_book.py`). It is read from the store
with the partition's first turn, before its windows, and held whole; what changed is saved with the turn's
windows, in one step. In the thread that delivers, each revision gets what drove its worst alert:
by the turn itself, or as it was kept when that alert came.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from streams.codec.output.reasons import decode_reason, encode_reason
from streams.core.alerts import Explanation, event_ids
from streams.core.events import NO_TOPIC_ID, Chunk, Partition, Source
from streams.core.incident_book import NEVER, IncidentBook, Outcome
from streams.core.incident_rules import IncidentRules
from streams.core.incidents import Incident
from streams.core.patience import Retry
from streams.core.severity import BY_CLASS, Severity
from streams.model.classified import Classified
from streams.pipeline.gathering import gather
from streams.pipeline.ports import IncidentSave, Saved, WindowStore, reason_key
from streams.pipeline.turn import Turn

_ID_BYTES: Final = 36
"""A reason is kept behind the id of the alert whose it is."""


class Reason(NamedTuple):
    """Why an alert was raised."""

    explanation: Explanation | None
    context: Mapping[str, str] | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TurnIncidents:
    """Of one turn. The first two have one place for each chunk."""

    outcomes: Sequence[Outcome] = ()
    saves: Sequence[IncidentSave | None] = ()
    links: Sequence[Mapping[int, str]] = ()
    """Of each part that one model judged, by applied event, the incident that counts its alert."""

    worst_ids: Sequence[Mapping[str, str | None]] = ()
    """By chunk, and by the key that a reason is kept under: the alert that is an incident's worst now."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Of which worst alerts is asked what drove them."""

    share: float = 1.0
    """Of devices and classes: the same ones always."""
    others_too: bool = False
    """Whether alerts of others may have said it, too: that is kept where they are an incident's worst."""

    def wanted(self, turn: TurnIncidents) -> frozenset[str]:
        """Ids of the alerts that are or were an incident's worst, of the share."""
        told = {
            one.worst_alert_id: reason_key(one.verdict, one.device_id)
            for outcome in turn.outcomes
            for one in outcome.incidents
        }
        kept = {alert_id: key for ids in turn.worst_ids for key, alert_id in ids.items() if alert_id}
        return frozenset(alert_id for alert_id, key in {**told, **kept}.items() if self._in_share(key))

    def may_be_kept(self, key: str) -> bool:
        return self.others_too or self._in_share(key)

    def _in_share(self, key: str) -> bool:
        return zlib.crc32(key.encode()) < self.share * 2.0**32


@dataclass(frozen=True, slots=True)
class IncidentFigures:
    """`by_kind`: how many are open, by class and severity's word; `devices` of which something is kept."""

    by_kind: Mapping[tuple[str, str], int]
    devices: int


class Incidents:
    """One worker's. `turn` and `forget` are the computing thread's, `told` and `answered` the other's."""

    def __init__(
        self,
        rules: IncidentRules,
        store: WindowStore,
        patience: Retry,
        severities: Mapping[str, Severity] = BY_CLASS,
        asking: Asking = Asking(),
    ) -> None:
        self._asking = asking
        self._rules = rules
        self._store = store
        self._patience = patience
        self._severities = severities
        self._books: dict[Partition, IncidentBook] = {}
        self._saved: dict[Partition, int] = {}  # through which offset they were handed over to be saved
        self._whole: set[Partition] = set()  # to be saved whole
        self._lost: deque[Partition] = deque()  # from the thread that delivers

    @property
    def figures(self) -> IncidentFigures:
        """For any thread."""
        found: Counter[tuple[str, str]] = Counter()
        books = list(self._books.values())
        for book in books:
            for (verdict, severity), count in list(book.open.items()):
                found[verdict, Severity(severity).word] += count
        return IncidentFigures(found, sum(map(len, books)))

    def open(self, turn: Turn) -> None:
        """Have the partitions' books. Raises Unavailable when the patience ends while the store is away."""
        self._settle()
        for chunk in turn.chunks:
            self._book(chunk)

    def overtaken(self, chunks: Sequence[Chunk]) -> list[Partition]:
        """Partitions whose incidents are kept beyond what this worker knows: another has gone further.

        Asked after windows were loaded: those may be the other's, and then they do not fit this book. Raises
        Unavailable as `open` does.
        """
        sources = [chunk.source for chunk in chunks]
        reached = self._patience(lambda: self._store.reached(sources)) if sources else []
        return [
            chunk.source.place
            for chunk, through in zip(chunks, reached, strict=True)
            if through > self._book(chunk).through and not _is_of_another_life(chunk, through)
        ]

    def turn(self, turn: Turn, judged: Sequence[Classified]) -> TurnIncidents:
        """After `open`, and raises Unavailable as that does."""
        books = [self._book(chunk) for chunk in turn.chunks]
        found = gather(turn, [len(book) > 0 for book in books], judged, self._severities)
        links: list[dict[int, str]] = [{} for _ in judged]
        outcomes, saves = [], []
        for number, (chunk, book) in enumerate(zip(turn.chunks, books, strict=True)):
            outcome = book.turn(chunk, found.moments[number], found.sightings[number])
            for (part, place), link in zip(found.places[number], outcome.links, strict=True):
                if link is not None:
                    links[part][place] = link
            outcomes.append(outcome)
            saves.append(self._save_of(book, outcome))
        return TurnIncidents(outcomes, saves, links, [_worst_ids(outcome) for outcome in outcomes])

    def forget(self, partition: Partition) -> None:
        """Another worker owns it, and changes its incidents."""
        self._books.pop(partition, None)
        self._saved.pop(partition, None)
        self._whole.discard(partition)

    def told(
        self, turn: TurnIncidents, reasons: Mapping[str, Reason]
    ) -> tuple[list[Incident], list[IncidentSave | None]]:
        """The revisions with what drove the worst alerts, and what is to be saved; `reasons` by alert's id.

        Raises Unavailable as `open` does.
        """
        known = {**reasons, **self._kept_reasons(turn, reasons)}
        incidents = [
            one if (reason := known.get(one.worst_alert_id)) is None else replace(one, **reason._asdict())
            for outcome in turn.outcomes
            for one in outcome.incidents
        ]
        saves = [
            None if save is None else replace(save, reasons=self._packed(ids, reasons))
            for save, ids in zip(turn.saves, turn.worst_ids, strict=True)
        ]
        return incidents, saves

    def answered(self, source: Source, answer: int) -> None:
        """What became of a save; where another worker was further, `forget` is called."""
        if answer == Saved.LOST:
            self._lost.append(source.place)

    def _settle(self) -> None:
        """What was lost is saved whole with this turn."""
        while self._lost:
            place = self._lost.popleft()
            if place in self._books:
                self._whole.add(place)

    def _book(self, chunk: Chunk) -> IncidentBook:
        place = chunk.source.place
        book = self._books.get(place)
        if book is None or book.source != chunk.source:
            self._whole.discard(place)
            book = self._books[place] = self._patience(lambda: self._load(chunk))
            self._saved[place] = book.through
        return book

    def _load(self, chunk: Chunk) -> IncidentBook:
        source = chunk.source
        through, kept = self._store.incidents(source)
        if _is_of_another_life(chunk, through):
            self._whole.add(source.place)
            through, kept = NEVER, ()
        return IncidentBook(source, self._rules, through, kept)

    def _save_of(self, book: IncidentBook, outcome: Outcome) -> IncidentSave | None:
        """Where nothing is kept of any device, it does not matter how far that is known."""
        place, follows = book.source.place, self._saved[book.source.place]
        whole = place in self._whole
        if not whole and (book.through <= follows or not (len(book) or outcome.changed)):
            return None
        self._whole.discard(place)
        self._saved[place] = book.through
        if whole:
            return IncidentSave(NEVER, book.through, dict(book.kept), {}, whole=True)
        return IncidentSave(follows, book.through, outcome.changed, {})

    def _kept_reasons(self, turn: TurnIncidents, reasons: Mapping[str, Reason]) -> dict[str, Reason]:
        """Of the worst alerts that came before this turn, in one question."""
        missing = [
            (outcome.source, alert_id, key)
            for outcome in turn.outcomes
            for alert_id, of in outcome.earlier.items()
            if alert_id not in reasons and self._asking.may_be_kept(key := reason_key(*of))
        ]
        if not missing:
            return {}
        values = self._patience(lambda: self._store.reasons([(source, key) for source, _, key in missing]))
        return {
            alert_id: Reason(*decode_reason(value[_ID_BYTES:]))
            for (_, alert_id, _), value in zip(missing, values, strict=True)
            if value is not None and value[:_ID_BYTES] == alert_id.encode()
        }

    def _packed(
        self, ids: Mapping[str, str | None], reasons: Mapping[str, Reason]
    ) -> dict[str, bytes | None]:
        """What is to be kept of them by key; what is not to be, and may have been, goes."""
        found: dict[str, bytes | None] = {}
        for key, alert_id in ids.items():
            reason = None if alert_id is None else reasons.get(alert_id)
            if reason is not None:
                found[key] = str(alert_id).encode() + encode_reason(*reason)
            elif alert_id is None or self._asking.may_be_kept(key):
                found[key] = None
        return found


def _is_of_another_life(chunk: Chunk, through: int) -> bool:
    """Where topics have no id, what is kept beyond the partition's end is."""
    return chunk.source.topic_id == NO_TOPIC_ID and through >= chunk.end_offset


def _worst_ids(outcome: Outcome) -> dict[str, str | None]:
    ids = event_ids(outcome.source, (place for place in outcome.worst.values() if place is not None))
    brought = iter(ids)
    return {
        reason_key(*key): None if place is None else next(brought) for key, place in outcome.worst.items()
    }
