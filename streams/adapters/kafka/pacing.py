"""When aiokafka fetches: everything at once, at most so often, and only once what it has was read.

aiokafka has one fetch in flight with each broker. Left to itself it asks for the partitions that are empty
while another's records wait to be read, and a busy partition then waits for the quiet ones' fetch to end.
Here no fetch begins while anything waits; so each asks for every partition, and comes back with whatever
arrives first. Between two fetches lies the linger, in which more arrives: few fetches, each of many records.

Written against aiokafka 0.14.0, pinned exactly, whose private parts it uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from typing import Any, Final

from aiokafka.structs import TopicPartition

_LONG_S: Final = 3600.0
"""aiokafka fetches from a broker of which records wait to be read once they have waited so long."""


class Pacing:
    """In the thread of the consumer."""

    def __init__(self, fetcher: Any, linger_s: float, clock_s: Callable[[], float]) -> None:
        self._fetcher = fetcher
        self._linger_s = linger_s
        self._clock_s = clock_s
        self._begun_s: dict[int, float] = {}  # by node
        self._held: Set[TopicPartition] = frozenset()
        self._assignment: Any = None  # that these were held in
        self._actions = fetcher._get_actions_per_node
        self._note_error = fetcher._set_error

    def actions(self, assignment: Any) -> Any:
        """For the fetcher's `_get_actions_per_node`: what it would do now, without fetches too soon."""
        self._drop_held()  # a fetch that was under way has brought more
        now_s = self._clock_s()
        soonest_s = min((begun + self._linger_s for begun in self._begun_s.values()), default=now_s)
        if soonest_s > now_s:  # of no broker a fetch is due: not worth the look at every partition
            return [], {}, soonest_s - now_s, False, []
        fetches, resets, timeout_s, is_invalid, resumes = self._actions(assignment)
        due = []
        for node, request in fetches:
            wait_s = self._begun_s.get(node, -float("inf")) + self._linger_s - now_s
            if wait_s > 0:
                timeout_s = min(timeout_s, wait_s)
            else:
                self._begun_s[node] = now_s
                due.append((node, request))
        return due, resets, timeout_s, is_invalid, resumes

    def note_error(self, place: Any, error: Any) -> None:
        """For the fetcher's `_set_error`, which ends the fetcher where something of the partition waits.

        Two brokers may answer for one partition, whose leader moved between their fetches.
        """
        if place not in self._fetcher._records:
            self._note_error(place, error)

    def read(self, records: int, most_records: int) -> None:
        """So many records were read at once. Where that is half of a poll there are more: no linger then."""
        if 2 * records >= most_records:
            self._begun_s.clear()

    def hold(self, partitions: Set[Any]) -> None:
        """Fetch these no more, until a call without them.

        The fetcher is told to look anew: it may be waiting until what was dropped here has been read.
        """
        subscription = self._fetcher._subscriptions.subscription
        assignment = None if subscription is None else subscription.assignment
        if partitions == self._held and assignment is self._assignment:
            return
        before, self._held, self._assignment = self._held, frozenset(partitions), assignment
        self._drop_held()
        if assignment is None:
            return
        for place in assignment.tps:
            if place in self._held:
                assignment.state_value(place).pause()
            elif place in before:
                assignment.state_value(place).resume()
        self._fetcher._notify(self._fetcher._wait_consume_future)

    def _drop_held(self) -> None:
        """Nobody reads it, and no fetch begins while anything waits; later it is fetched again."""
        for place in self._held:
            self._fetcher._records.pop(place, None)


def pace(fetcher: Any, linger_s: float, clock_s: Callable[[], float] = time.monotonic) -> Pacing:
    """Let a fetcher that has not begun fetch at this pace from now on."""
    pacing = Pacing(fetcher, linger_s, clock_s)
    fetcher._prefetch_backoff = _LONG_S
    fetcher._get_actions_per_node = pacing.actions
    fetcher._set_error = pacing.note_error
    return pacing
