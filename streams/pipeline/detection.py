"""Detection: records of one topic to alerts, by rows of one feature table. A processor of the conveyor.

    begin, in the thread that computes                deliver, in the other
    admit -> decode -> windows -> infer -> incidents  explain -> encode -> publish and await -> save windows

How records become rows is the topic's own (`describing.py`).

Then the conveyor acknowledges. Nothing is acknowledged before its alerts are on the broker and its windows in
the store; so a crash at any point leads to the same work once more, and the window's offset keeps it from
being applied twice. What is away is waited for, with back-off: a record is never skipped. This module sees
ports, not Kafka or Redis.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streams.codec.output.dead_letters import dead_letter, with_sizes
from streams.codec.output.dead_letters import shorter as shorter_letter
from streams.core.alerts import CANARY, CHAMPION, Alert
from streams.core.clocks import Times
from streams.core.events import Chunk, Events, Message, Partition, Rejected
from streams.core.incidents import Incident
from streams.core.latency import latency_of
from streams.core.newcomers import Newcomers
from streams.core.patience import Retry
from streams.core.skew import skew_of
from streams.core.stopwatch import Stopwatch
from streams.model.classified import NO_INCIDENTS, Classified
from streams.model.inference import infer, infer_from_rows
from streams.pipeline.alerting import Judged, Rules, alerts_from, explained
from streams.pipeline.cache import CacheFigures, WindowCache
from streams.pipeline.conveyor import Begun
from streams.pipeline.describing import Described, Intake, advance
from streams.pipeline.incidents import Asking, IncidentFigures, Incidents, Reason, TurnIncidents
from streams.pipeline.judging import JudgedPart, parts_of
from streams.pipeline.loading import Loaded, Loading
from streams.pipeline.ports import Publisher, Save, Saved, WindowStore
from streams.pipeline.publishing import Part, publish
from streams.pipeline.recovery import Recovered, Recovery
from streams.pipeline.reports import NOBODY, Observed, Report, Watchers
from streams.pipeline.saving import changed, saves_of
from streams.pipeline.sites import Sites, applied_to, seen_of
from streams.pipeline.turn import Admission, Turn


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A turn whose verdicts are known, and what is to be delivered of it."""

    judged: Sequence[Judged]
    at_us: int
    """When it was judged, by this worker's clock: for people."""
    letters: Sequence[Message]
    saves: Sequence[Save]
    report: Report
    incidents: TurnIncidents


@dataclass(frozen=True, slots=True)
class Ports:
    intake: Intake
    store: WindowStore
    publisher: Publisher
    patience: Retry
    clock_us: Callable[[], int]
    """Wall clock for `detected_at_us` and the latency alone: nothing is decided by it."""
    recovery: Recovery | None = None
    """None: a window that the store lost starts anew."""
    sites: Sites | None = None
    """What is known of sites; None: every verdict on a flow alerts."""


