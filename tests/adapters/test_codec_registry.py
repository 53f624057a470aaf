"""Schemas by registry id: asked once, unknown ones again after a while, unavailability passed on."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from streams.adapters.registry import (
    UNKNOWN_FOR_S,
    WAITED_FOR_S,
    CachedRegistry,
    confluent_registry,
    registry_of,
)
from streams.codec.avro.datum import Unreadable
from streams.codec.avro.framing import confluent_header
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.events import Reason
from streams.core.kdd99 import KDD99
from streams.embedded.certificates import Authority
from streams.errors import RegistryUnavailable, SettingsError
from streams.settings import Settings
from tests.codec_samples import CURRENT, Raw, datum, fields

TEXT = json.dumps(CURRENT.source)


@dataclass
class Bench:
    """A registry whose contents and clock the test sets."""

    known: dict[int, str] = field(default_factory=dict)
    now_s: float = 0.0
    asked: list[int] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)  # how many times more
    away: bool = False
    takes_s: float = 0.0

    def fetch(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        self.now_s += self.takes_s
        if self.away or self.refused.get(schema_id):
            self.refused[schema_id] = self.refused.get(schema_id, 1) - 1
            raise RegistryUnavailable("refused: forbidden")
        return self.known.get(schema_id)

    def registry(self, max_entries: int = 1024) -> CachedRegistry:
        return CachedRegistry(self.fetch, lambda: self.now_s, max_entries)


def test_a_known_id_is_asked_for_once_and_for_ever() -> None:
    bench = Bench({7: TEXT})
    registry = bench.registry()
    first = registry.schema(7)
    bench.now_s = 1e9
    assert first is not None
    assert first.fingerprint == CURRENT.fingerprint
    assert registry.schema(7) is first
    assert bench.asked == [7]


def test_an_unknown_id_is_asked_for_again_after_a_while() -> None:
    bench = Bench()
    registry = bench.registry()
    assert registry.schema(7) is None
    bench.known[7] = TEXT
    bench.now_s = UNKNOWN_FOR_S - 1
    assert registry.schema(7) is None
    bench.now_s = UNKNOWN_FOR_S
    assert registry.schema(7) is not None
    assert bench.asked == [7, 7]


def test_the_cache_is_bounded_and_forgets_the_least_used() -> None:
    bench = Bench(dict.fromkeys(range(5), TEXT))
    registry = bench.registry(max_entries=2)
    for schema_id in (0, 1, 0, 2, 0, 1):
        registry.schema(schema_id)
    assert bench.asked == [0, 1, 2, 1]


def test_an_id_that_is_refused_while_another_is_given_costs_its_own_records_alone() -> None:
    bench = Bench({7: TEXT}, refused={13: 99})
    registry = bench.registry()
    registry.schema(7)
    for _ in range(3):
        with pytest.raises(Unreadable, match=r"schema id 13 cannot be had, though another can: .*forbidden"):
            registry.schema(13)
        assert registry.schema(7) is not None
    assert bench.asked == [7, 13, 7, 13]
    bench.now_s, bench.refused, bench.known[13] = UNKNOWN_FOR_S, {}, TEXT
    assert registry.schema(13) is not None


def test_an_id_that_is_refused_once_is_asked_for_once_more() -> None:
    bench = Bench({7: TEXT, 13: TEXT}, refused={13: 1})
    registry = bench.registry()
    registry.schema(7)
    assert registry.schema(13) is not None


def test_a_registry_that_gives_nothing_any_more_is_away_and_known_ids_need_it_no_longer() -> None:
    bench = Bench({7: TEXT, 13: TEXT})
    registry = bench.registry()
    registry.schema(7)
    bench.away = True
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            registry.schema(13)
    assert registry.schema(7) is not None
    bench.away, bench.refused = False, {}
    assert registry.schema(13) is not None


def test_before_any_id_of_telemetry_was_given_a_refused_one_is_waited_for_a_while() -> None:
    """Whoever may read the schema of alerts may lack the right to that of telemetry."""
    bench = Bench({12: TEXT}, refused={7: 99})
    registry = bench.registry()
    registry._own = 12  # as if registered
    for bench.now_s in (0.0, WAITED_FOR_S - 1):
        with pytest.raises(RegistryUnavailable):
            registry.schema(7)
    bench.now_s = WAITED_FOR_S
    with pytest.raises(Unreadable, match="id 7 cannot be had"):
        registry.schema(7)


def test_made_up_ids_cost_a_bounded_number_of_questions_and_drive_no_good_one_out() -> None:
    bench = Bench({7: TEXT, 8: TEXT})
    registry = bench.registry()
    registry.schema(7)
    flood(registry, 4096)
    assert len(bench.asked) < 40
    flood(registry, 4096)
    assert len(bench.asked) < 40
    with pytest.raises(Unreadable, match="id 8 was not asked for"):
        registry.schema(8)
    asked = len(bench.asked)
    assert registry.schema(7) is not None
    assert len(bench.asked) == asked
    bench.now_s = 10.0
    assert registry.schema(8) is not None
    flood(registry, 4096)
    assert len(bench.asked) < asked + 20


def flood(registry: CachedRegistry, count: int) -> None:
    for made_up in range(1_000_000, 1_000_000 + count):
        with contextlib.suppress(Unreadable):
            assert registry.schema(made_up) is None


def test_useless_ids_whose_answers_take_long_are_asked_for_the_more_seldom() -> None:
    bench = Bench(takes_s=10.0)
    registry = bench.registry()
    while bench.now_s < 1000.0:
        flood(registry, 100)
        bench.now_s += 1.0
    assert 15 < len(bench.asked) < 30


def test_of_a_turn_the_ids_of_the_most_records_are_asked_for_first() -> None:
    """So that somebody who makes ids up hides no good one, though the worker knows none yet."""
    bench = Bench({70_000: TEXT})
    decoder = TelemetryDecoder(KDD99, registry=bench.registry())
    value = datum(fields("d0"))
    made_up = [Raw(at, b"d0", confluent_header(1_000 + at) + value) for at in range(200)]
    good = [Raw(at, b"d0", confluent_header(70_000) + value) for at in (200, 201)]
    decoded = decoder.decode([*made_up, *good])
    assert decoded.events.offset.tolist() == [200, 201]
    assert bench.asked[0] == 70_000
    assert len(bench.asked) < 40
    assert {bad.reason for bad in decoded.rejected} == {Reason.UNKNOWN_SCHEMA}
    assert len(decoded.rejected) == 200


def test_a_text_that_is_no_record_schema_is_as_good_as_none() -> None:
    assert Bench({1: '"string"'}).registry().schema(1) is None


def test_unavailability_is_not_remembered() -> None:
    def fetch(schema_id: int) -> str | None:
        asked.append(schema_id)
        raise RegistryUnavailable("away")

    asked: list[int] = []
    registry = CachedRegistry(fetch)
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            registry.schema(1)
    assert asked == [1, 1]


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(SettingsError, match=r"autodeep-id\[registry\]"):
        confluent_registry("http://localhost:1")


class Answers(BaseHTTPRequestHandler):
    instead: ClassVar[tuple[int, object] | None] = None
    """What is answered whatever is asked."""

    def do_GET(self) -> None:
        if self.instead is not None:
            self._answer(*self.instead)
            return
        status, body = {
            "/schemas/ids/7": (200, {"schema": TEXT}),
            "/schemas/ids/8": (200, {"schema": "message M {}", "schemaType": "PROTOBUF"}),
            "/schemas/ids/9": (500, {"error_code": 50001, "message": "out of order"}),
            "/schemas/ids/10": (200, ["no", "object"]),
            "/schemas/ids/11": (200, {"schema": 5}),
            "/schemas/ids/13": (200, {"schema": TEXT, "references": 3}),
        }.get(self.path.split("?")[0], (404, {"error_code": 40403, "message": "Schema not found"}))
        self._answer(status, body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        taken = (200, {"id": 12})
        refused = (409, {"error_code": 409, "message": "incompatible with an earlier schema"})
        self._answer(*(taken if self.path.startswith("/subjects/ids.alerts.") else refused))

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("certifi", "httpx", "authlib", "cachetools")),
    reason='the extra "registry" is not installed',
)


@needs_extra
def test_no_warning_of_its_libraries_reaches_whoever_starts_it(url: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from streams.adapters import registry; registry.confluent_registry({url!r})",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stderr == ""


@needs_extra
@pytest.mark.filterwarnings("ignore")  # of the client's own libraries
def test_the_client_of_the_extra_asks_over_http(url: str) -> None:
    registry = confluent_registry(url, timeout_s=5)
    with pytest.raises(RegistryUnavailable, match="out of order"):
        registry.schema(9)
    found = registry.schema(7)
    assert found is not None
    assert found.fingerprint == CURRENT.fingerprint
    assert registry.schema(8) is None
    assert registry.schema(404) is None
    for refused, says in ((9, "out of order"), (10, "TypeError"), (11, "no schema"), (13, "TypeError")):
        with pytest.raises(Unreadable, match=rf"id {refused} cannot be had, though another can: .*{says}"):
            registry.schema(refused)


@needs_extra
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "instead",
    [
        (403, {"error_code": 40301, "message": "forbidden"}),
        (404, "404 page not found"),  # a gateway with no registry behind it
        (404, {"message": "no Route matched with those values"}),
        (404, {"error_code": -1}),
        (200, {"status": "UP"}),
        (200, "<html>log in</html>"),
        (302, ""),
        (503, {}),
    ],
)
def test_what_answers_and_is_no_registry_is_waited_for(
    url: str, instead: tuple[int, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No id is unknown for that; nor is what the client has in its cache taken for an answer."""
    registry = confluent_registry(url, timeout_s=5)
    assert registry.schema(7) is not None
    monkeypatch.setattr(Answers, "instead", instead)
    for schema_id in (9, 404):
        with pytest.raises(RegistryUnavailable):
            registry.schema(schema_id)


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_a_schema_is_registered_under_every_subject_and_a_refusal_is_told(url: str) -> None:
    registry = confluent_registry(url, timeout_s=5)
    assert registry.register(["ids.alerts.dos-value", "ids.alerts.u2r-value"], CURRENT) == 12
    with pytest.raises(RegistryUnavailable, match="incompatible"):
        registry.register(["somebody-elses"], CURRENT)


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_a_registry_that_is_not_there_is_unavailable_and_named() -> None:
    with socket.socket() as taken:  # bound and not listening: refuses
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RegistryUnavailable, match=url):
            confluent_registry(url, timeout_s=2).schema(1)


