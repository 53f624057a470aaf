"""Commands, states and statuses come back as they were sent; anything else is one clear refusal."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec import models
from streams.codec.models import (
    ModelCommand,
    ModelMessageUnreadable,
    ModelRef,
    ModelState,
    ModelStatus,
    Switch,
)
from streams.errors import DataError

LONGS = st.integers(-(2**63), 2**63 - 1)
OFFSETS = st.none() | st.dictionaries(st.text(max_size=5), LONGS, max_size=3)
SHARES = st.floats(0, 1)
REFS = st.builds(ModelRef, st.text(), st.text(), st.text())
SWITCHES = st.builds(Switch, REFS, st.dictionaries(st.text(max_size=5), LONGS, max_size=3), st.text())
COMMANDS = st.builds(
    ModelCommand, st.text(), st.text(), st.text(), LONGS,
    st.text(), st.text(), OFFSETS, SHARES, st.booleans(), st.text(),
)  # fmt: skip
STATES = st.builds(
    ModelState, st.integers(0, models.MOST_REVISION), REFS, LONGS, st.none() | REFS, st.text(), SHARES,
    st.none() | REFS, st.text(), st.none() | REFS, st.lists(SWITCHES, max_size=3).map(tuple),
)  # fmt: skip
COMMAND = ModelCommand("c-1", "promote", "kdd99", 1_700_000_000_000_000, "2")
STATE = ModelState(3, ModelRef("kdd99", "2", "ab"), 5, previous=ModelRef("kdd99", "1", "cd"))
STATUS = ModelStatus("decision", "w-1", "c-1", 3, "kdd99", "2", "ab", "refused", "too slow", 0.25, 7)


@given(COMMANDS)
def test_a_command_comes_back_as_it_was(command: ModelCommand) -> None:
    assert models.decode_command(models.encode_command(command)) == command


@given(STATES)
def test_a_state_comes_back_as_it_was(state: ModelState) -> None:
    assert models.decode_state(models.encode_state(state)) == state


@pytest.mark.parametrize(
    "odd",
    [
        *({"revision": number} for number in (-1, models.MOST_REVISION + 1, 2**63 - 1, -(2**63))),
        *({"canary_share": share} for share in (math.nan, math.inf, -0.1, 1.5)),
    ],
)
def test_a_state_with_numbers_that_no_agent_writes_is_refused(odd: dict[str, Any]) -> None:
    """One of the last revision would have no next one: each agent in turn would end by it."""
    with pytest.raises(ModelMessageUnreadable):
        models.decode_state(models.encode_state(dataclasses.replace(STATE, **odd)))


def test_a_state_of_before_there_were_switches_is_read_as_one_without() -> None:
    written = (
        "c301" "021b0c05da4ef1ff" "06" "0a6b64643939" "0232" "046162" "00" "00" "0000000000000000" "02"
        "0a6b64643939" "0231" "046364" "00" "00" "00" "0a"
    )  # fmt: skip
    assert models.decode_state(bytes.fromhex(written)) == STATE


def test_that_a_model_is_being_prepared_is_no_answer_yet() -> None:
    final = {o: dataclasses.replace(STATUS, outcome=o).is_final for o in ("preparing", "promoted", "refused")}
    assert final == {"preparing": False, "promoted": True, "refused": True}
    assert not dataclasses.replace(STATUS, kind="worker").is_final


def test_a_status_comes_back_as_it_was_and_is_one_line_of_json() -> None:
    assert models.decode_status(models.encode_status(STATUS)) == STATUS
    broken = models.encode_status(dataclasses.replace(STATUS, detail="two\n  lines\r\n"))
    assert b"\n" not in broken
    assert models.decode_status(broken).detail == "two lines"


def test_a_detail_that_quotes_half_of_a_surrogate_pair_is_told_all_the_same() -> None:
    status = dataclasses.replace(STATUS, detail="the class \ud83d is none")
    assert models.decode_status(models.encode_status(status)).detail == "the class ? is none"


def test_fields_that_a_newer_writer_adds_to_a_status_are_passed_over() -> None:
    value = json.loads(models.encode_status(STATUS)) | {"mood": "sunny"}
    assert models.decode_status(json.dumps(value).encode()) == STATUS


@pytest.mark.parametrize("decode", [models.decode_command, models.decode_state])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"promote kdd99/2", "begins with 70 72"),
        (b"\xc3\x01", "fingerprint"),
        (b"\xc3\x01" + bytes(8), "fingerprint 0000000000000000"),
        (b"\x00\x00\x00\x00\x01", "begins with 00 00"),
    ],
)
def test_what_is_not_valid_avro_is_refused(
    decode: Callable[[bytes | None], object], value: bytes | None, says: str
) -> None:
    with pytest.raises(ModelMessageUnreadable, match=says) as refused:
        decode(value)
    assert isinstance(refused.value, DataError)


def test_a_message_cut_anywhere_or_longer_than_itself_is_refused() -> None:
    for value, decode in (
        (models.encode_command(COMMAND), models.decode_command),
        (models.encode_state(STATE), models.decode_state),
    ):
        for bad in (*(value[:end] for end in range(len(value))), value + b"\0"):
            with pytest.raises(ModelMessageUnreadable):
                decode(bad)


def test_a_command_with_a_text_that_nobody_reads_is_refused() -> None:
    with pytest.raises(ModelMessageUnreadable, match="name has 100000 characters, at most 1024 are taken"):
        models.decode_command(models.encode_command(ModelCommand("1", "promote", "k" * 100_000, 0)))


def test_a_state_is_no_command() -> None:
    with pytest.raises(ModelMessageUnreadable, match="no ModelCommand schema"):
        models.decode_command(models.encode_state(STATE))


@given(st.binary(max_size=80))
def test_no_bytes_after_a_good_header_do_more_than_be_refused(noise: bytes) -> None:
    header = models.encode_command(COMMAND)[:10]
    with contextlib.suppress(ModelMessageUnreadable):
        models.decode_command(header + noise)


def test_a_force_that_is_neither_true_nor_false_is_refused() -> None:
    """Taken for true, it would lead past the gate."""
    good, forced = (
        models.encode_command(dataclasses.replace(COMMAND, force=force)) for force in (False, True)
    )
    (place,) = [at for at, (a, b) in enumerate(zip(good, forced, strict=True)) if a != b]
    with pytest.raises(ModelMessageUnreadable, match="force is the byte 0x02"):
        models.decode_command(good[:place] + b"\2" + good[place + 1 :])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "gossip"),
        ("kind", ["decision"]),
        ("outcome", "perhaps"),
        ("revision", "3"),
        ("revision", True),
        ("revision", 1.5),
        ("revision", 2**63),
        ("revision", 10**400),
        ("at_us", -(2**63) - 1),
        ("load_s", "fast"),
        ("load_s", 10**400),
        ("load_s", float("inf")),
        ("detail", None),
        ("detail", "\ud800"),
        ("figures", [1]),
        ("figures", {"events": {"dos": [10**400]}}),
        ("figures", {"share": float("nan")}),
        ("figures", {"\ud800": 1}),
    ],
)
def test_a_status_with_a_field_of_another_kind_is_refused_by_the_fields_name(
    field: str, value: object
) -> None:
    fields = json.loads(models.encode_status(STATUS)) | {field: value}
    with pytest.raises(ModelMessageUnreadable, match=f"status's {field}"):
        models.decode_status(json.dumps(fields).encode())


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{", b"\xff", b'{"load_s": NaN}'])
def test_a_status_that_is_no_json_object_is_refused(value: bytes | None) -> None:
    with pytest.raises(ModelMessageUnreadable):
        models.decode_status(value)


def test_the_mirrors_have_the_schemas_fields() -> None:
    from streams.codec.avro import schemas

    for name, mirror in ((models.MODEL_COMMAND, ModelCommand), (models.MODEL_STATE, ModelState)):
        fields = {field["name"] for field in schemas.load(name).source["fields"]}
        assert fields == {field.name for field in dataclasses.fields(mirror)}
