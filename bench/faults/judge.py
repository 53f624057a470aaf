"""The laws. Pure: a case in, what is broken out, and what is allowed but counted.

What is allowed: repeats of the same content; another of the alike models once it was ordered; and, where
Redis lost its data, a shorter window from the moment of the loss on, with the verdict that just this window
gives (counted as `cold`). It may be no shorter than what the device was judged for after the last loss.
Where workers rebuild windows none may be shorter, but for a topic that is gone.

The life of a topic that was deleted: nothing can be read of it any more, so its input is what the producer
was told. Judged must be all that was committed just before the deletion, and nothing may be skipped: in a
partition of the output all that lies below what it says last of a partition of the input. What lies beyond
went with the topic, where a worker's end left a chunk said in some partitions of the output alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.faults.case import Broken, Case, Law, Polled
from bench.faults.flow import Place
from bench.faults.judge_incidents import judge_incidents
from bench.faults.judge_letters import judge_letters
from bench.faults.judge_windows import judge_windows
from bench.faults.offline import Event
from bench.parity import Said
from streams.core.alerts import Alert
from streams.core.topics import NORMAL


@dataclass(frozen=True, slots=True)
class Judgement:
    """`judged_us`: of each place, when its first verdict or dead letter was appended."""

    broken: Sequence[Broken]
    repeats: int
    cold: int
    judged_us: Mapping[Place, int]

    def count(self, law: Law) -> int:
        return sum(one.law is law for one in self.broken)


def judge(case: Case) -> Judgement:
    hearing = _Alerted(case)
    letters = judge_letters(case)
    judged_us = {**hearing.judged_us, **letters.judged_us}
    broken = [
        *hearing.broken,
        *letters.broken,
        *_differing(case),
        *_lost(case, hearing, judged_us),
        *_passed_over(case),
        *_out_of_order("classified", case.classified),
        *_out_of_order("alerts", case.alerts),
        *judge_windows(case, hearing.fills, hearing.last_detected_us),
        *judge_incidents(case),
    ]
    distinct = len({heard.alert.alert_id for heard in case.classified})
    repeats = len(case.classified) - distinct + letters.repeats
    return Judgement(broken, repeats, len(hearing.cold), judged_us)


class _Alerted:
    """Every verdict and alert by itself; what was said, by event."""

    def __init__(self, case: Case) -> None:
        self.broken: list[Broken] = []
        self.cold: set[int] = set()
        self.judged_us: dict[Place, int] = {}
        self.fills: dict[int, set[int]] = defaultdict(set)  # of accepted verdicts
        self.last_detected_us: dict[int, int] = {}
        self.verdicts: dict[int, set[Said]] = defaultdict(set)  # accepted, on the topic of all verdicts
        self.alerted: dict[int, set[Said]] = defaultdict(set)  # accepted, on an alert topic
        self._case = case
        self._number = {event.place: i for i, event in enumerate(case.events)}
        known = [*self._known(case.classified), *self._known(case.alerts)]
        self._first_detected_us = self._first_detections(known)
        self._hear(known)

    def _known(self, heard: Sequence[Polled]) -> Iterator[tuple[int, Polled]]:
        """What stands for an event of the input; the rest is extra."""
        for one in heard:
            alert = one.alert
            place = self._case.place_of(alert.topic_id, alert.partition, alert.offset)
            number = self._number.get(place) if place is not None else None
            if number is None or place is None:
                self._break(Law.EXTRA, one, "there is no such event")
            elif alert.alert_id != self._case.id_of(place):
                self._break(Law.EXTRA, one, f"its id is {alert.alert_id}, not {self._case.id_of(place)}")
            else:
                yield number, one

    def _first_detections(self, known: Sequence[tuple[int, Polled]]) -> dict[int, int]:
        first: dict[int, int] = {}
        for number, one in known:
            first[number] = min(first.get(number, one.alert.detected_at_us), one.alert.detected_at_us)
        return first

    def _hear(self, known: Sequence[tuple[int, Polled]]) -> None:
        asked = sorted({(number, one.alert.window_fill) for number, one in known})
        seen = [self._case.seen(event) for event in self._case.events]
        asked = [(number, fill) for number, fill in asked if 1 <= fill <= seen[number]]
        expected = dict(zip(asked, self._case.expected(asked), strict=True))
        for number, one in known:
            event, said = self._case.events[number], Said.by(one.alert)
            wrong = self._wrong(number, event, one.alert)
            if wrong is None and said != expected[number, said.window_fill]:
                wrong = f"said {said}, expected {expected[number, said.window_fill]}"
            if wrong is not None:
                self._break(Law.WRONG_VERDICT, one, wrong)
            elif one.alert.window_fill < self._case.seen(event):
                self.cold.add(number)
            self._note(number, event, one, said, wrong is None)

    def _note(self, number: int, event: Event, one: Polled, said: Said, accepted: bool) -> None:
        if one.topic.endswith(".classified"):
            first_us = self.judged_us.setdefault(event.place, one.appended_us)
            self.judged_us[event.place] = min(first_us, one.appended_us)
            self.verdicts[number].add(said)
        elif said.verdict == NORMAL or one.topic != self._case.alert_topic(said.verdict):
            self._break(Law.EXTRA, one, f"a verdict of {said.verdict} does not belong here")
        else:
            self.alerted[number].add(said)
        if accepted:
            self.fills[number].add(said.window_fill)
        last_us = self.last_detected_us.get(number, 0)
        self.last_detected_us[number] = max(last_us, one.alert.detected_at_us)

    def _wrong(self, number: int, event: Event, alert: Alert) -> str | None:
        if (alert.device_id, alert.event_time_us) != (event.device, event.time_us):
            return f"the event is {event.device}'s of {event.time_us}"
        if self._case.models.get(alert.model_digest, alert.detected_at_us + 1) > alert.detected_at_us:
            return f"the model {alert.model_digest[:12]} was not to judge then"
        seen = self._case.seen(event)
        if not 1 <= alert.window_fill <= seen:
            return f"it is to look at {seen} events"
        least = min(self._least_fill(event, alert), seen)
        return None if alert.window_fill >= least else f"it is to look at {least} of {seen} events at least"

    def _least_fill(self, event: Event, alert: Alert) -> int:
        """The full window; after a loss, as many of its events as were judged wholly after the last loss."""
        past = [after for before, after in self._case.losses if before <= alert.detected_at_us]
        if not past or self._case.is_rebuilt(event):
            return event.full
        since_us, least = max(past), 1
        for number in reversed(event.history[:-1]):
            if self._first_detected_us.get(number, 0) < since_us:
                break
            least += 1
        return least

    def _break(self, law: Law, one: Polled, why: str) -> None:
        alert = one.alert
        where, of = f"{one.topic}-{one.partition}@{one.offset}", f"{alert.partition}@{alert.offset}"
        what = f"{where} of {alert.device_id}, {of}"
        self.broken.append(Broken(law, f"{what} ({alert.verdict}, fill {alert.window_fill}): {why}"))


def _differing(case: Case) -> Iterator[Broken]:
    """Same id and same fill: the same content, but for the time of detection and the alike model's identity.

    Another fill is another window: it is allowed after a loss alone, which each by itself was asked for.
    """
    alike = len(case.models) > 1
    contents: dict[tuple[str, int], set[str]] = defaultdict(set)
    for one in (*case.classified, *case.alerts):
        plain = replace(one.alert, detected_at_us=0)
        if case.losses:  # what was lost of incidents begins anew
            plain = replace(plain, incident_id=None)
        if alike:
            plain = replace(plain, model_version="", model_digest="")
        contents[one.alert.alert_id, one.alert.window_fill].add(repr(plain))
    for (alert_id, _), said in contents.items():
        if len(said) > 1:
            yield Broken(Law.DIFFERING, f"{alert_id}: {' | '.join(sorted(said))}")


class _Reached:
    """How far a deleted life was said: by partition of the input, and of the topic it is said in."""

    def __init__(self, case: Case, heard: Sequence[Polled]) -> None:
        self._said_in: dict[tuple[str, str], int] = {}  # of a device and a topic: one partition, by the key
        self._ends = Counter[tuple[int, int, str, int]]()
        for one in heard:
            place = case.place_of(one.alert.topic_id, one.alert.partition, one.alert.offset)
            if place is not None:
                self._said_in[one.alert.device_id, one.topic] = one.partition
                stream = (place.life, place.partition, one.topic, one.partition)
                self._ends[stream] = max(self._ends[stream], place.offset + 1)

    def passed(self, event: Event, topic: str) -> bool:
        said_in = self._said_in.get((event.device, topic))
        place = event.place
        return said_in is not None and place.offset < self._ends[place.life, place.partition, topic, said_in]


def _lost(case: Case, hearing: _Alerted, judged_us: Mapping[Place, int]) -> Iterator[Broken]:
    verdicts, alerts = _Reached(case, case.classified), _Reached(case, case.alerts)
    (topic,) = {one.topic for one in case.classified} or {""}
    for number, event in enumerate(case.events):
        asked = case.is_to_be_judged(event.place)
        said = hearing.verdicts.get(number)
        if not said:
            if asked or verdicts.passed(event, topic):
                yield Broken(Law.LOST, f"no verdict on {event.device}, {event.place}")
        elif all(
            one.verdict != NORMAL
            and one not in hearing.alerted[number]
            and (asked or alerts.passed(event, case.alert_topic(one.verdict)))
            for one in said
        ):
            yield Broken(Law.LOST, f"no alert of {event.device}, {event.place}")
    for place, (record, _) in case.poison.items():
        if case.is_to_be_judged(place) and place not in judged_us:
            yield Broken(Law.LOST, f"no dead letter of {record.poison}, {place}")


def _passed_over(case: Case) -> Iterator[Broken]:
    """What was deleted unread is said and counted; nothing is that was not deleted, or was committed.

    What was judged and not yet committed may be said, too: the next reader cannot know.
    """
    for place in case.gone:
        if not any(place in span for span in case.said_lost):
            yield Broken(Law.LOST, f"{place} was deleted unread, and no worker says so")
    for said in case.said_lost:
        ends = (Place(said.life, said.partition, said.first), Place(said.life, said.partition, said.end - 1))
        if not any(ends[0] in span and ends[1] in span for span in case.deletions):
            yield Broken(Law.MISCOUNTED, f"{said} is said to be lost, and was not deleted unread")
    offsets = sum(said.end - said.first for said in case.said_lost)
    if offsets != case.counted_lost:
        yield Broken(
            Law.MISCOUNTED, f"{offsets} offsets are said to be lost, and {case.counted_lost} counted"
        )


def _out_of_order(what: str, heard: Sequence[Polled]) -> Iterator[Broken]:
    """In the first occurrence of each id, each device's events of a partition come by ascending offsets.

    A device is the key of what is published, so one topic has it in one partition.
    """
    seen: set[tuple[str, str]] = set()
    last: dict[tuple[str, str, str, int], int] = {}
    for one in sorted(heard, key=lambda one: (one.topic, one.partition, one.offset)):
        alert = one.alert
        if (one.topic, alert.alert_id) in seen:
            continue
        seen.add((one.topic, alert.alert_id))
        whose = (one.topic, alert.device_id, alert.topic_id, alert.partition)
        if alert.offset < last.get(whose, -1):
            line = f"{what}: {alert.device_id} {alert.partition}@{alert.offset} after @{last[whose]}"
            yield Broken(Law.OUT_OF_ORDER, line)
        last[whose] = max(alert.offset, last.get(whose, -1))