class Guarded(Answers):
    """Answers whoever logs in."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] == "Basic " + base64.b64encode(b"me:5ecret").decode():
            super().do_GET()
        else:
            self._answer(401, {"error_code": 401, "message": "Unauthorized"})


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_a_registry_with_a_log_in_and_an_authority_of_its_own_is_asked_as_the_settings_say(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("registry")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.chain_file, issued.key_file)
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        settings = Settings(
            schema_registry_url=f"https://localhost:{server.server_port}",
            schema_registry_username="me",
            schema_registry_password="5ecret",
            schema_registry_ca_file=str(authority.ca_file),
            network_timeout_s=5,
        )
        try:
            assert registry_of(settings).schema(7) is not None
            with pytest.raises(RegistryUnavailable, match="AUTODEEP_SCHEMA_REGISTRY_PASSWORD"):
                registry_of(replace(settings, schema_registry_password="wr0ng")).schema(7)
            with pytest.raises(RegistryUnavailable, match="certificate"):
                registry_of(replace(settings, schema_registry_ca_file="")).schema(7)
        finally:
            server.shutdown()
            thread.join()


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_an_authority_that_cannot_be_read_is_named_with_its_setting() -> None:
    with pytest.raises(SettingsError, match="AUTODEEP_SCHEMA_REGISTRY_CA_FILE"):
        registry_of(Settings(schema_registry_url="https://localhost:1", schema_registry_ca_file="/nowhere"))
