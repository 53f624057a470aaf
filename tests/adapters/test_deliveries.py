"""What is delivered, done and committed: whatever is acknowledged, given up, revoked or begins anew."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.adapters.kafka.deliveries import Committable, Deliveries
from streams.core.events import Chunk, Partition, Source

FORMER, LIFE = uuid.UUID(int=1), uuid.UUID(int=2)


def source(partition: int = 0, life: uuid.UUID = LIFE) -> Source:
    return Source("t", life, partition)


def chunk(offsets: Iterable[int], partition: int = 0, life: uuid.UUID = LIFE) -> Chunk:
    records: Any = [SimpleNamespace(offset=offset) for offset in offsets]
    return Chunk(source(partition, life), records, 10**6)


ZERO, ONE = source(0), source(1)


def test_a_message_is_done_once_each_of_its_chunks_is_acknowledged_or_given_up() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10)), chunk(range(5), 1), chunk(range(5), 2)])
    made.deliver("b", [chunk(range(10, 20))])
    assert made.acknowledge(ZERO, 9) == []
    assert made.give_up(ONE, 0) == []
    assert made.acknowledge(ZERO, 19) == ["b"]
    assert made.acknowledge(source(2), 4) == ["a"]


def test_one_acknowledgement_may_be_of_many_deliveries() -> None:
    made: Deliveries[str] = Deliveries()
    for number, name in enumerate("abc"):
        made.deliver(name, [chunk(range(10 * number, 10 * number + 10))])
    assert made.acknowledge(ZERO, 19) == ["a", "b"]
    assert made.committable(ZERO.place) == Committable(20, LIFE)
    assert made.records_under_way() == 10


def test_part_of_a_chunk_is_committed_and_the_message_waits_for_the_rest() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10))])
    assert made.acknowledge(ZERO, 3) == []
    assert made.committable(ZERO.place) == Committable(4, LIFE)
    assert made.acknowledge(ZERO, 3) == []
    assert made.committable(ZERO.place) is None, "said before"
    assert made.acknowledge(ZERO, 9) == ["a"]
    assert made.committable(ZERO.place) == Committable(10, LIFE)


@pytest.mark.parametrize("is_acknowledged_first", [True, False])
def test_a_chunk_whose_part_is_done_and_the_rest_given_up_is_waited_for_no_longer(
    is_acknowledged_first: bool,
) -> None:
    """A turn takes the part up to a switch, say, and then a rebalance begins."""
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10))])
    if is_acknowledged_first:
        assert made.acknowledge(ZERO, 3) == []
        assert made.give_up(ZERO, 4) == ["a"]
    else:
        assert made.give_up(ZERO, 4) == []
        assert made.acknowledge(ZERO, 3) == ["a"]
    assert made.committable(ZERO.place) == Committable(4, LIFE)
    assert made.records_under_way() == 0


def test_what_is_given_up_is_not_committed() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10))])
    assert made.give_up(ZERO, 0) == ["a"]
    assert made.committable(ZERO.place) is None
    assert made.pending() == []


@pytest.mark.parametrize("anew", [chunk(range(10)), chunk(range(400), life=uuid.UUID(int=3))])
def test_what_was_under_way_of_a_former_life_is_done_and_not_committed(anew: Chunk) -> None:
    """Known by offsets that go back, or by another id where they do not."""
    made: Deliveries[str] = Deliveries()
    assert made.deliver("a", [chunk(range(300))]) == []
    assert made.deliver("b", [anew]) == [ZERO.place]
    beginning = Committable(0, anew.source.topic_id)
    assert made.committable(ZERO.place) == beginning, "a late commit of the former life is undone"
    assert made.acknowledge(ZERO, 299) == ["a"]
    assert made.committable(ZERO.place) is None
    assert made.acknowledge(anew.source, anew.last_offset) == ["b"]
    assert made.committable(ZERO.place) == Committable(anew.last_offset + 1, anew.source.topic_id)


def test_what_was_revoked_is_forgotten() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10)), chunk(range(10), 1)])
    made.acknowledge(ZERO, 4)
    made.revoke([ZERO.place])
    assert (made.acknowledge(ZERO, 9), made.give_up(ZERO, 0)) == ([], [])
    assert made.committable(ZERO.place) is None
    assert made.records_under_way() == 10
    assert made.deliver("b", [chunk(range(5))]) == [], "whatever comes next is no beginning anew"


def test_what_was_not_committed_is_told_again_unless_it_is_of_a_former_life_or_a_later_one_is_known() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10), life=FORMER)])
    made.acknowledge(source(0, FORMER), 4)
    taken = made.committable(ZERO.place)
    assert taken == Committable(5, FORMER)
    made.restore(ZERO.place, taken)
    assert made.committable(ZERO.place) == taken
    made.acknowledge(source(0, FORMER), 9)
    made.restore(ZERO.place, taken)
    assert made.committable(ZERO.place) == Committable(10, FORMER)
    made.revoke([ZERO.place])
    made.deliver("b", [chunk(range(10))])
    made.restore(ZERO.place, taken)
    assert made.committable(ZERO.place) is None


def test_records_of_partitions_held_back_are_not_counted() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10)), chunk(range(5), 1)])
    assert made.records_under_way() == 15
    assert made.records_under_way(frozenset({ZERO.place})) == 5


def test_an_acknowledgement_of_another_life_does_nothing() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10))])
    assert made.acknowledge(source(0, FORMER), 9) == []
    assert made.pending() == []


def test_a_partition_without_records_has_a_position_to_commit() -> None:
    made: Deliveries[str] = Deliveries()
    assert not made.stand(ZERO.place, Committable(7, LIFE))
    assert made.committable(ZERO.place) == Committable(7, LIFE)
    assert not made.stand(ZERO.place, Committable(7, LIFE))
    assert not made.stand(ZERO.place, Committable(9, LIFE, 1000))
    assert made.committable(ZERO.place) == Committable(9, LIFE, 1000)


def test_offsets_without_records_are_committed_once_all_before_them_is_done() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10))])
    made.stand(ZERO.place, Committable(15, LIFE))
    assert made.committable(ZERO.place) is None
    made.acknowledge(ZERO, 4)
    assert made.committable(ZERO.place) == Committable(5, LIFE)
    made.acknowledge(ZERO, 9)
    assert made.committable(ZERO.place) == Committable(15, LIFE)


def test_nothing_beyond_what_was_given_up_is_committed() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10))])
    made.give_up(ZERO, 5)
    made.stand(ZERO.place, Committable(15, LIFE))
    made.acknowledge(ZERO, 4)
    made.stand(ZERO.place, Committable(16, LIFE))
    assert made.committable(ZERO.place) == Committable(5, LIFE)


def test_a_topic_made_again_without_records_begins_anew() -> None:
    made: Deliveries[str] = Deliveries()
    made.deliver("a", [chunk(range(10), life=FORMER)])
    assert made.stand(ZERO.place, Committable(0, LIFE))
    assert made.acknowledge(source(0, FORMER), 9) == ["a"]
    assert made.committable(ZERO.place) == Committable(0, LIFE)


@dataclass
class Piece:
    """One delivered chunk that is under way."""

    source: Source
    offsets: list[int]
    """Neither acknowledged nor given up, or under way in a turn."""
    message: int
    is_former: bool = False


@dataclass
class State:
    """One partition as the test has it, kept by offset and not by range."""

    source: Source
    pieces: list[Piece] = field(default_factory=list)
    read_through: int = -1
    undone: set[int] = field(default_factory=set)
    """Offsets of this life that were delivered and not acknowledged, given up or not."""
    committable: Committable | None = None
    taken: Committable | None = None
    is_leaving: bool = False
    position: int = -1
    """Where reading was said to stand, of what was read last."""


PARTITIONS = st.integers(0, 2)


class DeliveriesLaws(RuleBasedStateMachine):
    """Delivering, acknowledging, giving up, beginning anew, revoking and committing in any order.

    As a conveyor does it: oldest first; and once it has given something up, it gives up all that follows,
    until the partition is assigned anew.
    """

    @initialize()
    def begin(self) -> None:
        self.made: Deliveries[int] = Deliveries()
        self.states: dict[Partition, State] = {}
        self.messages: dict[int, int] = {}  # to the number of its chunks under way, revoked ones included
        self.lives = 1

    # What may happen.

    @rule(wanted=st.lists(PARTITIONS, min_size=1, max_size=3, unique=True), data=st.data())
    def deliver(self, wanted: list[int], data: st.DataObject) -> None:
        chunks, anew = [], []
        message = len(self.messages)
        self.messages[message] = len(wanted)
        for partition in wanted:
            state = self._state(partition)
            is_anew = bool(state.read_through > 0 and data.draw(st.integers(0, 5), label="anew if 0") == 0)
            if is_anew and data.draw(st.booleans(), label="in another life"):
                self.lives += 1
                state.source = source(partition, uuid.UUID(int=self.lives))
                first = data.draw(st.integers(0, state.read_through + 5), label="first offset")
                offsets = self._offsets(data, first, first + 8)
            elif is_anew:
                first = data.draw(st.integers(0, state.read_through - 1), label="first offset, going back")
                offsets = self._offsets(data, first, state.read_through - 1)
            else:
                first = state.read_through + 1 + data.draw(st.integers(0, 2), label="gap")
                offsets = self._offsets(data, first, first + 8)
            if is_anew:
                anew.append(state.source.place)
                self._begins_anew(state, offsets[0])
            state.position = -1
            state.pieces.append(Piece(state.source, list(offsets), message))
            state.undone |= set(offsets)
            state.read_through = offsets[-1]
            chunks.append(chunk(offsets, partition, state.source.topic_id))
        assert self.made.deliver(message, chunks) == anew
        for one in chunks:
            state = self.states[one.source.place]
            if state.is_leaving:
                self._give_up(state, one.source, one.first_offset)

    @rule(partition=PARTITIONS, beyond=st.integers(-2, 3))
    def stand(self, partition: int, beyond: int) -> None:
        """Reading stands somewhere after the last record; an earlier place is old news."""
        known, state = ("t", partition) in self.states, self._state(partition)
        offset = max(state.read_through + 1 + beyond, 0)
        at = Committable(offset, state.source.topic_id)
        assert self.made.stand(state.source.place, at) is False
        if not known:
            state.committable, state.read_through = at, offset - 1
        elif offset > state.read_through:
            state.position, state.read_through = offset, offset - 1
            self._settles(state)

    @precondition(lambda self: any(state.pieces for state in self.states.values()))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        state = self._busy(data)
        run = self._oldest_run(state)
        offsets = [offset for piece in run for offset in piece.offsets]
        through = data.draw(st.sampled_from(offsets), label="through")
        self._acknowledge(state, run[0].source, run[0].is_former, through)

    @precondition(lambda self: any(state.pieces for state in self.states.values()))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """From some offset of some delivery on, and all that follows."""
        state = self._busy(data)
        at = data.draw(st.integers(0, len(state.pieces) - 1), label="from which delivery on")
        first = data.draw(st.sampled_from(state.pieces[at].offsets), label="from which offset on")
        state.is_leaving = True
        for piece, offset in [(piece, piece.offsets[0]) for piece in state.pieces[at + 1 :]] + [
            (state.pieces[at], first)
        ]:
            self._give_up(state, piece.source, offset)

    @precondition(lambda self: bool(self.states))
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(sorted(self.states)), label="revoked")
        state = self.states.pop(place)
        self.made.revoke([place])
        for piece in state.pieces:
            self.messages[piece.message] = -(10**6)  # never done: Faust forgot it, too
        assert self.made.acknowledge(state.source, 10**6) == []
        assert self.made.give_up(state.source, 0) == []

    @precondition(lambda self: any(state.committable for state in self.states.values()))
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """For a commit; there is one at a time."""
        place = data.draw(st.sampled_from(sorted(self.made.pending())), label="committed")
        state = self.states[place]
        if state.taken is None:
            taken = self.made.committable(place)
            assert taken == state.committable is not None
            self._is_safe(state, taken)
            state.taken, state.committable = taken, None

    @precondition(lambda self: any(state.taken for state in self.states.values()))
    @rule(fails=st.booleans(), data=st.data())
    def settle(self, fails: bool, data: st.DataObject) -> None:
        """The commit has ended, in time or not."""
        places = sorted(place for place, state in self.states.items() if state.taken)
        place = data.draw(st.sampled_from(places), label="settled")
        state = self.states[place]
        taken, state.taken = state.taken, None
        assert taken is not None
        if fails:
            self.made.restore(place, taken)
            if state.committable is None and taken.topic_id == state.source.topic_id:
                state.committable = taken

    # What holds all the time.

    @invariant()
    def what_is_under_way_is_what_is_outstanding(self) -> None:
        if hasattr(self, "made"):
            by_place = {
                place: sum(len(piece.offsets) for piece in state.pieces)
                for place, state in self.states.items()
            }
            assert self.made.records_under_way() == sum(by_place.values())
            for place, records in by_place.items():
                others = frozenset(by_place.keys() - {place})
                assert self.made.records_under_way(others) == records

    @invariant()
    def what_can_be_committed_is_what_was_acknowledged_of_this_life(self) -> None:
        if hasattr(self, "made"):
            pending = {place for place, state in self.states.items() if state.committable is not None}
            assert set(self.made.pending()) == pending
            for state in self.states.values():
                self._is_safe(state, state.committable)

    def teardown(self) -> None:
        """A wait for what is under way ends: all of it is acknowledged, and nothing else is waited for."""
        if not hasattr(self, "made"):
            return
        for state in self.states.values():
            while state.pieces:
                run = self._oldest_run(state)
                self._acknowledge(state, run[0].source, run[0].is_former, run[-1].offsets[-1])
        assert all(left <= 0 for left in self.messages.values())
        assert self.made.records_under_way() == 0

    # The test's own account.

    def _state(self, partition: int) -> State:
        self.lives += 1
        fresh = State(source(partition, uuid.UUID(int=self.lives)))
        return self.states.setdefault(("t", partition), fresh)

    def _busy(self, data: st.DataObject) -> State:
        busy = sorted(place for place, state in self.states.items() if state.pieces)
        return self.states[data.draw(st.sampled_from(busy), label="partition")]

    def _offsets(self, data: st.DataObject, first: int, last: int) -> list[int]:
        """From `first` on, some of them gone by compaction."""
        others = st.sets(st.integers(first, max(first, last)), max_size=6)
        return sorted({first} | data.draw(others, label="offsets"))

    def _begins_anew(self, state: State, first: int) -> None:
        for piece in state.pieces:
            piece.is_former = True
        state.undone = set()
        state.committable = Committable(first, state.source.topic_id)

    def _oldest_run(self, state: State) -> list[Piece]:
        """What a turn can have taken as one chunk: of one life, with ascending offsets."""
        run = state.pieces[:1]
        for piece in state.pieces[1:]:
            if piece.source != run[-1].source or piece.offsets[0] <= run[-1].offsets[-1]:
                break
            if piece.is_former != run[-1].is_former:
                break
            run.append(piece)
        return run

    def _acknowledge(self, state: State, of: Source, is_former: bool, through: int) -> None:
        if not is_former:
            state.committable = Committable(through + 1, of.topic_id)
            state.undone = {offset for offset in state.undone if offset > through}
        for piece in self._oldest_run(state):
            piece.offsets = [offset for offset in piece.offsets if offset > through]
        assert sorted(self.made.acknowledge(of, through)) == self._done(state)
        self._settles(state)

    def _settles(self, state: State) -> None:
        """Once all that was read is done, so is what lies before the position."""
        if state.pieces or state.is_leaving or state.position < 0:
            return
        if state.committable is None or state.position > state.committable.offset:
            state.committable = Committable(state.position, state.source.topic_id)
        state.position = -1

    def _give_up(self, state: State, of: Source, first: int) -> None:
        for piece in state.pieces:
            if piece.source == of:
                piece.offsets = [offset for offset in piece.offsets if offset < first]
        assert sorted(self.made.give_up(of, first)) == self._done(state)

    def _done(self, state: State) -> list[int]:
        """The messages of which nothing is under way any more."""
        done = []
        for piece in state.pieces:
            if not piece.offsets:
                self.messages[piece.message] -= 1
                if self.messages[piece.message] == 0:
                    done.append(piece.message)
        state.pieces = [piece for piece in state.pieces if piece.offsets]
        return sorted(done)

    def _is_safe(self, state: State, committable: Committable | None) -> None:
        if committable is not None:
            assert committable.topic_id == state.source.topic_id, "of a former life"
            assert all(offset >= committable.offset for offset in state.undone), "beyond what is done"


TestDeliveriesLaws = DeliveriesLaws.TestCase
TestDeliveriesLaws.settings = settings(
    deadline=None, max_examples=150, stateful_step_count=30, report_multiple_bugs=False
)
