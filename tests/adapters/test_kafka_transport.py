"""The chunked transport on Apache Kafka: workers as processes, what they saw, what they committed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka import ConsumerGroupState, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.deliveries import Committable
from streams.adapters.kafka.positions import seek_to_committed
from streams.embedded.kafka import Broker
from tests.kafka_reading import committed

pytestmark = pytest.mark.kafka

Seen = list[dict[str, Any]]
NewTopic = Callable[..., str]
ROOT = Path(__file__).parents[2]


@contextmanager
def worker(
    kafka: Broker, group: str, topic: str, out: Path, most: int, pause_s: float = 0, *, id_after_s: str = ""
) -> Iterator[Any]:
    """tests/kafka_worker.py as a process of its own; stopped in order when the context ends."""
    arguments = (kafka.bootstrap_servers, group, topic, str(out), str(most), str(pause_s), id_after_s)
    with out.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.kafka_worker", *arguments], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        yield process
        process.terminate()
        assert process.wait(30) in {0, -signal.SIGKILL}, out.with_suffix(".log").read_text()
    finally:
        process.kill()
        process.wait()


def produce(kafka: Broker, topic: str, count: int, compression: str = "none", size: int = 100) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "compression.type": compression, "linger.ms": 5}
    )
    for i in range(count):
        producer.produce(topic, b"%d" % i + b"." * size, key=b"%d" % (i % 97), headers=[("i", b"%d" % i)])
        producer.poll(0)
    assert producer.flush(30) == 0


def seen(*files: Path) -> Seen:
    """What workers wrote down, each in its own order; a line that is being written is left out."""
    text = "".join(file.read_text() for file in files if file.exists())
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]


def wait_for(what: Callable[[], bool], timeout_s: float = 40) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.05)


def ranges(chunks: Seen) -> dict[int, list[tuple[int, int]]]:
    """Partition to the (first, last) offsets of its chunks, in the order of their processing."""
    found = defaultdict(list)
    for chunk in chunks:
        found[chunk["partition"]].append((chunk["first"], chunk["last"]))
    return found


def offsets_seen(chunks: Seen) -> dict[int, set[int]]:
    return {
        partition: {offset for first, last in spans for offset in range(first, last + 1)}
        for partition, spans in ranges(chunks).items()
    }


def total(chunks: Seen) -> int:
    return sum(chunk["count"] for chunk in chunks)


def all_committed(kafka: Broker, group: str, topic: str) -> bool:
    return all(
        max(offset, 0) == end for offset, end in committed(kafka.bootstrap_servers, group, topic).values()
    )


def test_every_record_comes_once_and_in_order_and_is_committed_whatever_its_compression(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    topic, group, out = new_topic(partitions=3), uuid.uuid4().hex, tmp_path / "a"
    for compression in ("none", "gzip", "lz4", "snappy", "zstd"):
        produce(kafka, topic, 1000, compression)
    with worker(kafka, group, topic, out, most=256):
        wait_for(lambda: total(seen(out)) >= 5000)
    chunks = seen(out)
    assert total(chunks) == 5000
    assert max(chunk["count"] for chunk in chunks) <= 256
    assert all(chunk["end"] > chunk["last"] for chunk in chunks)
    for spans in ranges(chunks).values():
        assert spans[0][0] == 0
        assert all(later[0] == earlier[1] + 1 for earlier, later in pairwise(spans))
    assert all_committed(kafka, group, topic)
    assert chunks[0]["headers"][0][0] == "i"


def test_idle_partitions_do_not_hold_up_a_busy_one(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    """500 chunks of one partition among twelve; Faust's own back-pressure lets some 16 a second through."""
    topic, out = new_topic(partitions=12), tmp_path / "a"
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for _ in range(32_000):
        producer.produce(topic, b"." * 20, partition=5)
    assert producer.flush(30) == 0
    with worker(kafka, uuid.uuid4().hex, topic, out, most=64):
        wait_for(lambda: total(seen(out)) > 0)
        wait_for(lambda: total(seen(out)) == 32_000, timeout_s=15)
    assert offsets_seen(seen(out)) == {5: set(range(32_000))}


