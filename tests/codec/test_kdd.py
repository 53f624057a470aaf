"""Reading KDD'99 and NSL-KDD files: what is taken, what is left out and counted, what is refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from streams.codec.ingest.kdd import (
    CLASS_OF,
    NOVEL_ATTACKS,
    TRAINING_ATTACKS,
    classes_of,
    read_rows,
    segment_starts,
)
from streams.core.kdd99 import KDD99
from streams.errors import DataError

DATA = Path(os.environ.get("AUTODEEP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def line(label: str = "normal.", service: str = "http", **values: str) -> str:
    fields = {name: str(place) for place, name in enumerate(KDD99.file_columns)}
    fields |= {"protocol_type": "tcp", "service": service, "flag": "SF", **values}
    return ",".join((*fields.values(), label))


def written(tmp_path: Path, *lines: str, end: str = "\n") -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes((end.join(lines) + end).encode())
    return path


def test_columns_land_at_their_places_in_the_feature_table(tmp_path: Path) -> None:
    read = read_rows(written(tmp_path, line("neptune.")), KDD99)
    for name, value in zip(KDD99.numeric_names, read.rows["numbers"][0], strict=True):
        assert value == KDD99.file_columns.index(name)
    symbols = [
        column.symbols[code - 1] for column, code in zip(KDD99.symbolic, read.rows["codes"][0], strict=True)
    ]
    assert symbols == ["tcp", "http", "SF"]
    assert read.labels == ("neptune",)


def test_gzip_and_the_difficulty_of_nsl_kdd_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(f"{line('smurf')},21\n{line('normal')},18\n".encode()))
    read = read_rows(path, KDD99)
    assert [read.labels[code] for code in read.label] == ["smurf", "normal"]
    assert read.left_out == {}


def test_mixed_line_ends_and_a_missing_last_one_are_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(f"{line()}\r\n{line()}\n{line()}\r{line()}".encode())
    assert len(read_rows(path, KDD99)) == 4


def test_a_service_that_the_table_lacks_becomes_the_unknown_symbol(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, line(service="icmp")), KDD99).rows["codes"][0, 1] == 0


def test_unusable_lines_are_left_out_and_counted_by_reason(tmp_path: Path) -> None:
    read = read_rows(
        written(
            tmp_path,
            line(),
            line(src_bytes="many"),
            line(src_bytes="nan"),
            line(count="-1"),
            line(service=""),
            "1,tcp,http",
            line() + ",21,more",
            line("pod."),
        ),
        KDD99,
    )
    assert read.line.tolist() == [1, 8]
    assert read.left_out == {
        "missing value": 2,
        "too many columns": 1,
        "not a number": 2,
        "negative number": 1,
    }
    assert read.left_out_said == (
        "6 of 8 lines cannot be used: missing value: 2 (first in line 5), too many columns: 1 "
        "(first in line 7), not a number: 2 (first in line 2), negative number: 1 (first in line 4)"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (b"1,tcp,http\n", "3 columns"),
        (line("").rsplit(",", 1)[0].encode() + b"\n", "41 columns"),
        (line(src_bytes="x").encode() + b"\n", "no usable row"),
        (gzip.compress(line().encode() * 50)[:-20], "cut off"),
        (b"\x1f\x8bnot gzip at all", "cut off or damaged"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "rows.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as refused:
        read_rows(path, KDD99)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path / "absent.gz", KDD99)


def test_every_published_attack_type_has_one_class() -> None:
    types = [t for attacks in (TRAINING_ATTACKS, NOVEL_ATTACKS) for names in attacks.values() for t in names]
    assert len(types) == len(set(types)) == 22 + 17
    assert CLASS_OF["httptunnel"] == "u2r"
    assert classes_of(["normal", "mscan"]) == ("normal", "probe")


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(DataError, match="'martian'"):
        classes_of(["normal", "martian"])


def test_segments_are_contiguous_and_differ_by_one_row_at_most() -> None:
    starts = segment_starts(311_029, 50)
    lengths = np.diff([*starts, 311_029])
    assert starts[0] == 0
    assert set(lengths) == {6220, 6221}
    with pytest.raises(DataError):
        segment_starts(3, 4)


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "kdd99").is_dir(), reason="the KDD'99 files are not here")
def test_the_training_file_has_its_published_numbers() -> None:
    read = read_rows(DATA / "kdd99" / "kddcup.data_10_percent.gz", KDD99)
    classes, counts = np.unique(np.array(classes_of(read.labels))[read.label], return_counts=True)
    assert dict(zip(classes.tolist(), counts.tolist(), strict=True)) == {
        "normal": 97_278,
        "dos": 391_458,
        "probe": 4_107,
        "r2l": 1_126,
        "u2r": 52,
    }
    assert read.left_out == {}
