"""Files of sensors and captures of packets as blocks: whatever is whole is given, what is damaged is said."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from streams.client.flow_files import Options
from streams.client.flow_sources import Block, FlowSource
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.errors import DataError
from tests.adapters.test_captures import pcap
from tests.flow_samples import data, eve, zeek


def blocks(path: Path) -> tuple[list[Block], FlowSource]:
    source = FlowSource(str(path), Options())
    return list(source.blocks()), source


def test_records_are_numbered_on_from_block_to_block(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_text("".join(json.dumps(zeek(uid=f"C{i}")) + "\n" for i in range(5_000)))
    found, source = blocks(path)
    assert [(one.first, len(one.records)) for one in found] == [(1, 4_096), (4_097, 904)]
    assert sum(len(one.read.flows) for one in found) == 5_000
    assert source.damage == ""


def test_what_stands_before_the_damage_is_given(tmp_path: Path) -> None:
    path = tmp_path / "eve.json.gz"
    lines = [json.dumps(eve(flow_id=i, community_id=f"1:{i * 7919}")) for i in range(3_000)]
    path.write_bytes(gzip.compress("\n".join(lines).encode())[:-1_000])
    found, source = blocks(path)
    assert 0 < sum(len(one.read.flows) for one in found) < 3_000
    assert "end" in source.damage.lower()


def test_a_file_that_is_damaged_from_its_beginning_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap()[:30])
    with pytest.raises(DataError, match="damaged"):
        blocks(path)


def test_an_empty_file_has_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert blocks(path)[0] == []


@pytest.mark.parametrize("cut", [0, 5_000])
def test_a_capture_is_metered_and_its_records_are_our_own(tmp_path: Path, cut: int) -> None:
    whole = gzip.decompress(data("lab/pcap/scan_syn.pcap.gz").read_bytes())
    path = tmp_path / "scan.pcap"
    path.write_bytes(whole[: len(whole) - cut])
    found, source = blocks(path)
    (block,) = found
    assert (len(block.records), source.packets, source.damage) == (1_000, 2_004, "") or cut
    assert bool(source.damage) == bool(cut)
    again = FlowDecoder().decode(block.records)
    assert again.flows.frame.equals(block.read.flows.frame)
    assert again.flows.position.tolist() == block.read.flows.position.tolist()
