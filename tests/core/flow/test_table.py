"""The table `flow`."""

from __future__ import annotations

from streams.core.flow.table import CLASS_OF_PORT, FLOW, PORT_CLASSES
from streams.core.known_tables import TABLES


def test_models_may_name_it() -> None:
    assert TABLES["flow"] is FLOW


def test_the_digest_changes_only_on_purpose() -> None:
    assert FLOW.digest.hex() == "520b56f792f385156627e0859da862fc32702abe3cc456b32b487f164b5b645e"


def test_a_row_is_62_numbers_6_symbols_and_bits_of_what_is_there() -> None:
    assert (len(FLOW.numeric), len(FLOW.symbolic), FLOW.row.itemsize) == (62, 6, 260)


def test_ports_have_classes() -> None:
    classes = {
        port: PORT_CLASSES[CLASS_OF_PORT[port] - 1] for port in (53, 23, 1883, 5353, 7, 8291, 1024, 65535)
    }
    assert list(classes.values()) == [
        "dns",
        "shell",
        "iot",
        "discovery",
        "below_1024",
        "exploit",
        "registered",
        "dynamic",
    ]
