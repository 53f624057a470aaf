"""Somebody's files through parts that are fakes: all is sent in order, not too far ahead, and accounted."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from streams.client.flow_files import Options
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.home import Home
from streams.demo.flows import trial
from streams.demo.flows.account import Account, FileAccount, Standing, standing_of
from streams.demo.flows.trial import files_in, tried
from streams.demo.flows.trial_summary import as_json, notes, tables
from streams.demo.play import Polled
from streams.demo.view import View, render
from streams.errors import DataError
from tests.demo.test_demo_account import said, told
from tests.flow_samples import Raw, eve, zeek


class FakeParts:
    """Whatever is sent is judged once somebody waits; the clock goes on there, too."""

    def __init__(self, *, judges: bool = True) -> None:
        self.now_s = 0.0
        self.sent: list[tuple[bytes, int]] = []
        self.most_under_way = 0
        self.finished = False
        self._judges = judges
        self._done = 0
        self.sender = self.reader = self
        self.polled: list[Polled] = []

    def clock_s(self) -> float:
        return self.now_s

    def queue(
        self, keys: list[str | None], values: list[bytes], timestamps_ms: list[int] | None = None
    ) -> None:
        assert timestamps_ms is not None
        assert set(keys) == {"file"}
        self.sent += zip(values, timestamps_ms, strict=True)
        self.most_under_way = max(self.most_under_way, len(self.sent) - self._done)

    def finish(self) -> None:
        self.finished = True

    def poll(self, wait_s: float) -> Polled:
        self.now_s += wait_s
        return self.polled.pop() if self.polled else Polled((), (), 0)

    def standing(self) -> Standing:
        if self._judges:
            self._done = min(self._done + 700, len(self.sent))
        return Standing(self._done, self._done, self._done, self._done)

    def check(self) -> None:
        """It runs."""


def run(parts: FakeParts, path: Path) -> Account:
    return tried(parts, files_in(path), Home(), Options(), lambda account: None, parts.clock_s)


def write(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_records_leave_as_they_are_in_order_with_the_times_of_their_flows(tmp_path: Path) -> None:
    records = [
        zeek(),
        eve(event_type="dns"),
        zeek(ts=1_790_000_060.0, **{"id.resp_p": 70_000}),
        zeek(ts=1.8e9),
    ]
    parts = FakeParts()
    account = run(parts, write(tmp_path / "eve.json", records))
    assert [json.loads(value) for value, _ in parts.sent] == records
    first_ms, last_ms = 1_790_000_001_750, 1_800_000_001_500
    assert [time_ms for _, time_ms in parts.sent] == [first_ms, first_ms, first_ms, last_ms]
    assert parts.finished
    (file,) = account.files
    assert (file.records, file.flows, file.skipped.total(), file.rejected.total()) == (4, 2, 1, 1)
    assert (account.lost, account.flows_of) == (0, {"192.168.1.20": 2})


def test_rows_of_a_table_leave_as_our_own_records(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_text(
        "#fields\tuid\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\torig_pkts\n"
        "C1\t1790000000.25\t10.0.0.1\t5\t192.0.2.1\t80\ttcp\tS0\t3\n"
    )
    parts = FakeParts()
    run(parts, path)
    ((value, _),) = parts.sent
    (flow,) = FlowDecoder().decode([Raw(value)]).flows
    assert (flow.flow_id, flow.originator, flow.originator_packets) == ("C1", "10.0.0.1", 3)


def test_no_more_is_under_way_than_the_broker_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "UNDER_WAY", 2_000)
    parts = FakeParts()
    path = write(tmp_path / "conn.log", [zeek(uid=f"C{i}", **{"id.orig_p": 1 + i}) for i in range(9_000)])
    account = run(parts, path)
    assert len(parts.sent) == 9_000
    assert parts.most_under_way <= 2_000 + 1_024
    assert account.lost == 0


def test_what_is_never_judged_ends_after_a_while_and_is_said(tmp_path: Path) -> None:
    parts = FakeParts(judges=False)
    account = run(parts, write(tmp_path / "conn.log", [zeek()]))
    assert account.lost == 1
    assert parts.now_s >= trial.STUCK_S
    assert "1 records were not judged before it ended." in notes(account)


def test_a_folder_gives_all_its_files_and_says_which_could_not_be_used(tmp_path: Path) -> None:
    write(tmp_path / "b.json", [zeek()])
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / "conn.log", [zeek(), zeek(**{"id.orig_h": "8.8.8.8", "id.resp_h": "9.9.9.9"})])
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    (tmp_path / ".hidden").write_bytes(b"PAR1")
    account = run(FakeParts(), tmp_path)
    assert [Path(one.name).name for one in account.files] == ["conn.log", "b.json", "c.parquet"]
    text = "\n".join(notes(account))
    assert "3 files, 3 records" in text
    assert "1 of 3 flows have no end in a home network" in text
    assert "c.parquet: " in text
    assert "Parquet" in text


def test_a_file_that_cannot_be_read_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty folder"):
        files_in(tmp_path)
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="Parquet"):
        run(FakeParts(), path)


def test_incidents_are_told_by_their_alerts_and_in_order(tmp_path: Path) -> None:
    parts = FakeParts()
    alerts = tuple(
        replace(said(0, "dos"), event_time_us=at, incident_id="i1") for at in (5_000_000, 3_000_000)
    )
    alone = replace(said(1, "novel"), incident_id=None)
    parts.polled = [Polled((), (*alerts, alone), 2, (told("i1", "dos", 1),))]
    account = run(parts, write(tmp_path / "conn.log", [zeek()]))
    (incident,) = as_json(account)["incidents"]
    assert (incident["device"], incident["verdict"], incident["alerts"]) == ("cam-1", "dos", 2)
    assert (incident["first_event_us"], incident["last_event_us"]) == (3_000_000, 5_000_000)
    console = Console(width=130, file=io.StringIO(), record=True)
    console.print(tables(account))
    text = console.export_text()
    assert "1970-01-01 00:00:03" in text
    assert "3 alerts (dos 2, novel 1) in 1 incident of 1 device, 1 of none" in text


def test_what_is_read_and_found_is_shown_live_and_how_far_it_is(tmp_path: Path) -> None:
    parts, seen = FakeParts(), list[View]()
    write(tmp_path / "a.json", [zeek(uid=f"C{i}", **{"id.orig_p": 1 + i}) for i in range(9_000)])
    write(tmp_path / "b.json", [zeek(), eve(event_type="dns")])
    parts.polled = [Polled((), (said(0, "dos"),), 0)]
    tried(
        parts,
        files_in(tmp_path),
        Home(),
        Options(),
        lambda account: seen.append(account.view),
        parts.clock_s,
    )
    shares = [view.share for view in seen]
    assert shares == sorted(shares)
    assert any(0.1 < share < 0.6 for share in shares)
    assert shares[-1] == 1
    last = seen[-1]
    assert (last.sent, last.devices, dict(last.alerts)) == (9_001, 1, {"dos": 1})
    text = shown(last)
    assert "b.json" in text
    assert "file 2 of 2" in text
    assert "1 of no use" in text
    assert "cam-1" in text


def shown(view: View) -> str:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(render(view))
    return console.export_text()


def test_records_that_told_more_of_a_flow_and_captures_are_told_apart() -> None:
    account = Account(
        [FileAccount("a.pcap", records=3, flows=3, packets=70), FileAccount("b.json", records=5, flows=4)],
        standing=Standing(judged=9, verdicts=6),
    )
    text = "\n".join(notes(account))
    assert "2 files, 5 records, 70 packets metered as 3 flows." in text
    assert "6 flows" in text
    assert "Of 9 records of devices 3 only told more" in text


def test_a_workers_figures_say_how_far_it_is() -> None:
    figures = {
        "flows": {"ids.sensors": {"records": 7, "flows": {"out": 3, "in": 4}, "foreign": 1}},
        "records": 6, "classified": 4, "duplicates": 2, "held_back": {"learning": 3, "accepted": 0},
    }  # fmt: skip
    assert standing_of(figures) == Standing(7, 7, 6, 4, 2, {"learning": 3})
    assert standing_of({}) == Standing()
