"""The recipes for Kafka Connect: a keyed store holds one document an alert, and one an incident.

Connect itself runs, from its jars, with each recipe's topics, converters and transforms; its own file sink
stands in for the stores, which are not to be had here. That sink writes values alone; the keys are read in
Connect's log, where it tells of each record before the last of its transforms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import yaml

from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import create_topics, topic_specs
from streams.codec.output.alerts import AlertOutput, Output
from streams.codec.output.projections import FORMATS, Projection
from streams.core.alerts import Alert, record_id
from streams.core.incidents import Activity, Incident
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.embedded.kafka_jars import connect_jars, find_java
from streams.embedded.process import ServerProcess
from streams.embedded.workers import free_port
from streams.errors import Unavailable
from streams.settings import Settings
from tests.codec.test_codec_alerts import ALERT, SOURCE
from tests.codec.test_incidents import INCIDENT
from tests.conftest import NO_KAFKA, absent

pytestmark = pytest.mark.kafka

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "connect"
RECIPES: Final = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
OF_CONNECT: Final = ("topics", "key.converter", "value.converter", "transforms", "predicates")


def of_connect(config: Mapping[str, str]) -> dict[str, str]:
    """What of a recipe is Connect's own, whatever the sink."""
    return {name: text for name, text in config.items() if name.startswith(OF_CONNECT)}


TRIED: Final = {
    name: min(
        other for other, it in RECIPES.items() if of_connect(it["config"]) == of_connect(recipe["config"])
    )
    for name, recipe in RECIPES.items()
}
"""Recipes that differ in nothing but the sink are tried once: each by the first of its kind."""
START_S: Final = 120.0
LOGGING: Final = """
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %X{connector.context}%m%n
logger.chain.name = org.apache.kafka.connect.runtime.TransformationChain
logger.chain.level = TRACE
"""
SECRETS: Final = {"pagerduty_routing_key": "r0uting"}

ALERTS: Final = [
    replace(ALERT, alert_id=record_id(SOURCE, n), offset=n, verdict=verdict, device_id=f"cam-{n % 2}")
    for n, verdict in enumerate(("dos", "dos", "probe", "dos", "r2l"))
]
CLOSED: Final = [
    replace(INCIDENT, revision=revision, activity=activity, alerts=2 * revision)
    for revision, activity in ((1, Activity.OPEN), (2, Activity.UPDATE), (3, Activity.CLOSE))
]
OPEN: Final = replace(
    INCIDENT, incident_id="0d3b6a1e-52f0-5f6b-8c3b-2b2f6f8e7d10", revision=1, verdict="probe"
)
TOLD: Final[list[tuple[list[Alert], list[Incident]]]] = [
    (ALERTS[:3], CLOSED[:2]),
    (ALERTS[1:], [CLOSED[1], CLOSED[2], OPEN]),  # a worker died; the next one read some of it again
]
ALERT_IDS: Final = {alert.alert_id for alert in ALERTS}
LAST: Final = {CLOSED[2].incident_id: "3", OPEN.incident_id: "1"}


