"""Everything that must not serve, promoted on real Kafka and Redis by the command line, to one worker.

Each: one clear line on stderr and in status, the exit code, and verdicts by the model that served before.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch

from bench.output import to_the_end
from bench.slow_store import SlowStore, slow_store
from streams.__main__ import main
from streams.adapters.kafka.model_topics import newest_state
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.store.models import open_store, shipped
from streams.codec.ingest.connections import encode_connections
from streams.codec.models import ModelCommand, ModelStatus, decode_status, encode_command
from streams.codec.output.alerts import decode_alert
from streams.core import events
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from streams.model.artifact import MANIFEST, TENSORS
from streams.model.detector import Detector
from tests.path import DEADLINE_S, path

if TYPE_CHECKING:
    from tests.path import TestedPath

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

DEVICES = 8


@dataclass(frozen=True)
class Served:
    """One worker, the store that it reads through HTTP, and that store's folder."""

    tested: TestedPath
    worker: WorkerProcess
    server: SlowStore
    folder: Path
    times_us: Iterator[int]

    def model(self) -> dict[str, Any]:
        found: dict[str, Any] = self.worker.figures()["model"]
        return found

    def judges(self) -> str:
        """The digest of the model that judges events sent now."""
        time_us = next(self.times_us)
        names = [f"d{i}" for i in range(DEVICES)]
        values = encode_connections(KDD99, names, np.full(DEVICES, time_us), np.zeros(DEVICES, KDD99.row))
        self.tested.send([(name.encode(), value) for name, value in zip(names, values, strict=True)])

        def mine(messages: list[Any]) -> list[str]:
            alerts = [decode_alert(message.value()) for message in messages]
            return [alert.model_digest for alert in alerts if alert.event_time_us == time_us]

        found = mine(self.tested.read([self.tested.topics.classified], lambda m: len(mine(m)) >= DEVICES))
        assert len(set(found)) == 1
        return found[0]

    def decisions(self) -> list[ModelStatus]:
        """All that have been told so far."""
        found = [decode_status(m.value()) for m in to_the_end(self.tested, [self.tested.topics.model_status])]
        return [status for status in found if status.kind == "decision"]

    def decided(self, enough: Callable[[list[ModelStatus]], bool]) -> list[ModelStatus]:
        """All that have been told, once they are enough."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not enough(found := self.decisions()):
            assert time.monotonic() < deadline_s, self.tested.logs()
            time.sleep(0.05)
        return found

    def publish(self, *values: bytes) -> None:
        topic = self.tested.topics.model_commands
        with KafkaPublisher(self.tested.settings) as publisher:
            publisher.publish([events.Message(topic, b"", value) for value in values])


@pytest.fixture(scope="module")
def served(kafka: Broker, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    tmp = tmp_path_factory.mktemp("bad-models")
    folder = tmp / "store"
    shutil.copytree(shipped(), folder)
    for version in ("good", "better"):
        open_store(str(folder)).save(
            Detector.random(KDD99, seed=len(version)), "kdd99", version, {}, "random"
        )
    with (
        slow_store(str(folder)) as server,
        path(
            kafka.bootstrap_servers,
            redis_url,
            tmp,
            model_store=server.url,
            model_latency_ratio="100",
            cache=str(tmp / "cache"),
        ) as tested,
    ):
        worker = tested.worker()
        worker.wait_ready()
        yield Served(tested, worker, server, folder, count(1_700_000_000_000_000))


@pytest.fixture
def cli(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `autodeep` as a shell would: its exit code, stdout, stderr."""
    for name, value in served.tested.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AUTODEEP_MODEL_STORE", str(served.folder))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autodeep", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, out, err

    return run


def spoilt(folder: Path, what: str) -> str:
    """A version that is spoilt so, all digests as if it had been made like this; its name."""
    version = what.replace(" ", "-")
    place = folder / "kdd99" / version
    shutil.copytree(folder / "kdd99" / "good", place)
    manifest = json.loads((place / MANIFEST).read_bytes())
    manifest["version"] = version
    data = SPOILT_TENSORS[what]((place / TENSORS).read_bytes()) if what in SPOILT_TENSORS else None
    if data is not None:
        (place / TENSORS).write_bytes(data)
        manifest["files"][TENSORS]["sha256"] = hashlib.sha256(data).hexdigest()
    match what:
        case "wrong digest":
            manifest["files"][TENSORS]["sha256"] = "00" * 32
        case "climbing file":
            manifest["files"]["../../secret"] = {"sha256": "00" * 32}
        case "climbing name":
            manifest["name"] = "../kdd99"
        case "another table":
            manifest["feature_table"] = "ab" * 32
    (place / MANIFEST).write_text(json.dumps(manifest))
    return version


def _with(data: bytes, name: str, tensor: torch.Tensor) -> bytes:
    return safetensors.torch.save({**safetensors.torch.load(data), name: tensor})