def test_a_record_of_a_megabyte_passes_among_small_ones(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    topic, group, out = new_topic(partitions=1), uuid.uuid4().hex, tmp_path / "a"
    produce(kafka, topic, 10)
    produce(kafka, topic, 2, size=980_000)
    produce(kafka, topic, 10)
    with worker(kafka, group, topic, out, most=64):
        wait_for(lambda: total(seen(out)) >= 22)
    assert offsets_seen(seen(out)) == {0: set(range(22))}


def test_a_worker_that_starts_again_goes_on_where_it_stopped(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    topic, group, first, second = new_topic(partitions=2), uuid.uuid4().hex, tmp_path / "a", tmp_path / "b"
    produce(kafka, topic, 3000)
    with worker(kafka, group, topic, first, most=100, pause_s=0.05):
        wait_for(lambda: total(seen(first)) >= 500)
    done = offsets_seen(seen(first))
    assert total(seen(first)) < 3000
    with worker(kafka, group, topic, second, most=100):
        wait_for(lambda: total(seen(first, second)) >= 3000)
    rest = offsets_seen(seen(second))
    assert all(min(rest[partition]) == max(done.get(partition, {-1})) + 1 for partition in rest)
    assert total(seen(first, second)) == 3000
    assert all_committed(kafka, group, topic)


def in_a_transaction(kafka: Broker, topic: str, partition: int, count: int) -> Producer:
    """Records of a transaction that is open yet."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    to_partition(producer, topic, partition, count)
    return producer


def to_partition(producer: Producer, topic: str, partition: int, count: int) -> None:
    for _ in range(count):
        producer.produce(topic, b".", partition=partition)
    assert producer.flush(30) == 0


def test_what_was_aborted_is_never_delivered_and_all_that_was_passed_over_is_committed(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    """Partition 0 holds aborted and committed records, 1 nothing, 2 aborted ones alone.

    Then a transaction in partition 1 stays open: what comes after it waits until it is committed.
    """
    topic, group, out = new_topic(partitions=3), uuid.uuid4().hex, tmp_path / "a"
    plain = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    to_partition(plain, topic, 0, 10)
    in_a_transaction(kafka, topic, 0, 5).abort_transaction(30)
    in_a_transaction(kafka, topic, 0, 4).commit_transaction(30)
    in_a_transaction(kafka, topic, 2, 7).abort_transaction(30)
    with worker(kafka, group, topic, out, most=64):
        wait_for(lambda: total(seen(out)) >= 14)
        wait_for(lambda: everywhere_committed(kafka, group, topic) == {0: 21, 1: 0, 2: 8})
        open_one = in_a_transaction(kafka, topic, 1, 3)
        to_partition(plain, topic, 1, 2)
        to_partition(plain, topic, 0, 1)
        wait_for(lambda: total(seen(out)) >= 15)
        assert 1 not in ranges(seen(out))
        open_one.commit_transaction(30)
        wait_for(lambda: everywhere_committed(kafka, group, topic) == {0: 22, 1: 6, 2: 8})
    assert total(seen(out)) == 20
    offsets = {at for first, last in ranges(seen(out))[0] for at in (first, last)}
    assert not offsets & set(range(10, 16)), "aborted, or the mark of that"


def everywhere_committed(kafka: Broker, group: str, topic: str) -> dict[int, int]:
    return {place: offset for place, (offset, _) in committed(kafka.bootstrap_servers, group, topic).items()}


def test_what_retention_took_before_it_was_read_is_said_and_counted_and_reading_goes_on(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    """Of partition 0 while no worker ran; what a group has never stood at is no loss to it."""
    topic, group, out = new_topic(partitions=2), uuid.uuid4().hex, tmp_path / "a"
    plain, admin = (made({"bootstrap.servers": kafka.bootstrap_servers}) for made in (Producer, AdminClient))
    to_partition(plain, topic, 1, 20)
    deleted_before(admin, topic, 1, 10)
    with worker(kafka, group, topic, out, most=64):
        wait_for(lambda: everywhere_committed(kafka, group, topic) == {0: 0, 1: 20})
    to_partition(plain, topic, 0, 310)
    deleted_before(admin, topic, 0, 300)
    with worker(kafka, group, topic, out, most=64):
        wait_for(lambda: everywhere_committed(kafka, group, topic) == {0: 310, 1: 20})
    assert offsets_seen(seen(out)) == {0: set(range(300, 310)), 1: set(range(10, 20))}
    log = out.with_suffix(".log").read_text()
    assert [json.loads(line) for line in log.splitlines() if line.startswith('{"lost"')] == [
        {"lost": [0, 0, 300, "retention"]}
    ]
    assert f"{topic}-0: offsets 0 to 299 are lost" in log


def deleted_before(admin: AdminClient, topic: str, partition: int, offset: int) -> None:
    """As retention does it, at once."""
    (deleted,) = admin.delete_records([TopicPartition(topic, partition, offset)]).values()
    assert deleted.result(30).low_watermark == offset


def test_a_seek_to_what_was_committed_goes_to_the_beginning_where_nothing_was_or_of_another_life(
    kafka: Broker, new_topic: NewTopic
) -> None:
    """Faust drops what it fetched during a rebalance and seeks back; aiokafka alone would stay after it."""
    topic = new_topic(partitions=1)
    produce(kafka, topic, 10)

    place, life, former = aiokafka.TopicPartition(topic, 0), uuid.uuid4(), uuid.uuid4()

    async def offsets() -> list[int]:
        consumer = aiokafka.AIOKafkaConsumer(
            topic,
            bootstrap_servers=kafka.bootstrap_servers,
            group_id=topic,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            found = [(await consumer.getone()).offset]
            await seek_to_committed(consumer, {topic: life}, {place})
            found.append((await consumer.getone()).offset)
            for metadata in ("", str(life), str(former)):
                await consumer.commit({place: OffsetAndMetadata(5, metadata)})
                told = await seek_to_committed(consumer, {topic: life}, {place})
                assert told == {place: None if metadata == str(former) else Committable(5, life)}
                found.append((await consumer.getone()).offset)
            return found
        finally:
            await consumer.stop()

    assert asyncio.run(offsets()) == [0, 0, 5, 5, 0]


def test_a_spare_worker_that_gets_a_partition_reads_nothing_before_it_knows_where(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    """It is told another id than its predecessor, late: what was committed is of another life."""
    topic, group, out = new_topic(partitions=1), f"g-{uuid.uuid4().hex[:8]}", tmp_path / "spare"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})

    def members() -> int:
        described = admin.describe_consumer_groups([group])[group].result(20)
        return len(described.members) if described.state is ConsumerGroupState.STABLE else 0

    produce(kafka, topic, 10)
    with worker(kafka, group, topic, tmp_path / "before", most=64, id_after_s="0") as before:
        wait_for(lambda: total(seen(tmp_path / "before")) > 0 and all_committed(kafka, group, topic))
        with worker(kafka, group, topic, out, most=64, id_after_s="2"):
            wait_for(lambda: members() == 2)
            assert not seen(out), "it is to be a spare"
            before.kill()
            produce(kafka, topic, 10)  # they are there when its session ends
            wait_for(lambda: total(seen(out)) > 0 and all_committed(kafka, group, topic))
    assert offsets_seen(seen(out)) == {0: set(range(20))}


def test_a_topic_deleted_and_made_again_is_read_from_its_beginning(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    """And committed, though its offsets are below those of its former life."""
    topic, group, out = new_topic(partitions=2), f"g-{uuid.uuid4().hex[:8]}", tmp_path / "seen"
    produce(kafka, topic, 1000)
    with worker(kafka, group, topic, out, most=64):
        wait_for(lambda: total(seen(out)) == 1000 and all_committed(kafka, group, topic))
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        admin.delete_topics([topic])[topic].result(20)
        new_topic(partitions=2, name=topic)
        produce(kafka, topic, 300)
        wait_for(lambda: total(seen(out)) >= 1300 and all_committed(kafka, group, topic))
    chunks = seen(out)
    counts = list(accumulate(chunk["count"] for chunk in chunks))
    again = offsets_seen(chunks[counts.index(1000) + 1 :])
    assert sum(map(len, again.values())) == 300
    assert all(offsets == set(range(len(offsets))) for offsets in again.values())


def test_nothing_is_skipped_when_a_worker_joins_and_another_is_killed(
    kafka: Broker, new_topic: NewTopic, tmp_path: Path
) -> None:
    """The second joins in mid-stream, the first is then killed: together they saw every offset."""
    topic, group, first, second = new_topic(partitions=6), uuid.uuid4().hex, tmp_path / "a", tmp_path / "b"
    produce(kafka, topic, 60_000)
    with worker(kafka, group, topic, first, most=100, pause_s=0.02) as doomed:
        wait_for(lambda: total(seen(first)) >= 3000)
        with worker(kafka, group, topic, second, most=100, pause_s=0.005):
            wait_for(lambda: total(seen(second)) >= 2000)
            doomed.kill()
            wait_for(lambda: all_committed(kafka, group, topic))
    together = seen(first, second)
    ends = {place: end for place, (_, end) in committed(kafka.bootstrap_servers, group, topic).items() if end}
    assert {place: len(offsets) for place, offsets in offsets_seen(together).items()} == ends
    for file in (first, second):
        for spans in ranges(seen(file)).values():
            assert all(last - start + 1 <= 100 for start, last in spans)
