"""One chunk's way, start to end, in the order on which the contract rests.

    compute: decode -> load windows -> infer      deliver: explain -> publish and await -> save windows

Then the caller acknowledges. While one chunk is delivered, which is waiting for the network, the next may be
computed; chunks are delivered in the order in which they were computed, one at a time.

Nothing is acknowledged before its alerts are on the broker and its windows in the store; so a crash at any
point leads to the same work once more, and the window's offset keeps it from being applied twice. What is
away is waited for, with back-off: a chunk is never skipped. This module sees ports, not Kafka or Redis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from streams.codec.output.dead_letters import dead_letter, with_sizes
from streams.core import windows as sequence
from streams.core.alerts import CANARY
from streams.core.events import Chunk, Events, Message, Rejected, Source
from streams.core.newcomers import Newcomers
from streams.core.patience import Patience
from streams.core.stopwatch import Stopwatch
from streams.core.windows import Advance, Index, Windows
from streams.model.classified import Classified
from streams.model.detector import Detector
from streams.model.inference import Canary, infer, infer_from_rows
from streams.pipeline.alerting import Rules, Unexplained, explained, messages_of
from streams.pipeline.cache import CacheFigures, WindowCache
from streams.pipeline.loading import Loading
from streams.pipeline.ports import Decoder, Publisher, Reach, Saved, WindowStore
from streams.pipeline.recovery import Recovered, Recovery

STAGES: Final = ("decode", "windows", "infer", "explain", "publish", "save")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one chunk. Times are CPU nanoseconds of the worker's thread, by stage."""

    records: int
    classified: int
    repeats: int
    """Events that had been applied before: read again after a crash or a rebalance."""
    verdicts: Mapping[str, int]
    dead_letters: Mapping[str, int]
    new_devices: int
    """Devices of which no window was known, and that were let in."""
    fenced: int
    """Devices whose stored window was newer than ours: another worker owns them by now."""
    cpu_ns: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A chunk whose verdicts are known, and what is to be delivered of it."""

    source: Source
    devices: Sequence[str]  # D
    based_on: Index  # (D,) the stored offset that each window grew from
    windows: Windows  # (D,) after the chunk
    added: Index  # (D,)
    messages: Sequence[Message]
    unexplained: Sequence[Unexplained]
    report: Report
    reach: Reach | None = None
    """Where lost windows are rebuilt: how far the stored ones are complete once this chunk's are saved."""


@dataclass(frozen=True, slots=True)
class Ports:
    decoder: Decoder
    store: WindowStore
    publisher: Publisher
    patience: Patience
    clock_us: Callable[[], int]
    """Wall clock for `detected_at_us` alone: nothing is decided by it."""
    recovery: Recovery | None = None
    """None: a window that the store lost starts anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What the champion has judged of a chunk, for whoever compares; the arrays are this chunk's own."""

    chunk: Chunk
    windows: Windows  # (D,) before the chunk
    classified: Classified
    cpu_ns: int
    """What judging took; windows half remembered."""


@dataclass(frozen=True, slots=True)
class Judges:
    """Who judges: the champion of a chunk, a challenger for a share of the devices, and who watches."""

    champion: Callable[[Chunk], Detector]
    canary: Callable[[], Canary | None] = lambda: None
    watch: Callable[[Observed], None] = lambda observed: None


