"""Captures in files: each form gives the same frames; what is damaged says so after what was whole."""

from __future__ import annotations

import gzip
import struct
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.captures import Frame, frames, is_capture
from streams.codec.ingest.packets import ETHERNET, Frames
from streams.core.flows import Flow
from streams.core.meter import ICMP6, UDP, Meter
from streams.errors import DataError
from tests.flow_samples import data

FRAMES = [
    Frame(1_700_000_000_123_456, ETHERNET, b"\x01" * 60),
    Frame(1_700_000_001_000_001, ETHERNET, b"\x02" * 61),
]


def pcap(order: str = "<", per_us: int = 1) -> bytes:
    magic = 0xA1B23C4D if per_us == 1000 else 0xA1B2C3D4
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65_535, ETHERNET)
    return head + b"".join(
        struct.pack(
            f"{order}IIII",
            one.time_us // 1_000_000,
            one.time_us % 1_000_000 * per_us,
            len(one.data),
            len(one.data),
        )
        + one.data
        for one in FRAMES
    )


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def pcapng(order: str = "<", power: int = 6) -> bytes:
    section = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack(f"{order}HHB3x", 9, 1, power) + struct.pack(f"{order}HH", 0, 0)
    interface = block(order, 1, struct.pack(f"{order}HHI", ETHERNET, 0, 0) + options)
    unknown = block(order, 5, b"statistics..")
    packets = b""
    for one in FRAMES:
        units = one.time_us * 10**power // 1_000_000
        head = struct.pack(f"{order}IIIII", 0, units >> 32, units & 0xFFFFFFFF, len(one.data), len(one.data))
        packets += block(order, 6, head + one.data)
    return section + interface + unknown + packets


FORMS = {
    "pcap": pcap(),
    "pcap of another machine": pcap(">"),
    "pcap in nanoseconds": pcap(per_us=1000),
    "pcapng": pcapng(),
    "pcapng of another machine": pcapng(">"),
    "pcapng in nanoseconds": pcapng(power=9),
    "pcap in gzip": gzip.compress(pcap()),
    "two sections": pcapng() + pcapng(">"),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_frames(form: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(FORMS[form])
    assert is_capture(path)
    assert list(frames(path)) == FRAMES * (2 if form == "two sections" else 1)


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_a_capture_that_was_cut_gives_what_was_whole_and_says_so(
    form: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "capture"
    whole = FORMS[form]
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    found, problems = list[Frame](), list[str]()
    try:
        for frame in frames(path):
            found.append(frame)
    except DataError as exc:
        problems.append(str(exc))
    assert found == (FRAMES * 2)[: len(found)]
    assert all(str(path) in problem for problem in problems)


@given(st.binary(max_size=200), st.integers(0, 300), st.sampled_from(list(FORMS)))
def test_damage_is_an_error_of_data_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, form: str
) -> None:
    path = tmp_path_factory.mktemp("junk") / "capture"
    whole = FORMS[form]
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        for frame in frames(path):
            Frames(frame.link).packet(frame.time_us, frame.data)
    except DataError:
        pass


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_text("#separator \\x09\n")
    assert not is_capture(path)
    with pytest.raises(DataError, match="neither pcap nor pcapng"):
        list(frames(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(frames(tmp_path / "missing"))


def ethernet(kind: int, payload: bytes, tags: bytes = b"") -> bytes:
    return b"\x02" * 6 + b"\x04" * 6 + tags + kind.to_bytes(2) + payload


def ip4(protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    total = 20 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, total, 7, fragment, 64, protocol, 0)
    return head + bytes([10, 0, 0, 2]) + bytes([192, 0, 2, 1]) + payload


def test_headers_are_read_through_tags_extensions_and_padding() -> None:
    udp = struct.pack("!HHHH", 5353, 53, 12, 0) + b"data"
    tagged = ethernet(0x0800, ip4(UDP, udp) + bytes(18), tags=b"\x81\x00\x00\x05")
    packet = Frames(ETHERNET, with_macs=True).packet(9, tagged)
    assert packet is not None
    assert packet[:9] == (9, "10.0.0.2", "192.0.2.1", UDP, 5353, 53, 32, 4, 0), "padding counts for nothing"
    assert packet.source_mac == "04:04:04:04:04:04"
    hop_by_hop = bytes([ICMP6, 0]) + bytes(6)
    echo = bytes([128, 0]) + bytes(6)
    addresses = bytes(15) + b"\x01" + bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 9])
    ip6 = struct.pack("!IHBB", 6 << 28, len(hop_by_hop + echo), 0, 64) + addresses + hop_by_hop + echo
    packet = Frames(ETHERNET).packet(9, ethernet(0x86DD, ip6))
    assert packet is not None
    assert packet[1:6] == ("::1", "10.0.0.9", ICMP6, 128, 0)


def test_fragments_count_for_the_flow_that_their_first_belongs_to() -> None:
    reader = Frames(ETHERNET)
    first = reader.packet(1, ethernet(0x0800, ip4(UDP, struct.pack("!HHHH", 1, 2, 3000, 0), fragment=0x2000)))
    later = reader.packet(2, ethernet(0x0800, ip4(UDP, b"x" * 64, fragment=1)))
    assert first is not None
    assert later is not None
    assert later[4:6] == first[4:6] == (1, 2)
    assert later.payload_bytes == 64


@pytest.mark.parametrize("frame", [b"", b"\x00" * 13, ethernet(0x0806, bytes(28)), ethernet(0x0800, b"\x45")])
def test_what_is_no_whole_packet_of_ip_is_none(frame: bytes) -> None:
    assert Frames(ETHERNET).packet(1, frame) is None


@given(st.binary(max_size=120), st.sampled_from([1, 12, 101, 113, 276]))
def test_no_frame_raises(junk: bytes, link: int) -> None:
    reader = Frames(link)
    reader.packet(1, junk)
    reader.packet(1, ethernet(0x0800, b"\x45" + junk))
    reader.packet(1, ethernet(0x86DD, b"\x60" + junk))


def flows_of(path: Path) -> list[Flow]:
    meter, reader, found = Meter(), Frames(ETHERNET), list[Flow]()
    for frame in frames(path):
        packet = reader.packet(frame.time_us, frame.data)
        found += meter.add(packet) if packet is not None else ()
    return [*found, *meter.end()]


@pytest.mark.parametrize(
    ("name", "flows", "packets", "ip_bytes", "states"),
    [
        ("scan_syn", 1000, 2004, 84_176, {"REFUSED": 996, "RESET": 4}),
        ("sweep_telnet", 8, 17, 716, {"REFUSED": 7, "RESET": 1}),
        ("mirai_out", 120, 124, 5440, {"NO_ANSWER": 116, "REFUSED": 4}),
        ("sweep_ping", 4, 8, 224, {"ANSWERED": 4}),
        ("scan_udp", 41, 58, 4378, {"NO_ANSWER": 41}),
    ],
)
def test_real_captures_have_the_counts_that_other_meters_found(
    name: str, flows: int, packets: int, ip_bytes: int, states: dict[str, int]
) -> None:
    """NFStream 6.6.0's for the same packets."""
    found = [flow for flow in flows_of(data(f"lab/pcap/{name}.pcap.gz")) if flow.final]
    assert len(found) == flows
    assert sum((flow.originator_packets or 0) + (flow.responder_packets or 0) for flow in found) == packets
    assert sum((flow.originator_ip_bytes or 0) + (flow.responder_ip_bytes or 0) for flow in found) == ip_bytes
    assert Counter(flow.state.name for flow in found) == states
