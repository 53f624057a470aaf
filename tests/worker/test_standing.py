"""A partition that has records and is not fetched is said once, and again after it was well meanwhile."""

from __future__ import annotations

from streams.adapters.kafka.offsets import Offsets, Standing
from streams.core.events import Partition
from streams.worker.standing import UNFETCHED_S, Standings

LONG_S = UNFETCHED_S + 1


def place(number: int) -> Partition:
    return "ids.telemetry", number


class Partitions(Standings):
    """Of `count` partitions, each fetched just now, read to offset 10 and ending there."""

    def __init__(self, count: int) -> None:
        self.now_s = 0.0
        super().__init__(lambda: self.now_s)
        self.known = {place(number): Standing(10, 0.0) for number in range(count)}
        self.of_consumer = lambda: self.known
        self.assigned(self.known)
        self.note_offsets(dict.fromkeys(self.known, Offsets(10, 10)))

    def stands(self, number: int, fetched_s: float | None = LONG_S, end: int = 15) -> None:
        self.known[place(number)] = Standing(10, fetched_s)
        self.note_offsets({place(number): Offsets(end, 10)})


def test_one_that_is_not_fetched_is_said_once_with_how_many_records_wait() -> None:
    partitions = Partitions(3)
    assert partitions.unfetched() is None
    partitions.stands(2)
    assert partitions.unfetched() == "not fetched for 60 s though records wait: ids.telemetry-2 (5 records)"
    assert partitions.unfetched() is None
    partitions.stands(1, end=11)
    line = partitions.unfetched()
    assert line is not None
    assert "ids.telemetry-1 (1 records)" in line
    assert "ids.telemetry-2" not in line


def test_one_that_was_well_meanwhile_is_said_again() -> None:
    partitions = Partitions(1)
    partitions.stands(0)
    assert partitions.unfetched()
    partitions.stands(0, fetched_s=0.1)
    assert partitions.unfetched() is None
    partitions.stands(0)
    assert partitions.unfetched()


def test_one_without_records_or_fetched_of_late_is_well() -> None:
    partitions = Partitions(2)
    partitions.stands(0, end=10)
    partitions.stands(1, fetched_s=UNFETCHED_S)
    assert partitions.unfetched() is None


def test_one_that_was_never_fetched_counts_from_its_assignment() -> None:
    partitions = Partitions(1)
    partitions.stands(0, fetched_s=None)
    assert partitions.unfetched() is None
    partitions.now_s = LONG_S
    assert partitions.unfetched()


def test_a_line_about_many_names_a_few() -> None:
    partitions = Partitions(200)
    for number in range(200):
        partitions.stands(number)
    line = partitions.unfetched()
    assert line is not None
    assert line.endswith("ids.telemetry-4 (5 records), and 195 more")
