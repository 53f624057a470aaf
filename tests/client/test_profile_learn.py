"""A site is learnt from its flows, and its profile counts where they are judged."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.kafka.profile_topic import read_profiles
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import touch_topics
from streams.adapters.store.models import open_store
from streams.cli.commands import app
from streams.codec import device_flows
from streams.codec.profiles import decode_profile
from streams.core.events import Message
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.settings import Settings
from tests.core.flow.drawn import drawn
from tests.flow_model import save_flow_model
from tests.flow_samples import zeek
from tests.flow_world import device_flow

SAYS = ("--who", "ann", "--why", "the first day")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    save_flow_model(folder)
    open_store(str(folder)).set_alias("flows", "champion", "1")
    return str(folder)


@pytest.fixture
def log(tmp_path: Path) -> str:
    """A camera that talks to its recorder and to a cloud, for an hour."""
    path = tmp_path / "conn.log"
    with path.open("w") as file:
        for n in range(120):
            ends = {
                "id.orig_p": 50_000 + n,
                "id.resp_h": ("192.168.1.2", "203.0.113.9")[n % 2],
                "id.resp_p": 8554,
            }
            file.write(json.dumps(zeek(uid=f"C{n}", ts=1_790_000_000 + 30 * n, **ends)) + "\n")
    return str(path)


def run(store: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"AUTODEEP_MODEL_STORE": store})


def judged(store: str, log: str, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    done = run(store, "flows", "judge", log, "--json", *arguments)
    assert done.exit_code == 0, done.output + repr(done.exception)
    *lines, last = map(json.loads, done.stdout.splitlines())
    return lines, last["summary"]


def test_a_profile_that_was_learnt_and_accepted_counts_where_flows_are_judged(
    store: str, log: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "house7.json")
    learnt = run(store, "profile", "learn", "house7", log, "--file", file, *SAYS)
    assert "180 flows of 2 devices, 3 keys" in learnt.output, learnt.exception
    assert f"revision 1 of house7, in {file}" in learnt.output
    profile = decode_profile(Path(file).read_bytes(), "house7")
    assert {str(one.key) for one in profile.known} >= {"house7/192.168.1.20 -> private tcp/8554"}
    cloud = next(one for one in profile.proposals if one.key is not None and one.key.peer == "public")
    assert cloud.peers == ("203.0.113.9",)
    before, _ = judged(store, log, "--site", "house7")
    assert run(store, "profile", "accept", "house7", "all", *SAYS, "--file", file).exit_code == 0
    after, summary = judged(store, log, "--site", "house7", "--profile", file)
    assert [one["learning"] for one in before] == [one["learning"] for one in after]
    assert {one["learning"] for one in before} == {True, False}
    changed = sum(a["verdict"] != b["verdict"] for a, b in zip(before, after, strict=True))
    assert changed == sum(count for why, count in summary["held_back"].items() if why != "learning") > 0
    assert all(a["verdict"] in (b["verdict"], "normal") for a, b in zip(after, before, strict=True))


def test_the_profile_of_another_site_is_refused(store: str, log: str, tmp_path: Path) -> None:
    file = str(tmp_path / "house7.json")
    run(store, "profile", "learn", "house7", log, "--file", file)
    other = run(store, "flows", "judge", log, "--profile", file)
    assert "the profile of site house7, and the flows are of -; --site names theirs" in str(other.exception)
    said = json.loads(Path(file).read_text())
    said["revision"] = 12
    Path(file).write_text(json.dumps(said))
    by_hand = run(store, "flows", "judge", log, "--site", "house7", "--profile", file)
    assert "revision 12 of site house7 was changed by hand" in str(by_hand.exception)


def test_a_file_without_flows_of_the_site_says_so(store: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.log"
    empty.write_text("")
    done = run(store, "profile", "learn", "house7", str(empty), "--file", str(tmp_path / "p.json"))
    assert "no flow of site house7 was read, 0 of others" in str(done.exception)
    assert not (tmp_path / "p.json").exists()


def test_a_site_is_learnt_from_the_topic_of_flows(store: str, mock_kafka: Broker) -> None:
    settings = Settings(kafka_servers=mock_kafka.bootstrap_servers, topic_prefix=f"p{uuid.uuid4().hex[:8]}")
    topics = Topics(settings.topic_prefix)
    touch_topics(settings, [topics.profiles, topics.flows])
    flows = [device_flow(one) for one in drawn(3, 60, 2)]
    with KafkaPublisher(settings) as publisher:
        strange = Message(topics.flows, b"x", b"no flow")
        publisher.publish([*device_flows.messages(flows, topics.flows), strange])
    environment = {
        "AUTODEEP_MODEL_STORE": store,
        "AUTODEEP_KAFKA_SERVERS": settings.kafka_servers,
        "AUTODEEP_TOPIC_PREFIX": settings.topic_prefix,
    }
    for revision in (1, 2):
        done = CliRunner().invoke(app, ["profile", "learn", "-", "--since", "beginning"], env=environment)
        assert f"revision {revision} of -, in force in 10 s" in done.output, done.exception
    profile = read_profiles(settings).newest("-")
    assert profile is not None
    assert profile.warm_up is not None
    assert profile.warm_up.devices == 2
    assert 0 < profile.warm_up.flows <= 60