class Pipeline:
    """The path of one worker. One thread computes; one, which may be another, delivers."""

    def __init__(self, ports: Ports, rules: Rules, cache: WindowCache, judges: Judges) -> None:
        self._ports = ports
        self._rules = rules
        self._cache = cache
        self._judges = judges
        newcomers = Newcomers(rules.new_devices_per_s)
        self._loading = Loading(ports.store, ports.recovery, ports.patience, cache, newcomers)
        self._ordinals: dict[str, int] = {}  # of the models so far, by digest: whose latents are cached

    def process(self, chunk: Chunk) -> Report:
        """Classify, publish, save. When this returns the chunk may be acknowledged.

        Raises Unavailable when the patience ends while a part is away; nothing may be acknowledged then.
        """
        delivered, fenced = self.deliver(self.compute(chunk))
        self.forget(chunk.source.partition, fenced)
        return delivered

    def compute(self, chunk: Chunk) -> Computed:
        """Decode, load windows, infer; the windows in memory are then those after the chunk."""
        watch = Stopwatch()
        detector = self._judges.champion(chunk)  # one model for the whole chunk
        canary = self._judges.canary()
        decoded = self._ports.patience(lambda: self._ports.decoder.decode(chunk.records))
        watch.lap("decode")
        reach = None if self._ports.recovery is None else self._ports.recovery.take_up(chunk)
        loaded = self._loading(chunk, decoded.events)
        events, devices, windows = loaded.events, loaded.devices, loaded.windows
        rejected = with_sizes(chunk.records, (*decoded.rejected, *loaded.refused))
        step = sequence.advance(windows, loaded.device, events, self._rules.idle_us)
        watch.lap("windows")
        taken = _Taken(chunk.source, events, loaded.slots, windows, step)
        in_canary = None if canary is None else [canary.takes(device) for device in devices]
        parts = [taken] if in_canary is None else _parted(taken, loaded.device, in_canary)
        judged = [self._by_champion(parts[0], detector)]
        if canary is not None:
            judged.append(self._by_challenger(parts[1], canary.detector))
        watch.lap("infer")
        messages, unexplained = self._told(parts, judged)
        messages += self._letters(chunk, rejected)
        watch.lap("publish")
        self._judges.watch(Observed(chunk, parts[0].windows, judged[0], watch.ns["infer"]))
        report = Report(
            records=len(chunk.records),
            classified=len(step.applied),
            repeats=len(events) - len(step.applied),
            verdicts=sum((Counter(classified.names) for classified in judged), Counter[str]()),
            dead_letters=Counter(str(bad.reason) for bad in rejected),
            new_devices=loaded.new_devices,
            fenced=0,
            cpu_ns=watch.ns,
        )
        return Computed(
            chunk.source,
            devices,
            loaded.based_on,
            step.windows,
            step.added,
            messages,
            unexplained,
            report,
            reach,
        )

    def deliver(self, computed: Computed) -> tuple[Report, list[str]]:
        """Publish and await, then save; what became of the chunk, and the devices that were fenced off.

        What drove the alerts that are to say it is computed here, before they go out.
        """
        watch = Stopwatch()
        messages = explained(computed.messages, computed.unexplained, self._rules)
        watch.lap("explain")
        if messages:
            self._ports.patience(lambda: self._ports.publisher.publish(messages))
        watch.lap("publish")
        fenced = self._save(computed)
        if self._ports.recovery is not None and computed.reach is not None:
            self._ports.recovery.delivered(computed.source, computed.reach)
        watch.lap("save")
        cpu_ns = Counter(computed.report.cpu_ns) + Counter(watch.ns)
        return replace(computed.report, fenced=len(fenced), cpu_ns=cpu_ns), fenced

    def forget(self, partition: int, devices: Sequence[str]) -> None:
        """Load these devices' windows anew at their next event: another worker changed them."""
        self._cache.drop(partition, devices)

    @property
    def cache_figures(self) -> CacheFigures:
        return self._cache.figures

    @property
    def recovered(self) -> Recovered:
        return Recovered() if self._ports.recovery is None else self._ports.recovery.figures

    def drop_partition(self, partition: int) -> None:
        """Forget a partition's windows: it was revoked, and its next owner will change them."""
        self._loading.forget(partition)

    def _by_champion(self, taken: _Taken, detector: Detector) -> Classified:
        """Its latents are remembered from chunk to chunk."""
        ordinal = self._ordinal(detector)
        latents, known = self._cache.latents(taken.slots, ordinal, detector.latent_size)  # (D, W, L)
        verdicts, latents = infer(detector, taken.windows, taken.step, taken.events.rows, latents, known)
        self._cache.put(taken.slots, taken.step.windows, latents, ordinal)
        return Classified(taken.source, taken.events, taken.step, detector, verdicts)

    def _by_challenger(self, taken: _Taken, detector: Detector) -> Classified:
        """From raw windows each time: two models' latents in turn would cost the champion its own."""
        verdicts = infer_from_rows(detector, taken.windows, taken.step, taken.events.rows)
        self._cache.put_windows(taken.slots, taken.step.windows)
        return Classified(taken.source, taken.events, taken.step, detector, verdicts, CANARY)

    def _ordinal(self, detector: Detector) -> int:
        return self._ordinals.setdefault(detector.identity.digest, len(self._ordinals) + 1)

    def _told(
        self, parts: Sequence[_Taken], judged: Sequence[Classified]
    ) -> tuple[list[Message], list[Unexplained]]:
        """The messages of what was judged, `parts` by `judged`, and the alerts that are to be explained."""
        told = [
            messages_of(classified, taken.windows, self._rules, self._ports.clock_us())
            for taken, classified in zip(parts, judged, strict=True)
        ]
        messages = [message for written, _ in told for message in written]
        return messages, [unexplained for _, unexplained in told if unexplained is not None]

    def _letters(self, chunk: Chunk, rejected: Sequence[Rejected]) -> list[Message]:
        topic, version = self._rules.topics.dead_letters, self._rules.version
        return [
            dead_letter(chunk.source, chunk.records[bad.position], bad, topic, version) for bad in rejected
        ]

    def _save(self, computed: Computed) -> list[str]:
        """Store the windows that changed; the devices whose stored window is newer than ours.

        The mark is to say that all are stored; so those of repeats, which did not change, come along.
        """
        keeps_mark = computed.reach is not None
        changed = np.arange(len(computed.devices)) if keeps_mark else np.flatnonzero(computed.added)
        if not len(changed) and not keeps_mark:
            return []
        names = [computed.devices[i] for i in changed.tolist()]
        saved = self._ports.patience(
            lambda: self._ports.store.save(
                computed.source,
                names,
                computed.based_on[changed],
                computed.windows[changed],
                computed.added[changed],
                computed.reach,
            )
        )
        return [names[i] for i in np.flatnonzero(saved == Saved.NEWER_STORED).tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """A chunk's events and the windows (D,) of devices before it; of some of the devices, a part of it."""

    source: Source
    events: Events
    slots: Index  # (D,)
    windows: Windows  # (D,)
    step: Advance


def _parted(taken: _Taken, device: Index, in_canary: Sequence[bool]) -> list[_Taken]:
    """What the champion judges, and what the challenger does; `device` (N,) says whose each event is."""
    canary = np.array(in_canary, bool)  # (D,)
    owner = device[taken.step.applied]  # (A,)
    return [
        replace(
            taken,
            slots=taken.slots[chosen],
            windows=taken.windows[chosen],
            step=sequence.part_of(taken.step, owner, chosen),
        )
        for chosen in (np.flatnonzero(~canary), np.flatnonzero(canary))
    ]
