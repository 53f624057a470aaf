"""A window store in memory that obeys the laws of the one in Redis, and a patience that waits no time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from streams.core.events import Chunk, Source
from streams.core.windows import HEAD, packed
from streams.errors import BrokerUnavailable, WindowStoreUnavailable
from streams.model.detector import Detector
from streams.pipeline.ports import IncidentSave, Mark, Save, Saved
from streams.pipeline.turn import Admitted


class FakeWindows:
    """A dictionary that compares before it writes, as the Redis script does."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, int, str], bytes] = {}
        self.marks: dict[tuple[str, int], tuple[bytes, Mark]] = {}
        self.books: dict[tuple[str, int], tuple[bytes, int, dict[str, bytes], dict[str, bytes]]] = {}
        self.away = 0  # how many calls fail before the next one succeeds

    def load(self, wanted: Sequence[tuple[Source, Sequence[str]]]) -> list[list[bytes | None]]:
        self._answer()
        return [
            [self.values.get((source.topic, source.partition, device)) for device in devices]
            for source, devices in wanted
        ]

    def save(self, saves: Sequence[Save]) -> list[npt.NDArray[np.uint8]]:
        self._answer()
        return [self._save(save) for save in saves]

    def _save(self, save: Save) -> npt.NDArray[np.uint8]:
        source, devices, reach = save.source, save.devices, save.reach
        saved, values = np.zeros(len(devices), np.uint8), packed(save.windows)
        life, mark = self.marks.get((source.topic, source.partition), (b"", Mark(0, -1)))
        reached = reach is not None and life == source.topic_id.bytes and mark.through >= reach.follows
        if reach is not None and reach.only_with_mark and not reached:
            return np.full(len(devices), Saved.NO_MARK, np.uint8)
        for i, device in enumerate(devices):
            key = (source.topic, source.partition, device)
            window = save.windows[i]
            if key in self.values:
                head = np.frombuffer(self.values[key][: HEAD.itemsize], HEAD)[0]
                same_life = (head["topic_id"] == window["head"]["topic_id"]).all()
                newer = head["offset"] > window["head"]["offset"] and head["offset"] != save.based_on[i]
                replaces = save.based_on[i] in (-1, -2 - head["offset"])
                if (same_life and newer) or not (same_life or replaces):
                    saved[i] = Saved.NEWER_STORED
                    continue
            self.values[key] = values[i]
        if reach is not None and reached:
            self.marks[source.topic, source.partition] = (
                life,
                Mark(mark.since, max(mark.through, reach.last)),
            )
        return saved if save.incidents is None else np.append(saved, self._keep(source, save.incidents))

    def _keep(self, source: Source, save: IncidentSave) -> Saved:
        life, through, states, reasons = self._book(source)
        of_another_life = source.place in self.books and self.books[source.place][0] != life
        if (through > save.through or (of_another_life and save.follows >= 0)) and not save.whole:
            return Saved.NEWER_STORED
        if through < save.follows and not save.whole:
            return Saved.LOST
        if save.whole:
            states, reasons = {}, {}
        for kept, changes in ((states, save.changed), (reasons, save.reasons)):
            for key, value in changes.items():
                kept.pop(key, None)
                if value is not None:
                    kept[key] = value
        self.books[source.place] = (life, save.through, states, reasons)
        return Saved.DONE

    def _book(self, source: Source) -> tuple[bytes, int, dict[str, bytes], dict[str, bytes]]:
        life = source.topic_id.bytes
        found = self.books.get(source.place)
        return found if found is not None and found[0] == life else (life, -1, {}, {})

    def incidents(self, source: Source) -> tuple[int, Iterable[tuple[str, bytes]]]:
        self._answer()
        _, through, states, _ = self._book(source)
        return through, list(states.items())

    def reached(self, sources: Sequence[Source]) -> list[int]:
        self._answer()
        return [self._book(source)[1] for source in sources]

    def reasons(self, wanted: Sequence[tuple[Source, str]]) -> list[bytes | None]:
        self._answer()
        return [self._book(source)[3].get(key) for source, key in wanted]

    def mark(self, source: Source) -> Mark | None:
        self._answer()
        life, mark = self.marks.get((source.topic, source.partition), (b"", Mark(0, -1)))
        return mark if life == source.topic_id.bytes else None

    def put_mark(self, source: Source, mark: Mark) -> None:
        self._answer()
        self.marks[source.topic, source.partition] = (source.topic_id.bytes, mark)

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise WindowStoreUnavailable("the fake store is away")


def patient(attempt: Callable[[], object]) -> object:
    """A patience that waits no time at all; gives up after a thousand attempts."""
    for _ in range(1000):
        try:
            return attempt()
        except (BrokerUnavailable, WindowStoreUnavailable):
            continue
    raise AssertionError("still away after 1,000 attempts")


class Always:
    """Everything may begin, judged by one model."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def admit(self, chunks: Sequence[Chunk]) -> Admitted:
        return Admitted(tuple(chunks), (self._detector,) * len(chunks), {})
