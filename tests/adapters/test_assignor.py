"""Which worker reads which partitions: each that the topic has, exactly one, whatever it had before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.adapters.kafka import faust_app
from streams.adapters.kafka.assignor import PresentPartitionAssignor
from streams.settings import Settings

TOPIC = "t"


class Sensors:
    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


def worker(number: int) -> Any:
    app = SimpleNamespace(
        tables=SimpleNamespace(data={}, changelog_topics=set()),
        conf=SimpleNamespace(canonical_url=f"http://worker-{number}"),
        sensors=Sensors(),
        tracer=None,
    )
    return PresentPartitionAssignor(app, replicas=1)


def rebalanced(workers: dict[int, Any], partitions: int) -> list[int]:
    """What the workers read after a rebalance, led by the first of them."""
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: set(range(partitions)))
    members = {}
    for number, of in workers.items():
        told = of.metadata({TOPIC})
        members[str(number)] = ConsumerProtocolMemberMetadata(told.version, told.subscription, told.user_data)
    found = next(iter(workers.values())).assign(cluster, members)
    for number, of in workers.items():
        of.on_assignment(found[str(number)])
    return sorted(place.partition for of in workers.values() for place in of.assigned_actives())


@given(
    rounds=st.lists(
        st.tuples(st.integers(1, 24), st.sets(st.integers(0, 5), min_size=1)), min_size=1, max_size=6
    )
)
@example(rounds=[(8, {1, 2, 3}), (4, {1, 2, 3})])
@settings(deadline=None)
def test_every_partition_of_the_topic_is_read_by_one_worker(rounds: list[tuple[int, set[int]]]) -> None:
    """Rounds of so many partitions and these workers; who stays remembers what it held."""
    workers: dict[int, Any] = {}
    for partitions, who in rounds:
        workers = {number: workers.get(number) or worker(number) for number in sorted(who)}
        assert rebalanced(workers, partitions) == [*range(partitions)]


def test_who_stays_keeps_what_it_had() -> None:
    workers = {1: worker(1), 2: worker(2)}
    rebalanced(workers, 8)
    before = {number: of.assigned_actives() for number, of in workers.items()}
    rebalanced(workers, 4)
    for number, of in workers.items():
        assert len(of.assigned_actives() & before[number]) >= 2


def test_the_app_uses_it() -> None:
    assert faust_app.app_settings(Settings())["PartitionAssignor"] is PresentPartitionAssignor
