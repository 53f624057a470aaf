"""What `ids.devices` holds: of each address its leases, flat JSON, so that others can write it, too."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from streams.codec.ingest.flows.values import canonical, mac
from streams.codec.plain import is_int64, shown
from streams.core.home import SITE
from streams.core.leases import FOREVER, MOST_OF_ADDRESS, Lease
from streams.errors import DataError

LARGEST_BYTES: Final = 64 * 1024
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class LeasesUnreadable(DataError, ValueError):
    """A record on the topic of devices that is none of ours."""


def key_of(site: str, address: str) -> bytes:
    return f"{site}/{address}".encode() if site else address.encode()


def encode_leases(site: str, address: str, leases: tuple[Lease, ...]) -> bytes:
    told = [
        {
            "start_us": one.start_us,
            "end_us": None if one.end_us == FOREVER else one.end_us,
            "name": one.name,
            "mac": one.mac,
            "told_us": one.told_us,
        }
        for one in leases
    ]
    return json.dumps({"site": site, "address": address, "leases": told}, separators=(",", ":")).encode()


def decode_leases(key: bytes | None, value: bytes | None) -> tuple[str, str, tuple[Lease, ...]]:
    """Site, address and leases, none of a tombstone. Raises LeasesUnreadable.

    Fields that a newer writer adds are passed over; of too many leases the last ones count.
    """
    site, _, address = (key or b"").decode("utf-8", "replace").rpartition("/")
    if (site and not SITE.fullmatch(site)) or not address or canonical(address) != address:
        raise LeasesUnreadable(f"the key {shown(site + '/' + address)} is no site and canonical address")
    if value is None:
        return site, address, ()
    if len(value) > LARGEST_BYTES:
        raise LeasesUnreadable(f"the leases have {len(value)} bytes")
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise LeasesUnreadable(f"the leases are no JSON: {exc}") from exc
    if not isinstance(fields, dict) or not isinstance(fields.get("leases"), list):
        raise LeasesUnreadable("the leases are no JSON object with a list `leases`")
    found = sorted(map(_lease, fields["leases"]), key=lambda one: (one.start_us, one.told_us))
    return site, address, tuple(found[-MOST_OF_ADDRESS:])


def _lease(value: object) -> Lease:
    if not isinstance(value, dict):
        raise LeasesUnreadable(f"a lease is {shown(value)}")
    end_us = value.get("end_us")
    found = Lease(
        _time(value, "start_us"),
        FOREVER if end_us is None else _time(value, "end_us"),
        _text(value, "name"),
        _text(value, "mac"),
        _time(value, "told_us"),
    )
    if found.name and not NAME.fullmatch(found.name):
        raise LeasesUnreadable(f"the name {shown(found.name)} is none: letters, digits and . _ : -")
    if found.mac and mac(found.mac) != found.mac:
        raise LeasesUnreadable(f"the MAC {shown(found.mac)} is none")
    return found


def _time(value: dict[str, Any], name: str) -> int:
    found = value.get(name)
    if not is_int64(found):
        raise LeasesUnreadable(f"{name} of a lease is {shown(found)}, no whole number")
    return found


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name, "")
    if not isinstance(found, str):
        raise LeasesUnreadable(f"{name} of a lease is {shown(found)}, no text")
    return found
