"""README and docs keep their word: their settings are the code's, their subscribers read what we publish."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from streams.codec.output.alerts import AlertFormat, AlertOutput
from streams.core.alerts import Alert
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.settings import markdown
from tests.conftest import MakeTopic

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"<!-- snippet: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
DEADLINE_S = 30.0
ALERTS = [
    Alert(
        alert_id=f"id-{n}",
        device_id=f"lampe-é{n}",
        event_time_us=1_700_000_000_000_000 + n,
        detected_at_us=1_700_000_000_500_000,
        verdict="dos",
        closest="dos",
        scores={"normal": 0.0312, "dos": 0.9688},
        novelty=0.25,
        window_fill=3,
        window_width=16,
        topic="ids.telemetry",
        topic_id="00000000-0000-0000-0000-000000000001",
        partition=2,
        offset=n,
        model_name="kdd99",
        model_version="1",
        model_digest="ab",
    )
    for n in range(3)
]


def test_the_table_of_settings_is_the_one_of_the_settings_code() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    table = page.partition("<!-- settings:begin -->")[2].partition("<!-- settings:end -->")[0]
    assert table.strip() == markdown(), "paste the output of `python -m streams.settings` between the markers"


def test_what_the_documents_link_to_exists() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    dead = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead


def test_the_readme_is_short_and_every_page_of_the_documents_can_be_reached_from_it() -> None:
    """Links are followed as a reader does: from the README to a page, from there to the next."""
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 170
    reached, todo = {PAGES[0]}, [PAGES[0]]
    while todo:
        page = todo.pop()
        targets = re.findall(r"\]\(([^)#:\s]+\.md)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8"))
        found = {(page.parent / target).resolve() for target in targets} - reached
        reached |= found
        todo += found
    assert not {str(page.relative_to(ROOT)) for page in set(PAGES) - reached}


def test_links_into_a_page_name_one_of_its_headings() -> None:
    dead = []
    for page in PAGES:
        for target, heading in re.findall(r"\]\(([^)#:\s]+)#([\w-]+)\)", page.read_text(encoding="utf-8")):
            titles = re.findall(r"^#+ (.*)$", (page.parent / target).read_text(encoding="utf-8"), re.M)
            if heading not in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}:
                dead.append(f"{page.relative_to(ROOT)} -> {target}#{heading}")
    assert not dead


def snippets() -> dict[str, str]:
    """By name, from the README and the documents."""
    found = [it for page in PAGES for it in SNIPPET.findall(page.read_text(encoding="utf-8"))]
    assert len(dict(found)) == len(found), "a snippet's name stands twice"
    return dict(found)


def test_the_subscribers_import_nothing_of_ours() -> None:
    found = snippets()
    assert set(found) == {"subscriber.py", "Subscriber.java"}
    assert not [name for name, text in found.items() if "streams" in text]


def publish(broker: Broker, topic: str, alerts: Iterable[Alert], fmt: AlertFormat) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for one in AlertOutput(Topics(), fmt).messages(list(alerts)):
        producer.produce(topic, key=one.key, value=one.value, headers=list(one.headers))
    assert producer.flush(DEADLINE_S) == 0


@pytest.mark.kafka
def test_a_stranger_reads_alerts_by_the_readmes_python_each_once(
    kafka: Broker, new_topic: MakeTopic, tmp_path: Path
) -> None:
    """Run as it stands there, by its words alone: nothing of ours is imported."""
    text = snippets()["subscriber.py"]
    topic = new_topic(partitions=1)
    publish(kafka, topic, [*ALERTS, ALERTS[0], ALERTS[1]], "json")
    script = tmp_path / "subscriber.py"
    script.write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    with out.open("wb") as sink:
        reader = subprocess.Popen(
            [sys.executable, str(script), kafka.bootstrap_servers, topic],
            cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        last = ALERTS[-1].alert_id
        deadline_s = time.monotonic() + DEADLINE_S
        while last not in out.read_text(encoding="utf-8") and time.monotonic() < deadline_s:
            assert reader.poll() is None, out.read_text(encoding="utf-8")
            time.sleep(0.05)  # between two looks at a file; the deadline ends it
    finally:
        reader.kill()
        reader.wait()
    lines = [line.split(" ", 3) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line[:3] for line in lines] == [[a.alert_id, a.device_id, a.verdict] for a in ALERTS]
    assert lines[0][3] == str(dict(ALERTS[0].scores))


@pytest.mark.kafka
def test_kcat_reads_alerts_in_json_mode(kafka: Broker, new_topic: MakeTopic) -> None:
    import json

    if shutil.which("kcat") is None:
        pytest.skip("kcat is not on the PATH: Debian's package kcat")
    topic = new_topic(partitions=1)
    publish(kafka, topic, ALERTS, "json")
    # -o beginning -e: as the line in docs/subscribing.md, but from the start and with an end.
    command = [
        "kcat",
        "-b",
        kafka.bootstrap_servers,
        "-t",
        topic,
        "-q",
        "-f",
        "%s\n",
        "-C",
        "-o",
        "beginning",
        "-e",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(a["device_id"], a["scores"]) for a in found] == [(a.device_id, dict(a.scores)) for a in ALERTS]
