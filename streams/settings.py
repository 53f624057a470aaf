"""Every setting, read from the environment once, into one frozen value.

The table in docs/settings.md is generated from here: `python -m streams.settings`.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from streams.errors import SettingsError
from streams.legible import shortened, without_secrets
from streams.parsers import (
    at_least,
    flag,
    http,
    one_of,
    port,
    servers,
    share,
    some_of,
    topic_names,
    topic_prefix,
    url,
)

log: Final = logging.getLogger("autodeep")

PREFIX: Final = "AUTODEEP_"


def _setting(
    default: object, says: str, parse: Callable[[str], object] = str, *, secret: bool = False
) -> Any:
    return dataclasses.field(
        default=cast(Any, default), metadata={"says": says, "parse": parse, "secret": secret}, repr=not secret
    )


@dataclass(frozen=True, slots=True)
class Settings:
    kafka_servers: str = _setting(
        "localhost:9092", "Kafka bootstrap servers, host:port, comma-separated", servers
    )
    kafka_security: str = _setting(
        "PLAINTEXT",
        "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
        one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    kafka_sasl_mechanism: str = _setting(
        "SCRAM-SHA-512",
        "SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER (OIDC) or AWS_MSK_IAM",
        one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"),
    )
    kafka_username: str = _setting("", "SASL user name")
    kafka_password: str = _setting("", "SASL password", secret=True)
    kafka_ca_file: str = _setting("", "PEM file of the authority that signed the brokers' certificates")
    kafka_certificate_file: str = _setting(
        "", "PEM file of our own certificate, where the brokers ask for one"
    )
    kafka_key_file: str = _setting("", "PEM file of that certificate's key")
    kafka_key_password: str = _setting("", "What opens the key, where it is encrypted", secret=True)
    kafka_oauth_token_url: str = _setting("", "OAUTHBEARER: the OIDC provider's token endpoint", http)
    kafka_oauth_client_id: str = _setting("", "OAUTHBEARER: client id")
    kafka_oauth_client_secret: str = _setting("", "OAUTHBEARER: client secret", secret=True)
    kafka_oauth_scope: str = _setting("", "OAUTHBEARER: scope to ask for; empty: none")
    kafka_oauth_ca_file: str = _setting("", "OAUTHBEARER: PEM file of the authority of the token endpoint")
    kafka_aws_region: str = _setting("", "AWS_MSK_IAM: region of the cluster")
    kafka_compression: str = _setting(
        "lz4",
        "How what we write is compressed: none, gzip, snappy, lz4 or zstd",
        one_of("none", "gzip", "snappy", "lz4", "zstd"),
    )
    kafka_message_max_bytes: int = _setting(
        4_194_304,
        "Most bytes of a message or batch that we write; topics may take less",
        at_least(4096, int),
    )
    kafka_fetch_max_bytes: int = _setting(
        262_144,
        "Most bytes that one fetch brings of a partition; a larger record still comes, alone",
        at_least(4096, int),
    )
    kafka_session_timeout_s: float = _setting(
        10.0,
        "Seconds after which the partitions of a worker that died go to others",
        at_least(1, float, 3600),
    )
    kafka_heartbeat_s: float = _setting(
        1.0,
        "Seconds between a worker's signs of life: how soon it hears of a rebalance",
        at_least(0.1, float, 3600),
    )
    topic_prefix: str = _setting("ids", "First part of every topic's name", topic_prefix)
    flow_topics: str = _setting(
        "",
        "Topics of sensors' flow records, comma-separated: each flow goes to its devices; empty: none",
        topic_names,
    )
    group: str = _setting("autodeep-id", "Consumer group of the workers")
    redis_url: str = _setting(
        "redis://localhost:6379/0",
        "Where the windows are kept: redis://, redis+sentinel:// or redis+cluster://, rediss for TLS",
        secret=True,
    )
    redis_ca_file: str = _setting("", "PEM file of the authority that signed Redis's certificate")
    schema_registry_url: str = _setting("", "Confluent-compatible schema registry; empty: none", http)
    schema_registry_username: str = _setting("", "Its user name, where it wants a log-in")
    schema_registry_password: str = _setting("", "Its password", secret=True)
    schema_registry_ca_file: str = _setting("", "PEM file of the authority that signed its certificate")
    writer_schemas: str = _setting("", "Folder of further writer schemas (*.avsc) that producers may use")
    model_store: str = _setting(
        "", "Folder or URL (fsspec) of the model store; empty: the models that ship", url
    )
    model_trust_key: str = _setting(
        "", "PEM file of an Ed25519 public key: only models signed by it are served; empty: any model"
    )
    model_latency_ratio: float = _setting(
        1.2,
        "Most time of a new model for a micro-batch, as a multiple of the champion's",
        at_least(0.01, float),
    )
    model_switch_timeout_s: float = _setting(
        60.0,
        "Seconds that all workers may take to get ready for a switch at exact offsets; then it is refused",
        at_least(1, float),
    )
    shadow_cpu_share: float = _setting(
        0.2, "Most of one core that a challenger takes in the background of a worker", at_least(0, float)
    )
    model: str = _setting(
        "kdd99@champion", "Model to start with, of the family served: name@alias or name/version"
    )
    flow_learning_s: float = _setting(
        1800.0,
        "Seconds of event time from a device's first flow on in which it is learnt about: only what "
        "is beyond doubt alerts; 0: none",
        at_least(0, float),
    )
    flow_model: str = _setting(
        "flows@champion",
        "Model of flows to start with: name@alias or name/version; where the store has none of that name, "
        "flows go to their devices and are not judged",
    )
    operating_point: str = _setting(
        "", "Operating point of the model, such as operator or contest; empty: the model's default"
    )
    flow_operating_point: str = _setting("", "The same of the model of flows, such as strict or sensitive")
    home_networks: str = _setting(
        "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,fc00::/7,fe80::/10",
        "Networks whose addresses are devices, comma-separated; `; SITE=NETWORKS` where a site has others",
    )
    site: str = _setting("", "Site of the devices of sensors that have none of their own; empty: no site")
    sensor_sites: str = _setting("", "Sites of sensors, as SENSOR=SITE, comma-separated")
    flow_dialect: str = _setting(
        "auto",
        "How sensors' records are written, such as zeek or suricata; auto: told of each by its content",
    )
    alert_format: Literal["auto", "json", "avro", "single-object"] = _setting(
        "auto",
        "How alerts and incidents are written: json, avro (framed as the registry's, where one is set), "
        "single-object (Avro's own framing); auto: avro where a registry is set, else json",
        one_of("auto", "json", "avro", "single-object"),
    )
    outputs: str = _setting(
        "",
        "Further formats of alerts and incidents, comma-separated, each on a topic of its own: ocsf, ecs, "
        "pagerduty (incidents alone)",
        some_of("ocsf", "ecs", "pagerduty"),
    )
    severities: str = _setting(
        "", "Severities of classes that are not the usual ones, such as probe=low,dos=critical"
    )
    explain_share: float = _setting(
        0.0, "Share of the alerts, 0 to 1, that say which features and earlier events drove them", share
    )
    incidents: bool = _setting(
        True, "Whether alerts are also told as incidents: all of one class about one device", flag
    )
    incident_quiet_s: float = _setting(
        900.0, "Seconds without an alert after which an incident closes", at_least(1, float)
    )
    incident_update_s: float = _setting(
        300.0,
        "Seconds of event time after which an incident's next alert is told, whatever their number",
        at_least(1, float),
    )
    incident_reopen_s: float = _setting(
        900.0,
        "Seconds after an incident closed within which an alert still belongs to it",
        at_least(0, float),
    )
    incident_novel_least: int = _setting(
        3,
        "Novel alerts among the events of a device's window, at most the last 64, that open an incident",
        at_least(1, int),
    )
    incident_explain_share: float = _setting(
        0.1,
        "Share of the devices, 0 to 1, whose incidents say what drove their worst alert; each such alert "
        "takes a worker 1 to 2 ms",
        share,
    )
    publish_classified: bool = _setting(False, "Also publish every verdict, normal ones too", flag)
    window_idle_s: float = _setting(
        3600.0,
        "A longer gap, seconds, in event time and in Kafka's timestamps starts a device's window anew",
        at_least(1, float),
    )
    window_ttl_days: float = _setting(
        7.0, "Days until Redis forgets a silent device", at_least(0.01, float, 10_000)
    )
    rebuild_windows_records: int = _setting(
        0,
        "Most records of each partition that are read again where Redis lost windows; 0: they start anew",
        at_least(0, int),
    )
    window_cache_mib: int = _setting(
        256, "Memory for windows kept in the worker, MiB", at_least(16, int, 1 << 20)
    )
    chunk_max_records: int = _setting(
        4096,
        "Most records, of all partitions together, that are worked on at once",
        at_least(64, int, 1_000_000),
    )
    linger_ms: float = _setting(
        50.0,
        "Milliseconds between two turns at least, so that more arrives for each; a full turn does not wait",
        at_least(0, float),
    )
    fetch_max_wait_ms: int = _setting(
        500,
        "Milliseconds that a broker waits where there is nothing to read; one that answers no sooner when "
        "something arrives (librdkafka's mock cluster) needs few",
        at_least(1, int),
    )
    device_id_max_bytes: int = _setting(256, "Longest device id taken", at_least(1, int))
    max_clock_skew_s: float = _setting(
        0.0,
        "Most seconds between an event's time and Kafka's timestamp; events beyond become dead letters; "
        "0: no limit",
        at_least(0, float),
    )
    new_devices_per_s: int = _setting(
        0,
        "Most devices without a window that are let in per second and partition; the events of others "
        "become dead letters; 0: no limit",
        at_least(0, int),
    )
    commit_interval_s: float = _setting(0.5, "Seconds between commits of offsets", at_least(0.05, float))
    start_timeout_s: float = _setting(
        60.0, "Seconds to wait at start for Kafka and Redis before giving up", at_least(0, float)
    )
    stop_timeout_s: float = _setting(
        25.0,
        "Seconds that a stop may take; then the worker ends as it is, and its turns are read again",
        at_least(0.1, float),
    )
    stuck_timeout_s: float = _setting(
        300.0,
        "Seconds without progress, turns being under way and nothing away, or without an answer to any "
        "fetch, after which a worker ends itself; 0: never",
        at_least(0, float),
    )
    network_timeout_s: float = _setting(
        10.0, "Seconds that one network call may take", at_least(0.1, float, 300)
    )
    torch_threads: int = _setting(1, "Threads that one worker's model computes with", at_least(1, int, 1024))
    web_bind: str = _setting("127.0.0.1", "Address of the worker's web server")
    web_port: int = _setting(6066, "Port of the worker's web server; 0: a free one", port)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The words of `outputs`."""
        return tuple(filter(None, self.outputs.split(",")))

    def __repr__(self) -> str:
        """Without secrets, nor those inside a URL."""
        shown = (
            f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr
        )
        return without_secrets(f"Settings({', '.join(shown)})")

    @property
    def sensors_topics(self) -> tuple[str, ...]:
        """Each topic that sensors write flows to."""
        return tuple(name for name in self.flow_topics.split(",") if name)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read AUTODEEP_* variables; for each, AUTODEEP_*_FILE may name a file that holds the value.

        What Kubernetes sets for a Service of our name is passed over, with one line. Raises SettingsError
        for a name that does not exist, and for a value that cannot be used. A secret's value never stands in
        the message. Blanks and line ends around a value are no part of it, as in a file.
        """
        fields = {variable(field.name): field for field in dataclasses.fields(cls)}
        values: dict[str, object] = {}
        links = _service_links(environment)
        for name, text in environment.items():
            if not name.startswith(PREFIX) or _is_reserved(name) or name in links:
                continue
            plain = name.removesuffix("_FILE") if name not in fields else name
            if plain not in fields:
                raise SettingsError(f"{name} is no setting; `python -m streams.settings` lists them all")
            if plain != name and plain in environment:
                raise SettingsError(f"{plain} and {name} are both set; keep one")
            field = fields[plain]
            values[field.name] = _parse(name, field, text if plain == name else _read(name, text))
        if links:
            log.warning(
                "passed over, since they describe a Service of Kubernetes and no setting: %s "
                "(enableServiceLinks: false keeps them away)",
                ", ".join(sorted(links)),
            )
        return cls(**cast(Any, values))


RESERVED: Final = (f"{PREFIX}TEST_", f"{PREFIX}CACHE", f"{PREFIX}DATA")
"""Variables of the tests and of data and cache folders, which no worker reads."""


def _is_reserved(name: str) -> bool:
    return name in RESERVED or name.startswith(RESERVED[0])


_LINK: Final = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)"
)
_LINKED_PORT: Final = re.compile(r"(tcp|udp|sctp)://\S+")
"""What X_PORT of a Service X holds, and no port of a setting does: AUTODEEP_WEB_PORT is one of both."""


def _service_links(environment: Mapping[str, str]) -> frozenset[str]:
    """Names that Kubernetes sets in every pod beside a Service whose name begins with ours."""
    return frozenset(
        name
        for name, text in environment.items()
        if _LINK.fullmatch(name)
        or (name.startswith(PREFIX) and name.endswith("PORT") and _LINKED_PORT.fullmatch(text))
    )


def variable(field_name: str) -> str:
    return PREFIX + field_name.upper()


def _read(name: str, path: str) -> str:
    if not path:
        raise SettingsError(f"{name} names no file; leave it unset, or give the file that holds the value")
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise SettingsError(f"{name}: cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise SettingsError(f"{name}: {path} holds no text in UTF-8") from exc
    if not text:
        raise SettingsError(f"{name}: {path} is empty")
    return text


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def _parse(name: str, field: dataclasses.Field[Any], text: str) -> object:
    text = text.strip()
    if field.default != "" and not text:
        raise SettingsError(f"{name} is empty; leave it unset for its default, {field.default}")
    try:
        text.encode()  # what the system cannot decode comes as half of a surrogate pair
        if _CONTROL.search(text):
            raise ValueError("it holds a line end or another control character")
        return field.metadata["parse"](text)
    except ValueError as exc:
        hidden = field.metadata["secret"] or "://" in text or "@" in text
        shown = "its value" if hidden else repr(shortened(text))
        raise SettingsError(f"{name}: {shown} cannot be used: {exc}") from exc


def markdown() -> str:
    """The table of settings, as docs/settings.md shows it."""
    lines = ["| variable | default | what it does |", "| --- | --- | --- |"]
    for field in dataclasses.fields(Settings):
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        lines.append(
            f"| `{variable(field.name)}` | {f'`{default}`' if default else ''} | {field.metadata['says']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