@dataclass(frozen=True)
class Connect:
    """A standalone worker over all recipes."""

    process: ServerProcess
    log: Path
    files: Mapping[str, Path]

    def records(self, recipe: str) -> list[tuple[str, str]]:
        """Key and value of each record as the sink was given it, in its order."""
        recipe = TRIED[recipe]
        said = re.findall(
            rf"^\[{recipe}\|task-0\] Applying transformation \S+DropHeaders to .*?, key=(.*?), keySchema=",
            self.log.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        file = self.files[recipe]
        values = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return list(zip(said, values, strict=False))

    def has(self, counts: Mapping[str, int]) -> bool:
        return all(len(self.records(name)) >= counts[kind_of(name)] for name in RECIPES)

    def store(self, recipe: str) -> dict[str, str]:
        """What a store holds that keeps the latest value of each key."""
        return dict(self.records(recipe))


@pytest.fixture(scope="module")
def connect(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connect]:
    folder = tmp_path_factory.mktemp("connect")
    try:
        java, jars = find_java(), connect_jars()
    except Unavailable as exc:
        absent(f"{NO_KAFKA}{exc}")
    prefix = f"t{uuid4().hex[:8]}"
    counts = published(Settings(kafka_servers=kafka.bootstrap_servers, topic_prefix=prefix))
    files = {name: folder / f"{name}.out" for name in RECIPES}
    arguments = [str(worker_file(folder, kafka.bootstrap_servers))]
    for name in sorted(set(TRIED.values())):
        path, config = folder / f"{name}.json", with_file_sink(RECIPES[name], prefix, folder, files[name])
        path.write_text(json.dumps({"name": name, "config": config}))
        arguments.append(str(path))
    (folder / "log4j2.properties").write_text(LOGGING)
    command = [java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += [f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"]
    command += ["-cp", f"{jars}/*", "org.apache.kafka.connect.cli.ConnectStandalone", *arguments]
    log = folder / "connect.log"
    found = Connect(ServerProcess("Kafka Connect", command, log), log, files)
    try:
        found.process.wait_until(lambda: found.has(counts), START_S, Unavailable)
        yield found
    finally:
        found.process.stop()


def published(settings: Settings) -> Mapping[str, int]:
    """What workers publish, one of whom dies; how many records of each kind there are."""
    topics = Topics(settings.topic_prefix)
    create_topics(settings, topic_specs(topics, 1, tuple(FORMATS)))
    outputs: list[Output] = [AlertOutput(topics, "json")]
    outputs += [Projection(topics, name, "1") for name in FORMATS]
    with KafkaPublisher(settings) as publisher:
        for alerts, incidents in TOLD:
            for output in outputs:
                publisher.publish([*output.messages(alerts), *output.incident_messages(incidents)])
    of_alerts = sum(len(alerts) for alerts, _ in TOLD)
    of_incidents = sum(len(incidents) for _, incidents in TOLD)
    both = dict.fromkeys(("ecs", "ocsf"), of_alerts + of_incidents)
    return {"alerts": of_alerts, **dict.fromkeys(("incidents", "pagerduty"), of_incidents), **both}


def kind_of(recipe: str) -> str:
    return recipe.rpartition("-")[2]


def worker_file(folder: Path, servers: str) -> Path:
    """The worker's own settings, and the secrets that recipes name."""
    secrets = "".join(f"{name}={value}\n" for name, value in SECRETS.items())
    (folder / "secrets.properties").write_text(secrets)
    settings = {
        "bootstrap.servers": servers,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "200",
        "listeners": f"HTTP://127.0.0.1:{free_port()}",
        "plugin.discovery": "service_load",
        "config.providers": "file",
        "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
    }
    path = folder / "worker.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return path


def with_file_sink(recipe: Mapping[str, Any], prefix: str, folder: Path, file: Path) -> dict[str, str]:
    kept = of_connect(recipe["config"])
    for name in ("topics", "topics.regex"):
        if name in kept:
            kept[name] = kept[name].replace("ids", prefix, 1)
    kept = {name: text.replace("/etc/kafka-connect", str(folder)) for name, text in kept.items()}
    return {
        **kept,
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "tasks.max": "1",
        "file": str(file),
        "transforms": ",".join([*filter(None, [kept.get("transforms")]), "seen"]),
        "transforms.seen.type": "org.apache.kafka.connect.transforms.DropHeaders",
        "transforms.seen.headers": "none-of-this-name",
    }


@pytest.mark.parametrize(
    "recipe", [name for name in RECIPES if kind_of(name) == "alerts" and "s3" not in name]
)
def test_a_store_of_alerts_holds_each_once(connect: Connect, recipe: str) -> None:
    assert len(connect.records(recipe)) == sum(len(alerts) for alerts, _ in TOLD)
    store = connect.store(recipe)
    assert store.keys() == ALERT_IDS
    assert all(f"alert_id={key}," in value for key, value in store.items())


@pytest.mark.parametrize("recipe", [name for name in RECIPES if kind_of(name) == "incidents"])
def test_a_store_of_incidents_holds_each_once_as_its_last_revision_has_it(
    connect: Connect, recipe: str
) -> None:
    assert len(connect.records(recipe)) == sum(len(incidents) for _, incidents in TOLD)
    found = {key: re.findall(r"\brevision=(\d+)", value) for key, value in connect.store(recipe).items()}
    assert found == {key: [revision] for key, revision in LAST.items()}


@pytest.mark.parametrize("recipe", [name for name in RECIPES if kind_of(name) in {"ecs", "ocsf"}])
def test_a_store_of_a_format_of_others_holds_each_alert_and_incident_once(
    connect: Connect, recipe: str
) -> None:
    store = connect.store(recipe)
    assert store.keys() == ALERT_IDS | LAST.keys()
    found = {key: re.findall(r"\brevision=(\d+)", store[key]) for key in LAST}
    assert found == {key: [revision] for key, revision in LAST.items()}


def test_pagerduty_gets_one_key_an_incident_and_hears_of_its_end(connect: Connect) -> None:
    records = connect.records("pagerduty")
    assert [key for key, value in records if f"dedup_key={key}" not in value] == []
    assert [key for key, value in records if "routing_key=r0uting" not in value] == []
    actions = {
        key: re.findall(r"event_action=(\w+)", value) for key, value in connect.store("pagerduty").items()
    }
    assert actions == {CLOSED[2].incident_id: ["resolve"], OPEN.incident_id: ["trigger"]}


def test_files_of_alerts_hold_every_alert_and_repeats_too(connect: Connect) -> None:
    """Objects are written by offset: whoever reads them drops repeats."""
    values = [value for _, value in connect.records("s3-alerts")]
    found = re.findall(r"\balert_id=([0-9a-f-]{36})", "\n".join(values))
    assert set(found) == ALERT_IDS
    assert len(found) > len(ALERT_IDS)


def test_no_secret_stands_in_a_recipe_and_each_is_of_a_topic_that_is_made() -> None:
    topics = Topics()
    made = {spec.name for spec in topic_specs(topics, outputs=tuple(FORMATS))}
    for name, recipe in RECIPES.items():
        config = recipe["config"]
        assert recipe["name"] == f"autodeep-{name}"
        wanted = re.compile(config.get("topics.regex", re.escape(config.get("topics", ""))))
        assert any(wanted.fullmatch(topic) for topic in made)
        secrets = [config[key] for key in config if re.search(r"password|secret|username|key\.id", key)]
        assert all(value.startswith("${file:/etc/kafka-connect/secrets.properties:") for value in secrets)


def test_the_collector_for_splunk_reads_topics_that_are_made() -> None:
    """Nothing of the collector can be run here; the file is held to what its documentation names."""
    config = yaml.safe_load((FOLDER / "splunk-otel-collector.yaml").read_text(encoding="utf-8"))
    pattern, incidents = config["receivers"]["kafka"]["logs"]["topics"]
    assert [name for name in Topics().all_alerts() if not re.match(pattern, name)] == []
    assert incidents == Topics().incidents
    assert config["service"]["pipelines"]["logs"] == {"receivers": ["kafka"], "exporters": ["splunk_hec"]}