SPOILT_TENSORS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-64],
    "pickle": lambda data: pickle.dumps({"classifier.output.bias": [0.0] * 5}),
    "other shape": lambda data: _with(data, "classifier.output.bias", torch.zeros(7)),
    "nan": lambda data: _with(data, "classifier.output.bias", torch.full((5,), float("nan"))),
    "ten gigabytes": lambda data: struct.pack("<Q", 10 << 30) + data[8:],
}


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("truncated", f"{TENSORS}: is no safetensors file"),
        ("pickle", f"{TENSORS}: is no safetensors file"),
        ("ten gigabytes", f"{TENSORS}: is no safetensors file"),
        ("other shape", f"{TENSORS}: classifier.output.bias is torch.float32 (7,), the architecture says"),
        ("nan", f"{TENSORS}: classifier.output.bias holds a value that is not finite"),
        ("wrong digest", f"{TENSORS}: sha256 is "),
        ("climbing file", "lists '../../secret', which is no file of a model"),
        ("climbing name", f"{MANIFEST}: is ../kdd99/climbing-name, not kdd99/climbing-name"),
        ("another table", "another feature table (abababababababab…, this version has "),
    ],
)
def test_a_spoilt_model_is_refused_in_one_line_and_the_old_one_goes_on(
    served: Served, cli: Callable[..., tuple[int, str, str]], what: str, says: str
) -> None:
    before = served.model()
    version = spoilt(served.folder, what)
    code, out, err = cli("models", "promote", f"kdd99/{version}", "--json")
    assert code == 3, err
    assert err.startswith(f"autodeep: kdd99/{version}: refused: ")
    assert (err.count("\n"), says in err) == (1, True), err
    told = json.loads(out)
    mine = [s for s in served.decisions() if s.command_id == told["command_id"]]
    assert [(s.outcome, s.revision, says in s.detail) for s in mine] == [
        ("refused", before["revision"], True)
    ]
    assert served.judges() == before["digest"]
    assert served.model() == before


def test_a_store_that_is_away_is_refused_in_one_line_and_the_old_model_goes_on(
    served: Served, cli: Callable[..., tuple[int, str, str]]
) -> None:
    before = served.model()
    served.server.away = True
    try:
        code, out, err = cli("models", "promote", "kdd99/good", "--json")
    finally:
        served.server.away = False
    assert (code, err.count("\n")) == (3, 1)
    assert f"model store {served.server.url}: kdd99/good/{MANIFEST} cannot be read: " in err
    assert "503" in err
    assert json.loads(out)["outcome"] == "refused"
    assert served.judges() == before["digest"]
    assert served.model() == before


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("kdd99@nobody",), 3, "has no alias 'nobody' (it has: champion)"),
        (("kdd99/none",), 3, "is missing"),
        (("../kdd99/good",), 3, "names no model"),
        (("kdd99/good", "--store", "http://127.0.0.1:1/models"), 69, "cannot be read"),
    ],
)
def test_what_cannot_be_named_is_not_even_asked_for(
    served: Served, cli: Callable[..., tuple[int, str, str]], words: tuple[str, ...], code: int, says: str
) -> None:
    before, asked = served.model(), len(served.decisions())
    found, out, err = cli("models", "promote", *words)
    assert (found, out, err.count("\n"), says in err) == (code, "", 1, True), err
    assert served.judges() == before["digest"]
    assert (served.model(), len(served.decisions())) == (before, asked)


def test_commands_that_are_no_avro_are_refused_one_by_one_with_their_place(served: Served) -> None:
    before, values = served.model(), (b"no Avro", b"", b"\xc3\x01" + b"\0" * 30, b"\xff" * 5000)
    asked = len(served.decisions())
    served.publish(*values)
    told = served.decided(lambda found: len(found) >= asked + len(values))[asked:]
    assert [(s.outcome, s.command_id, s.revision) for s in told] == [("refused", "", before["revision"])] * 4
    assert all(served.tested.topics.model_commands in s.detail and "\n" not in s.detail for s in told)
    assert served.judges() == before["digest"]
    assert served.model() == before


def test_two_promotes_at_once_are_both_decided_in_order_and_one_version_is_agreed(served: Served) -> None:
    revision = served.model()["revision"]
    commands = [
        ModelCommand(str(uuid.uuid4()), "promote", "kdd99", time.time_ns() // 1000, version=version)
        for version in ("good", "better")
    ]
    ids = [command.command_id for command in commands]
    served.publish(*(encode_command(command) for command in commands))

    def mine(found: list[ModelStatus]) -> list[ModelStatus]:
        return [status for status in found if status.command_id in ids]

    told = mine(served.decided(lambda found: len(mine(found)) >= 2))
    assert [(s.command_id, s.outcome, s.revision) for s in told] == [
        (ids[0], "promoted", revision + 1),
        (ids[1], "promoted", revision + 2),
    ]
    better = open_store(str(served.folder)).identify("kdd99/better").digest
    state = newest_state(served.tested.settings, "kdd99")
    assert state is not None
    assert (state.revision, state.champion.digest) == (revision + 2, better)
    deadline_s = time.monotonic() + DEADLINE_S
    while served.model()["revision"] != revision + 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert served.model()["digest"] == served.judges() == better
