"""docker-compose.yml and the Dockerfile, as far as they can be judged without an engine."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.settings import Settings, variable

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"topics"}
LASTING = sorted(set(SERVICES) - ONCE)
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SETTINGS = {variable(field.name) for field in dataclasses.fields(Settings)}


def test_there_are_kafka_redis_a_registry_topics_two_workers_and_prometheus() -> None:
    assert set(SERVICES) == {"kafka", "redis", "schema-registry", "topics", "worker", "prometheus"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_has_an_exact_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_has_a_health_check_a_restart_policy_limits_and_time_to_stop(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["stop_grace_period"]


def test_topics_are_made_once_and_before_the_workers() -> None:
    topics, worker = SERVICES["topics"], SERVICES["worker"]
    assert topics["command"][:2] == ["topics", "create"]
    assert topics["healthcheck"] == {"disable": True}  # the image's own check is a worker's
    assert topics["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert worker["depends_on"]["topics"] == {"condition": "service_completed_successfully"}


def test_a_worker_waits_until_all_it_talks_to_is_healthy() -> None:
    conditions = {name: wait["condition"] for name, wait in SERVICES["worker"]["depends_on"].items()}
    del conditions["topics"]
    assert conditions == dict.fromkeys(("kafka", "redis", "schema-registry"), "service_healthy")


@pytest.mark.parametrize("name", ["topics", "worker"])
def test_our_settings_exist_and_can_be_used(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert {key for key in environment if key.startswith("AUTODEEP_")} <= SETTINGS
    settings = Settings.from_environment(environment)
    health = " ".join(SERVICES["worker"]["healthcheck"]["test"])
    assert f":{settings.web_port}/health/ready" in health


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


def test_workers_publish_no_port_since_there_are_several() -> None:
    assert "ports" not in SERVICES["worker"]


def test_state_lies_in_declared_volumes() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    ours = {source for source in mounted if source.startswith("./")}
    assert mounted - ours == set(COMPOSE["volumes"]) == {"kafka-data", "redis-data", "prometheus-data"}


def test_prometheus_scrapes_the_workers_and_reads_its_settings_and_rules_from_the_checkout() -> None:
    (ours,) = (of for of in SERVICES["prometheus"]["volumes"] if of.startswith("./"))
    source, target, mode = ours.split(":")
    assert (target, mode) == ("/etc/prometheus", "ro")
    found = yaml.safe_load((ROOT / source / "prometheus.yml").read_text(encoding="utf-8"))
    assert all((ROOT / source / name).is_file() for name in found["rule_files"])
    (scraped,) = found["scrape_configs"]
    (workers,) = scraped["dns_sd_configs"]
    assert workers["names"] == ["worker"]
    assert str(workers["port"]) == SERVICES["worker"]["environment"]["AUTODEEP_WEB_PORT"]


def test_redis_keeps_windows_on_disk_and_never_evicts_them() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


@pytest.mark.parametrize("name", ["topics", "worker"])
def test_our_containers_have_no_rights_to_lose(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service.get("user") is None  # the image's user decides, and it is not root:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    user = re.search(r"^USER (\S+)$", final, re.MULTILINE)
    assert user
    assert user[1] not in {"root", "0"}


def test_the_image_takes_what_it_copies_and_no_secret() -> None:
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line[:1] == "!"
    }
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)
    assert not re.search(r"password|token|secret", DOCKERFILE, re.IGNORECASE)


def test_the_image_names_only_settings_that_exist() -> None:
    assert set(re.findall(r"AUTODEEP_[A-Z_]+", DOCKERFILE)) <= SETTINGS


def compose_command() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        if (
            subprocess.run([*command, "version"], capture_output=True, check=False, timeout=30).returncode
            == 0
        ):
            return command
    return None


def test_compose_itself_takes_the_file() -> None:
    command = compose_command()
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` works here")
    done = subprocess.run(
        [*command, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
