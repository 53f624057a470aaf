"""What real sensors sent of the laboratory's attacks, as canonical flows by scenario; and sensors agree."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.sensors import order
from bench.sensors.likeness import COUNTED, likeness, told
from bench.sensors.measure import RECORDED, device_flows, file_records, metered
from streams.core.flows import DeviceFlow, Direction, Role
from tests.device_flows import flow_of
from tests.flow_samples import data, zeek

IN, OUT, INTERNAL = "in", "out", "internal"
LIVE: dict[str, dict[str, tuple[int, str]]] = {
    "gf_json": {
        "scan_syn": (28, IN), "scan_udp": (14, IN), "brute_ftp": (14, IN), "slowloris_py": (14, IN),
        "dns_tunnel": (12, INTERNAL), "exfil_bulk": (2, OUT),
    },
    "gf_pb": {
        "scan_syn": (28, IN), "mirai_out": (3, OUT), "brute_ftp": (8, IN), "slowloris_py": (4, IN),
        "dns_tunnel": (12, INTERNAL), "exfil_bulk": (2, OUT),
    },
    "pm_nfacctd": {
        "scan_syn": (28, IN), "brute_ftp": (14, IN), "slowloris_py": (14, IN), "dns_tunnel": (12, INTERNAL),
        "exfil_bulk": (2, OUT),
    },
    "telegraf_eve": {"scan_syn": (4, IN), "scan_udp": (13, IN), "slowloris_py": (9, IN)},
    "rsyslog_raw": {"scan_syn": (5, IN), "scan_udp": (7, IN), "exfil_bulk": (1, OUT)},
    "rsyslog_default": {"scan_syn": (5, IN), "scan_udp": (7, IN), "exfil_bulk": (1, OUT)},
    "kcat_eve": {"scan_syn": (5, IN), "scan_udp": (12, IN), "exfil_bulk": (1, OUT)},
    "nfstream": {
        "scan_syn": (29, IN), "slowloris_py": (29, IN), "dns_tunnel": (6, INTERNAL), "exfil_bulk": (1, OUT),
    },
    "nfstream_close": {
        "scan_syn": (51, IN), "scan_udp": (14, IN), "mirai_out": (6, OUT), "brute_http": (8, IN),
        "slowloris_py": (14, IN), "dns_tunnel": (6, INTERNAL), "exfil_bulk": (2, OUT),
    },
}  # fmt: skip
"""Of each topic, how many events of devices each scenario has in the recorded messages, and which way."""
SLACK_S = 1.1
"""NetFlow v9 has whole seconds in its header."""


def of_scenario(label: dict[str, Any], events: list[DeviceFlow]) -> list[DeviceFlow]:
    ends = [label[end].partition("/")[0].removesuffix(".0") for end in ("attacker", "victim")]
    return [
        one
        for one in events
        if label["t0"] - SLACK_S <= one.start_us / 1e6 <= label["t1"] + SLACK_S
        and any(one.device.startswith(a) and one.peer.startswith(b) for a, b in (ends, ends[::-1]))
    ]


@pytest.mark.data
@pytest.mark.parametrize("topic", LIVE)
def test_a_live_chain_tells_each_scenario_of_its_devices_in_its_direction(topic: str) -> None:
    labels = [json.loads(line) for line in data("lab/labels-live.jsonl").read_text().splitlines()]
    events = device_flows(file_records(data(f"lab/{topic}.jsonl")))
    found = {}
    for label in labels:
        ways = Counter(str(one.direction) for one in of_scenario(label, events))
        if ways:
            found[label["scenario"]] = (ways.total(), ways.most_common(1)[0][0])
    assert found == LIVE[topic]


@pytest.mark.data
@pytest.mark.parametrize(("topic", "met"), [("gf_json", 46), ("gf_pb", 102), ("pm_nfacctd", 70)])
def test_halves_of_a_live_exporter_meet(topic: str, met: int) -> None:
    """Of many flows the recorded messages have one half only."""
    whole = told(device_flows(file_records(data(f"lab/{topic}.jsonl")))).flows
    both = (whole.packets_out > 0) & (whole.packets_in > 0)
    assert both.sum() == met
    assert not whole.half.any()


SCENARIOS = (
    *("scan_syn", "scan_udp", "mirai_out", "brute_ssh", "brute_telnet", "c2_beacon", "dns_tunnel"),
    *("exfil_bulk", "flood_syn", "slowloris_d2"),
)


@pytest.mark.data
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_recorded_sensors_agree_with_our_meter_about_the_same_packets(scenario: str) -> None:
    name = f"{scenario}-first4000" if scenario == "flood_syn" else scenario
    reference = metered(data(f"lab/pcap/{name}.pcap.gz"))
    for sensor, pattern in RECORDED.items():
        sample = told(device_flows(file_records(data(f"lab/offline/{pattern.format(scenario)}"))))
        found = likeness(reference, sample, is_sample=True)
        least = 5 if scenario == "flood_syn" else min(found.flows, found.reference_flows) * 0.9
        assert found.both >= least, sensor  # of the flood Suricata's sample has flows behind the packets' end
        assert found.other_devices == ()
        assert found.direction == 0, sensor
        if scenario not in ("slowloris_d2", "brute_telnet", "scan_udp"):  # cut, or an ICMP error is counted
            assert (found.packets, found.ip_bytes) == (0, 0), sensor
            assert found.columns_apart.keys() & set(COUNTED) == set(), sensor


def test_sensors_that_tell_the_same_are_alike_and_others_are_not() -> None:
    flows = [flow_of("192.168.1.2", Role.ORIGINATOR)]
    same = likeness(told(flows), told(flows))
    assert (same.both, same.direction, same.packets, same.cells_apart, same.peaks_apart) == (1, 0, 0, 0, {})
    turned = replace(flows[0], role=Role.TARGET, direction=Direction.IN, packets_out=99)
    other = likeness(told(flows), told([turned]))
    assert (other.both, other.direction, other.packets) == (1, 1, 1)
    stranger = likeness(told(flows), told([replace(flows[0], device="192.168.1.3")]))
    assert (stranger.both, stranger.other_devices) == (0, ("192.168.1.2", "192.168.1.3"))


def test_order_may_change_only_what_depends_on_it(tmp_path: Path) -> None:
    """In order, repeated, shuffled over six partitions, and after kills."""
    lines = [
        json.dumps(zeek(ts=1_790_000_000.25 + place * 7, uid=f"C{place}", **{"id.resp_p": place % 9 + 20}))
        for place in range(120)
    ]
    path = tmp_path / "conn.log"
    path.write_text("\n".join(lines) + "\n")
    result = order.measure(path, 120, 1)
    assert not order.is_broken(result)
    courses = result["courses"]
    assert courses["repeated"]["apart_share"] == courses["in order"]["apart_share"] == 0
    assert courses["repeated"]["arrivals"] > 2 * courses["in order"]["arrivals"]
    assert 0 < courses["shuffled"]["apart_share"] <= courses["shuffled"]["bound_share"]
    assert courses["shuffled"]["apart_share_by"]["itself"] == 0
    for name in ("killed", "all of it"):
        assert 0 < courses[name]["repeats"] == courses[name]["arrivals"] - courses["in order"]["arrivals"]
        assert 0 <= courses[name]["counted_again_share"] < 1
