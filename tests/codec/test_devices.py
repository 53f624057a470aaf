"""What stands on the topic of devices, and what is passed over there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.codec.devices import LeasesUnreadable, decode_leases, encode_leases, key_of
from streams.core.leases import FOREVER, MOST_OF_ADDRESS, Lease

LEASES = (Lease(1, 5, "camera", "02:00:00:00:00:0a", 1), Lease(5, FOREVER, "", "", 9))


def test_leases_are_read_as_they_were_written() -> None:
    for site in ("house", ""):
        key, value = key_of(site, "10.0.0.9"), encode_leases(site, "10.0.0.9", LEASES)
        assert decode_leases(key, value) == (site, "10.0.0.9", LEASES)
        assert decode_leases(key, None) == (site, "10.0.0.9", ())


def test_the_bytes_are_those_of_the_document() -> None:
    assert json.loads(encode_leases("house", "10.0.0.9", LEASES)) == {
        "site": "house",
        "address": "10.0.0.9",
        "leases": [
            {"start_us": 1, "end_us": 5, "name": "camera", "mac": "02:00:00:00:00:0a", "told_us": 1},
            {"start_us": 5, "end_us": None, "name": "", "mac": "", "told_us": 9},
        ],
    }


def test_of_too_many_leases_the_last_count_and_new_fields_are_passed_over() -> None:
    many = tuple(Lease(at, at + 1, f"d{at}") for at in range(99))
    _, _, found = decode_leases(b"10.0.0.9", encode_leases("", "10.0.0.9", many))
    assert found == many[-MOST_OF_ADDRESS:]
    grown = {"leases": [{"start_us": 1, "end_us": None, "name": "a", "told_us": 1, "by": "x"}], "more": 1}
    assert decode_leases(b"10.0.0.9", json.dumps(grown).encode())[2] == (Lease(1, FOREVER, "a", "", 1),)


def one(**changed: Any) -> bytes:
    lease = {"start_us": 1, "end_us": 5, "name": "a", "mac": "", "told_us": 1, **changed}
    return json.dumps({"leases": [lease]}).encode()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, one()),
        (b"\xff", one()),
        (b"10.0.0.09", one()),
        (b"FE80::1", one()),
        (b"a b/10.0.0.9", one()),
        (b"10.0.0.9", b""),
        (b"10.0.0.9", b"[" * 60_000),
        (b"10.0.0.9", b"{" + b" " * 70_000 + b"}"),
        (b"10.0.0.9", b'{"leases": {}}'),
        (b"10.0.0.9", b'{"leases": [3]}'),
        (b"10.0.0.9", one(start_us=2**63)),
        (b"10.0.0.9", one(start_us=None)),
        (b"10.0.0.9", one(told_us=1.5)),
        (b"10.0.0.9", one(name="a/b")),
        (b"10.0.0.9", one(name=7)),
        (b"10.0.0.9", one(mac="ff:ff:ff:ff:ff:ff")),
    ],
)
def test_what_is_no_record_of_leases_is_refused(key: bytes | None, value: bytes) -> None:
    with pytest.raises(LeasesUnreadable):
        decode_leases(key, value)