class Detection:
    """The path of one worker. One thread computes; one, which may be another, delivers."""

    def __init__(
        self,
        ports: Ports,
        rules: Rules,
        cache: WindowCache,
        admission: Admission,
        watchers: Watchers = NOBODY,
    ) -> None:
        self._ports = ports
        self._rules = rules
        self._cache = cache
        self._admission = admission
        self._watchers = watchers
        newcomers = Newcomers(rules.new_devices_per_s)
        self._loading = Loading(ports.store, ports.recovery, ports.patience, cache, newcomers)
        said_too = rules.explain_share > 0 or ports.sites is not None
        self._asking = Asking(rules.incident_explain_share, others_too=said_too)
        self._incidents = (
            None
            if rules.incidents is None
            else Incidents(rules.incidents, ports.store, ports.patience, rules.severities, self._asking)
        )
        self._ordinals: dict[str, int] = {}  # of the models so far, by digest: whose latents are cached
        self._fenced: deque[tuple[Partition, list[str] | None]] = deque()  # from the thread that delivers
        self._begun = Counter[Partition]()  # turns, by the thread that computes
        self._delivered = Counter[Partition]()  # by the other

    @property
    def topic(self) -> str:
        return self._ports.intake.topic

    @property
    def keeps_time(self) -> bool:
        """Incidents end in stream time; windows know time by their events alone."""
        return self._incidents is not None

    def begin(self, chunks: Sequence[Chunk]) -> Begun[Computed]:
        """Admit and compute; the windows in memory are then those after the turn.

        Raises Unavailable when the patience ends while a part is away; nothing may be acknowledged then.
        """
        why_not = None if self._ports.sites is None else self._ports.sites.why_not()
        if why_not is not None:
            return Begun((), None, {chunk.source.place: why_not for chunk in chunks})
        behind = self._forget_fenced()
        admitted = self._admission.admit([chunk for chunk in chunks if chunk.source.place not in behind])
        held = {**admitted.held, **behind}
        if not admitted.chunks:
            return Begun((), None, held)
        computed = self._compute(Turn(admitted.chunks, admitted.judges))
        self._begun.update(chunk.source.place for chunk in admitted.chunks)
        return Begun(admitted.chunks, computed, held)

    def deliver(self, computed: Computed) -> None:
        """Publish and await, then save. Raises Unavailable as `begin` does."""
        watch = Stopwatch()
        alerts, reasons = self._told(computed, watch)
        incidents, saves = self._incidents_of(computed, reasons)
        watch.lap("incidents")
        outputs = self._rules.outputs
        parts = [Part(output.messages(alerts), output.shorter) for output in outputs]
        parts += [Part(output.incident_messages(incidents), output.shorter) for output in outputs]
        parts.append(Part(computed.letters, shorter_letter))
        shortened = publish(parts, self._ports.publisher, self._ports.patience)
        latency = latency_of(_alerted_us(computed.judged), self._ports.clock_us())
        watch.lap("publish")
        fenced = self._save(saves)
        self._delivered.update(save.source.place for save in saves)
        watch.lap("save")
        cpu_ns = Counter(computed.report.cpu_ns) + Counter(watch.ns)
        report = replace(computed.report, fenced=fenced, shortened=shortened, cpu_ns=cpu_ns, latency=latency)
        self._watchers.done(report)

    def assigned(self, partitions: frozenset[Partition]) -> None:
        """Nothing to do: windows are loaded when their devices send something."""

    def revoked(self, partitions: frozenset[Partition]) -> None:
        """Forget their windows: until a partition comes back, another worker may have changed them."""
        for partition in partitions:
            self._loading.forget(partition)
            if self._incidents is not None:
                self._incidents.forget(partition)

    @property
    def cache_figures(self) -> CacheFigures:
        return self._cache.figures

    @property
    def incident_figures(self) -> IncidentFigures:
        return IncidentFigures({}, 0) if self._incidents is None else self._incidents.figures

    @property
    def recovered(self) -> Recovered:
        return Recovered() if self._ports.recovery is None else self._ports.recovery.figures

    def _compute(self, turn: Turn) -> Computed:
        watch = Stopwatch()
        canary = self._watchers.canary()
        decoded = self._ports.patience(lambda: self._ports.intake.decoder.decode(turn.records))
        watch.lap("decode")
        self._cache.widen(max(judge.latent_size for judge in turn.judges))
        recovery = self._ports.recovery
        reaches = [None if recovery is None else recovery.take_up(chunk) for chunk in turn.chunks]
        loaded = self._load(turn, decoded.events)
        taken = advance(
            self._ports.intake.describe, loaded.windows, loaded.device, loaded.events, self._rules.idle_us
        )
        described, step = taken.described, taken.advance
        events = described.events
        loaded = replace(loaded, events=events, device=described.device)
        watch.lap("windows")
        judged = [self._judge(part) for part in parts_of(turn, loaded, step, canary)]
        watch.lap("infer")
        self._observe(turn, judged, watch.ns["infer"])
        judged = [self._known_to_sites(one, described) for one in judged]
        incidents = TurnIncidents()
        if self._incidents is not None:
            incidents = self._incidents.turn(turn, [one.classified for one in judged])
        watch.lap("incidents")
        rejected = with_sizes(turn.records, (*decoded.rejected, *loaded.refused))
        letters = self._letters(turn, rejected)
        watch.lap("publish")
        report = Report(
            records=len(turn.records),
            classified=len(step.applied),
            repeats=described.repeats,
            duplicates=described.duplicates,
            held=sum((Counter(one.site.held) for one in judged if one.site is not None), Counter[str]()),
            verdicts=sum((Counter(one.classified.names) for one in judged), Counter[str]()),
            dead_letters=Counter(str(bad.reason) for bad in rejected),
            new_devices=loaded.new_devices,
            fenced=0,
            cpu_ns=watch.ns,
            window_resets=step.resets,
            skew=skew_of(events, step.applied),
            revisions=Counter(
                str(one.activity) for outcome in incidents.outcomes for one in outcome.incidents
            ),
        )
        saves = saves_of(turn, loaded, step, reaches)
        return Computed(judged, self._ports.clock_us(), letters, saves, report, incidents)

    def _load(self, turn: Turn, events: Events) -> Loaded:
        """Windows that the partitions' incidents fit.

        A worker may stand still between any two steps, while another takes its partitions and goes on. Where
        that has happened all of the partition is loaded anew: what the other has told is a repeat then.
        """
        if self._incidents is None:
            return self._loading(turn, events)
        while True:
            self._incidents.open(turn)
            loaded = self._loading(turn, events)
            overtaken = self._incidents.overtaken(loaded.asked)
            if not overtaken:
                return loaded
            for place in overtaken:
                self._load_anew(place)

    def _told(self, computed: Computed, watch: Stopwatch) -> tuple[list[Alert], dict[str, Reason]]:
        """The turn's alerts, and what drove those of which it is asked."""
        alerts: list[Alert] = []
        reasons: dict[str, Reason] = {}
        links = computed.incidents.links or [NO_INCIDENTS] * len(computed.judged)
        wanted = frozenset[str]() if self._incidents is None else self._asking.wanted(computed.incidents)
        in_words = frozenset[str]() if self._ports.sites is None else Asking().wanted(computed.incidents)
        for judged, of in zip(computed.judged, links, strict=True):
            places, plain = alerts_from(judged, self._rules, computed.at_us, of)
            watch.lap("publish")
            found = explained(judged, places, plain, self._rules.explain_share, wanted, in_words)
            alerts += found.alerts
            reasons.update(found.reasons)
            watch.lap("explain")
        return alerts, reasons

    def _incidents_of(
        self, computed: Computed, reasons: Mapping[str, Reason]
    ) -> tuple[list[Incident], Sequence[Save]]:
        """The revisions to publish, and the saves with what is kept of incidents."""
        if self._incidents is None:
            return [], computed.saves
        incidents, kept = self._incidents.told(computed.incidents, reasons)
        return incidents, [replace(save, incidents=of) for save, of in zip(computed.saves, kept, strict=True)]

    def _judge(self, part: JudgedPart) -> Judged:
        classified = self._by_challenger(part) if part.role == CANARY else self._by_champion(part)
        return Judged(classified, part.windows)

    def _known_to_sites(self, judged: Judged, described: Described) -> Judged:
        """Verdicts that the site's profile, or the status of a device, holds back are normal."""
        sites, flows, age_ms = self._ports.sites, described.flows, described.age_ms
        if sites is None or flows is None or age_ms is None:
            return judged
        seen, scores = seen_of(judged.classified, flows, age_ms)
        classified, site = applied_to(judged.classified, seen, scores, sites)
        return replace(judged, classified=classified, site=site)

    def _by_champion(self, part: JudgedPart) -> Classified:
        """Its latents are remembered from turn to turn."""
        detector = part.detector
        ordinal = self._ordinals.setdefault(detector.identity.digest, len(self._ordinals) + 1)
        latents, known = self._cache.latents(part.slots, ordinal, detector.latent_size)  # (D, W, L)
        verdicts, latents = infer(detector, part.windows, part.step, part.events.rows, latents, known)
        self._cache.put(part.slots, part.step.windows, latents, ordinal)
        return Classified(part.sources, part.origin, part.events, part.step, detector, verdicts)

    def _by_challenger(self, part: JudgedPart) -> Classified:
        """From raw windows each time: two models' latents in turn would cost the champion its own."""
        verdicts = infer_from_rows(part.detector, part.windows, part.step, part.events.rows)
        self._cache.put_windows(part.slots, part.step.windows)
        return Classified(part.sources, part.origin, part.events, part.step, part.detector, verdicts, CANARY)

    def _observe(self, turn: Turn, judged: Sequence[Judged], cpu_ns: int) -> None:
        lag_records = max(chunk.lag_records for chunk in turn.chunks)
        for one in judged:
            if one.classified.role == CHAMPION:
                self._watchers.watch(Observed(one.windows, one.classified, lag_records, cpu_ns))

    def _letters(self, turn: Turn, rejected: Sequence[Rejected]) -> list[Message]:
        topic, version = self._rules.topics.dead_letters, self._rules.version
        origin = np.searchsorted(turn.ends, [bad.position for bad in rejected], "right").tolist()
        return [
            dead_letter(turn.chunks[chunk].source, turn.records[bad.position], bad, topic, version)
            for chunk, bad in zip(origin, rejected, strict=True)
        ]

    def _save(self, saves: Sequence[Save]) -> int:
        """Store the windows that changed; of how many devices the stored window is newer than ours."""
        wanted = [save for save in map(changed, saves) if save is not None]
        if not wanted:
            return 0
        answers = self._ports.patience(lambda: self._ports.store.save(wanted))
        fenced = 0
        for save, answer in zip(wanted, answers, strict=True):
            if self._incidents is not None and save.incidents is not None:
                if answer[-1] == Saved.NEWER_STORED:
                    self._fenced.append((save.source.place, None))
                self._incidents.answered(save.source, int(answer[-1]))
            newer = np.flatnonzero(answer[: len(save.devices)] == Saved.NEWER_STORED).tolist()
            if newer:
                self._fenced.append((save.source.place, [save.devices[i] for i in newer]))
                fenced += len(newer)
            if self._ports.recovery is not None and save.reach is not None:
                self._ports.recovery.delivered(save.source, save.reach)
        return fenced

    def _forget_fenced(self) -> dict[Partition, str]:
        """Load these devices' windows anew at their next event: another worker changed them.

        Where it changed the partition's incidents, no window of the partition counts any more: one that is
        older than the incidents would have its events judged again, which these have left behind. A partition
        of which a turn is still under way has to wait for it, and why: what is stored lacks that turn.
        """
        behind = {}
        for _ in range(len(self._fenced)):
            place, devices = self._fenced.popleft()
            if self._begun[place] > self._delivered[place]:
                behind[place] = "another worker has gone further"
                self._fenced.append((place, devices))
            elif devices is not None:
                self._cache.drop(place, devices)
            else:
                self._load_anew(place)
        return behind

    def _load_anew(self, place: Partition) -> None:
        self._cache.drop_partition(place)
        if self._incidents is not None:
            self._incidents.forget(place)


def _alerted_us(judged: Sequence[Judged]) -> Times:
    """Kafka's timestamps of the events whose verdict is not the first, which is normal."""
    found = [
        one.classified.events.kafka_us[one.classified.step.applied[one.classified.verdicts.verdict > 0]]
        for one in judged
        if one.classified.events.timestamp_us is not None
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)
