"""Figures by hand, windows by plain loops, and the commands as a user types them."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from streams.adapters.store.models import open_store
from streams.cli.data import app as data_app
from streams.cli.evaluate import app as evaluate_app
from streams.cli.models import app as models_app
from streams.codec.ingest.kdd import read_rows, segment_starts
from streams.core.decisions import CONTEST_CLASSES, CONTEST_COST
from streams.core.kdd99 import KDD99
from streams.errors import DataError, ModelRejected, Unavailable
from streams.model.detector import Detector
from streams.training import sources
from streams.training.dataset import TAXONOMIES
from streams.training.evaluate import evaluate, evaluate_rows
from streams.training.metrics import figures

RNG = np.random.default_rng(5)
DETECTOR = Detector.random(KDD99, seed=11)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def a_file(path: Path, count: int, labels: tuple[str, ...]) -> Path:
    lines = []
    for place in range(count):
        values = {
            name: str(round(float(value), 2))
            for name, value in zip(KDD99.file_columns, RNG.random(41) * 9, strict=True)
        }
        values |= {
            "protocol_type": "tcp",
            "service": str(RNG.choice(KDD99.symbolic[1].symbols)),
            "flag": "SF",
        }
        lines.append(",".join((*values.values(), labels[place % len(labels)] + ".")))
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


@pytest.mark.parametrize("devices", [1, 7])
def test_every_row_gets_the_verdict_of_its_window_built_by_a_plain_loop(devices: int) -> None:
    numbers = (RNG.random((100, len(KDD99.numeric))) * 50).astype(np.float32)
    rows = KDD99.pack(numbers, np.ones((100, 3), np.uint8))
    found = evaluate_rows(DETECTOR, rows, devices)
    bounds = [*segment_starts(100, devices), 100]
    for begin, end in itertools.pairwise(bounds):
        for place in range(begin, end):
            width = DETECTOR.width
            window = list(range(max(begin, place - width + 1), place + 1))
            index = np.array([[0] * (width - len(window)) + list(range(len(window)))])
            valid = np.arange(width)[None] >= width - len(window)
            one = DETECTOR.classify(DETECTOR.encode(rows[window]), index, valid)
            assert np.array_equal(one.posterior[0], found.posterior[place])
            assert one.verdict[0] == found.verdict[place]


def test_figures_agree_with_a_count_by_hand() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 4])
    closest = np.array([0, 0, 0, 1, 1, 2, 2, 0])
    flagged = np.array([False, False, True, True, True, True, True, False])
    found = figures(truth, closest, flagged, CONTEST_CLASSES, CONTEST_COST)
    assert found.accuracy == 5 / 8
    assert found.cost == (1 + 2 + 4) / 8
    assert found.false_positives == 2 / 4
    assert found.detected == 3 / 4
    probe = found.per_class["probe"]
    assert (probe.precision, probe.recall, probe.f1, probe.specificity) == (1 / 2, 1 / 2, 1 / 2, 5 / 6)
    assert (found.per_class["u2r"].precision, found.per_class["u2r"].recall) == (None, None)
    assert found.confusion[0] == (3, 1, 0, 0, 0)


def test_figures_of_figures_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, closest = RNG.integers(0, 5, 400), RNG.integers(0, 5, 400)
    found = figures(truth, closest, closest != 0, CONTEST_CLASSES, CONTEST_COST)
    precision, recall, f1, rows = metrics.precision_recall_fscore_support(truth, closest)
    for place, of in enumerate(found.per_class.values()):
        assert (of.precision, of.recall, of.f1, of.rows) == pytest.approx(
            (precision[place], recall[place], f1[place], rows[place])
        )


def test_distinct_rows_count_each_vector_once_per_label(tmp_path: Path) -> None:
    path = a_file(tmp_path / "rows.gz", 30, ("normal", "smurf"))
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(text * 3)
    found = evaluate(DETECTOR, read_rows(path, KDD99))
    assert found.all_rows.rows == 90
    assert found.distinct_rows.rows == 30


def test_novel_types_are_told_from_known_ones(tmp_path: Path) -> None:
    found = evaluate(
        DETECTOR, read_rows(a_file(tmp_path / "rows.gz", 30, ("normal", "smurf", "mscan")), KDD99)
    )
    assert {name: (of.rows, of.known) for name, of in found.per_type.items()} == {
        "smurf": (10, True),
        "mscan": (10, False),
    }


def test_a_file_of_classes_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    small = Detector.random(KDD99, 0)
    small.classes = TAXONOMIES["paper"].classes
    read = read_rows(a_file(tmp_path / "rows.gz", 4, ("normal", "spy")), KDD99)
    with pytest.raises(DataError, match="r2l"):
        evaluate(small, read)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    two = np.array([0, 1])
    figures_ = figures(two, two, two > 0, CONTEST_CLASSES, CONTEST_COST)
    training = {
        "command": "none",
        "file": "made up",
        "sha256": "0",
        "classes": CONTEST_CLASSES,
        "plan": {"window": 16},
        "cleansing": {"read": 1, "left_out": {}, "contradictory": 0, "without_class": 0, "distinct": 1},
    }
    notes = {"training": training, "metrics": {"held_out": dataclasses.asdict(figures_)}}
    root = tmp_path / "store"
    open_store(str(root)).save(DETECTOR, "kdd99", "1", notes, "# card\n")
    open_store(str(root)).set_alias("kdd99", "champion", "1")
    return root


def invoke(app: typer.Typer, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_evaluate_prints_one_json_object_and_a_table(store: Path, tmp_path: Path) -> None:
    path = a_file(tmp_path / "corrected.gz", 40, ("normal", "smurf", "httptunnel"))
    found = json.loads(invoke(evaluate_app, "kdd99", "--data", tmp_path, "--store", store, "--json"))
    assert (found["rows"], found["test_readings"], found["seeds"]) == (40, 1, 1)
    assert [of["model"] for of in found["models"]] == ["kdd99/1"]
    for point in found["operating_points"].values():
        assert {"accuracy", "cost", "false_positive_rate", "per_class", "per_attack_type"} <= point.keys()
        assert {name: of["known"] for name, of in point["per_attack_type"].items()} == {
            "smurf": True,
            "httptunnel": False,
        }
        httptunnel = point["per_attack_type"]["httptunnel"]
        assert point["novel_flagged"] == pytest.approx(httptunnel["flagged"])
        wanted = {"precision", "recall", "f1", "specificity", "auc", "support", "flagged"}
        assert all(wanted <= of.keys() for of in point["per_class"].values())
    out = tmp_path / "out"
    table = invoke(evaluate_app, "kdd99", "--data", path, "--store", store, "--devices", 3, "--out", out)
    assert "contest cost" in table
    assert "httptunnel" in table
    assert (out / "report.html").is_file()


def test_a_release_is_the_same_model_with_the_figures_of_one_reading(store: Path, tmp_path: Path) -> None:
    a_file(tmp_path / "corrected.gz", 40, ("normal", "smurf"))
    released = tmp_path / "released"
    order = ("release", "kdd99/1", "--data", tmp_path, "--store", store, "--to", released)
    said = json.loads(invoke(models_app, *order, "--json"))
    draft, final = open_store(str(store)).load("kdd99/1"), open_store(str(released)).load("kdd99/1")
    assert final.parameters == draft.parameters
    assert (said["released"], said["digest"]) == ("kdd99/1", final.identity.digest)
    assert said["figures"]["rows"] == 40
    manifest, card = open_store(str(released)).describe("kdd99/1")
    assert manifest["metrics"]["test"]["readings"] == 1
    assert "Read once for this model" in card
    (tmp_path / "corrected.gz").unlink()  # what cannot be written is refused before the test file is opened
    with pytest.raises(ModelRejected, match="immutable"):
        invoke(models_app, *order)


def test_a_release_beside_another_seed_shows_the_spread_of_both(store: Path, tmp_path: Path) -> None:
    a_file(tmp_path / "corrected.gz", 40, ("normal", "smurf", "httptunnel", "rootkit", "spy"))
    notes = {key: open_store(str(store)).describe("kdd99/1")[0][key] for key in ("training", "metrics")}
    open_store(str(store)).save(Detector.random(KDD99, seed=12), "kdd99", "2", notes, "# card\n")
    order = ("--data", tmp_path, "--store", store, "--to", tmp_path / "released", "--readings", 2)
    shown = invoke(models_app, "release", "kdd99/1", "--beside", "kdd99/2", *order)
    _, card = open_store(str(tmp_path / "released")).describe("kdd99/1")
    assert "2 models that differ in their seed alone" in card
    assert "Read 2 times for this model" in card
    assert "contest cost" in shown
    assert "released kdd99/1 to" in shown


def test_models_can_be_listed_shown_and_verified(store: Path) -> None:
    listed = json.loads(invoke(models_app, "list", "--store", store, "--json"))["models"]
    assert [(m["name"], m["version"], m["aliases"]) for m in listed] == [("kdd99", "1", ["champion"])]
    assert "kdd99/1" in invoke(models_app, "list", "--store", store)
    assert "card" in invoke(models_app, "show", "kdd99@champion", "--store", store)
    assert json.loads(invoke(models_app, "verify", "kdd99/1", "--store", store, "--json"))["ok"] is True
    (store / "kdd99" / "1" / "MODEL_CARD.md").write_text("altered")
    with pytest.raises(ModelRejected, match=r"MODEL_CARD.md: sha256"):
        invoke(models_app, "verify", "kdd99/1", "--store", store)


TEXT = b"".join(b"%d,some text\n" % number for number in range(50_000))
PACKED = gzip.compress(TEXT, mtime=0)


class Publisher(http.server.BaseHTTPRequestHandler):
    """Serves PACKED, from the middle where asked; breaks off halfway while `breaks` is above 0."""

    breaks = 0
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = PACKED[start:]
        if not body:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if type(self).breaks:
            type(self).breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def publisher() -> Iterator[str]:
    Publisher.breaks, Publisher.asked = 0, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/rows.gz"
        server.shutdown()
        thread.join()


def data_file(url: str = "", text: bytes = TEXT) -> sources.DataFile:
    return sources.DataFile("rows.gz", hashlib.sha256(text).hexdigest(), url)


def test_a_download_that_broke_off_goes_on_where_it_stopped(publisher: str, tmp_path: Path) -> None:
    Publisher.breaks = 1
    target = tmp_path / "kdd" / "rows.gz"
    with pytest.raises(Unavailable, match="run the command again"):
        sources.download(data_file(publisher), target, 5.0, lambda here, whole: None)
    assert not target.exists()
    told: list[tuple[int, int | None]] = []
    sources.download(data_file(publisher), target, 5.0, lambda here, whole: told.append((here, whole)))
    assert target.read_bytes() == PACKED
    assert Publisher.asked == [None, f"bytes={len(PACKED) // 2}-"]
    assert told[-1] == (len(PACKED), len(PACKED))


def test_a_download_that_is_not_the_published_file_is_deleted(publisher: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not the published rows.gz"):
        sources.download(data_file(publisher, b"else"), tmp_path / "rows.gz", 5.0, lambda here, whole: None)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        sources.download(
            data_file("http://127.0.0.1:9/x"), tmp_path / "rows.gz", 1.0, lambda here, whole: None
        )


@pytest.mark.parametrize("packed", [True, False])
def test_local_copies_are_taken_plain_or_gzip_when_they_are_the_published_ones(
    tmp_path: Path, packed: bool
) -> None:
    source = tmp_path / "from" / ("rows.gz" if packed else "rows")
    source.parent.mkdir()
    source.write_bytes(PACKED if packed else TEXT)
    target = tmp_path / "to" / "rows.gz"
    sources.copy(source, target, data_file())
    assert gzip.decompress(target.read_bytes()) == TEXT
    source.write_bytes(TEXT + b"altered")
    with pytest.raises(DataError, match="not the published"):
        sources.copy(source, tmp_path / "to" / "other.gz", data_file())


def test_fetch_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"kddcup.data_10_percent.gz is neither in"):
        invoke(data_app, "fetch", "kdd99", "--from", tmp_path, "--to", tmp_path / "data")
    with pytest.raises(DataError, match="no data set"):
        invoke(data_app, "fetch", "martian")
    with pytest.raises(DataError, match="on request"):
        invoke(data_app, "fetch", "nsl-kdd", "--to", tmp_path / "data")
