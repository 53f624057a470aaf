"""Leases of dnsmasq, dhcpd, Kea and of CSV, good and bad, as what a topic is told of devices."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from streams.client.lease_files import LeaseRow, Passed, lease_rows
from streams.client.leasing import Gathered, Means, Naming, gathered, listed, told_anew
from streams.core.home import Home, parse_home
from streams.core.leases import FOREVER, Devices, Lease, in_force
from streams.errors import DataError

S = 1_790_000_000
NOW_US = S * 1_000_000
CAMERA, PLUG = "02:00:00:00:00:0a", "02:00:00:00:00:0b"

DNSMASQ = f"""\
{S + 3600} {CAMERA} 192.168.1.20 camera 01:{CAMERA}
0 {PLUG.upper()} 192.168.1.21 * *
duid 00:01:00:01:2c:aa:bb:cc:02:00:00:00:00:01
{S + 3600} 12345678 fd00::20 camera 00:01:00:01
"""
DHCPD = f"""\
# The format of this file is documented in the dhcpd.leases(5) manual page.
authoring-byte-order little-endian;

lease 192.168.1.20 {{
  starts 1 2026/09/21 12:00:00;
  ends 1 2026/09/21 14:00:00;
  cltt 1 2026/09/21 12:00:00;
  binding state active;
  next binding state free;
  hardware ethernet {CAMERA};
  client-hostname "camera";
}}
lease 192.168.1.20 {{
  starts epoch {S - 1000}; # Mon Sep 21
  ends never;
  binding state active;
  hardware ethernet {CAMERA};
}}
lease 192.168.1.21 {{
  starts 1 2026/09/21 10:00:00;
  ends 1 2026/09/21 10:30:00;
  binding state free;
  hardware ethernet {PLUG};
}}
lease 192.168.1.22 {{
  binding state backup;
}}
"""
KEA = f"""\
address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
192.168.1.20,{CAMERA},01:{CAMERA},3600,{S + 1800},1,0,0,camera.home.,0,,0
192.168.1.20,{CAMERA},01:{CAMERA},3600,{S + 3600},1,0,0,camera.home.,0,,0
192.168.1.21,{PLUG},,0,{S},1,0,0,,0,,0
192.168.1.22,{PLUG},,3600,{S},1,0,0,,2,,0
"""
OWN = f"""\
address, name, mac, start, end, site
192.168.1.20,camera,{CAMERA},2026-09-21T12:00:00Z,2026-09-21T16:00:00+02:00,
192.168.1.21,,{PLUG},,,
fd00:0:0::21,plug,,{S - 60},{S + 60},house
"""


def read(text: str | bytes, names: Naming = Naming.MAC, site: str = "", home: Home | None = None) -> Gathered:
    stream = io.BytesIO(text if isinstance(text, bytes) else text.encode())
    return gathered(lease_rows(stream), Means(home or Home(), site, names, NOW_US))


def names(found: Gathered, at_us: int = NOW_US) -> dict[str, str]:
    shown = {}
    for site, address, leases in found.devices.items():
        held = in_force(leases, at_us)
        shown[f"{site}/{address}" if site else address] = held.name if held else ""
    return shown


def test_leases_of_each_kind_of_file_name_their_addresses() -> None:
    assert names(read(DNSMASQ)) == {"192.168.1.20": CAMERA, "192.168.1.21": PLUG}
    assert names(read(DHCPD)) == {"192.168.1.20": CAMERA, "192.168.1.21": ""}
    assert names(read(DHCPD), S * 1_000_000 - 15_000_000_000)["192.168.1.21"] == PLUG
    assert names(read(KEA)) == {"192.168.1.20": CAMERA}
    assert names(read(KEA), NOW_US + 3_599_000_000) == {"192.168.1.20": CAMERA}
    assert names(read(OWN)) == {"192.168.1.20": "", "192.168.1.21": PLUG, "house/fd00::21": "plug"}
    assert names(read(OWN), NOW_US - 8_000_000_000)["192.168.1.20"] == "camera"


def test_devices_are_called_by_host_name_where_that_is_asked_for_and_told() -> None:
    found = names(read(DNSMASQ, Naming.HOST))
    assert found == {"192.168.1.20": "camera", "192.168.1.21": PLUG, "fd00::20": "camera"}
    sly = f"{S + 60} {CAMERA} 192.168.1.20 192.168.1.1 *\n{S + 60} {PLUG} 192.168.1.21 {CAMERA} *\n"
    assert names(read(sly, Naming.HOST)) == {"192.168.1.20": CAMERA, "192.168.1.21": PLUG}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("192.168.1.20,a,2026-09-21 12:00:00,", "is no time with a zone; add Z for UTC"),
        ("192.168.1.20,a,1970-01-01T00:00:00Z,", "not between 2000 and 2100"),
        ("192.168.1.20,a,3600,", "not between 2000 and 2100"),
        ("192.168.1.20,a,2026-09-21T12:00:00Z,2026-09-21T11:00:00Z", "ends before it starts"),
        ("192.168.1.256,a,,", "address '192.168.1.256', which is none"),
        ("203.0.113.9,a,,", "outside the home networks"),
        ("192.168.1.20,a b,,", "has the name 'a b'"),
        ("192.168.1.20," + "x" * 5_000 + ",,", "has the name"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_its_line_and_costs_only_itself(row: str, reason: str) -> None:
    found = read(f"address,name,start,end\n{row}\n192.168.1.30,b,,\n")
    assert names(found) == {"192.168.1.30": "b"}
    (said,) = found.wrong
    assert reason in said
    assert found.first_line[said] == 2


def test_a_lease_of_another_site_is_refused_and_home_networks_are_the_sites_own() -> None:
    found = read(OWN, site="plant")
    assert found.wrong == {"is of another site than plant": 1}
    assert set(names(found)) == {"plant/192.168.1.20", "plant/192.168.1.21"}
    home = parse_home("10.0.0.0/8;plant=192.168.1.0/24")
    assert names(read(DNSMASQ, site="plant", home=home)).keys() == {
        "plant/192.168.1.20",
        "plant/192.168.1.21",
    }
    assert read(DNSMASQ, site="house", home=home).used == 0


def test_overlapping_leases_are_counted_and_the_later_counts() -> None:
    rows = f"192.168.1.20,a,{S - 100},{S + 100}\n192.168.1.20,b,{S - 10},{S + 50}\n"
    found = read(f"address,name,start,end\n{rows}")
    assert found.overlapping == 1
    assert (names(found), names(found, NOW_US + 60_000_000)) == ({"192.168.1.20": "b"}, {"192.168.1.20": ""})


def test_what_is_no_file_of_leases_is_refused_row_by_row() -> None:
    for text in (
        b"\xff\xfe\x00\x01\n" * 3,
        b"{}\n[1]\n",
        b'"' * 40_000,
        b"lease 192.168.1.2 {\n starts maybe;",
    ):
        found = read(text)
        assert (found.used, found.wrong.total() >= 1) == (0, True)


def endless(count: int) -> Iterator[LeaseRow | Passed]:
    for at in range(count):
        address = f"10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}"
        yield LeaseRow(at, address, CAMERA, "", NOW_US, FOREVER)


def test_more_leases_than_a_worker_keeps_are_refused_before_they_take_memory() -> None:
    means = Means(Home(), "", Naming.MAC, NOW_US)
    found = Gathered(Devices(most=500))
    with pytest.raises(DataError, match="more than 500 leases"):
        gathered(endless(10_000_000), means, found)
    assert len(found.devices) == 500
    log = (LeaseRow(at, "10.0.0.1", CAMERA, "", NOW_US + at, NOW_US + at + 10) for at in range(20_000))
    assert len(gathered(log, means).devices.of("", "10.0.0.1")) == 1


def test_only_what_is_new_is_told_and_a_renewal_without_a_start_goes_on() -> None:
    known = Devices()
    first = told_anew(known, read(DNSMASQ), NOW_US)
    assert [address for _, address, _ in first] == ["192.168.1.20", "192.168.1.21"]
    assert told_anew(known, read(DNSMASQ), NOW_US + 7) == []
    renewed = read(DNSMASQ.replace(str(S + 3600), str(S + 7200)))
    ((_, address, leases),) = told_anew(known, renewed, NOW_US + 9)
    assert (address, [one.told_us for one in leases]) == ("192.168.1.20", [NOW_US, NOW_US + 9])
    assert in_force(leases, NOW_US + 7_000_000_000, NOW_US + 8) is None


def test_a_list_shows_what_is_in_force_or_everything() -> None:
    known = Devices()
    known.put("house", "10.0.0.1", (Lease(0, 5, "a"), Lease(5, 9, "b"), Lease(9, FOREVER, "")))
    assert [one.name for *_, one in listed(known, "house", 7, everything=False)] == ["b"]
    assert [one.name for *_, one in listed(known, "", 7, everything=True)] == ["a", "b"]
    assert not listed(known, "plant", 7, everything=True)
