"""The Helm chart, rendered by Helm: Kubernetes takes it, it holds together, and it keeps what it promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml

from streams.adapters.kafka.strimzi import rights_by_user
from streams.settings import Settings
from tests.deploy.chart_schema import CHART
from tests.deploy.charts import SETS, helm, one, rendered, rendering
from tests.deploy.judging import CRDS, NEWEST, OLDEST, environment, flaws, pods
from tests.project.test_documents import flaw as command_line_flaw

ROOT = CHART.parents[2]


@pytest.mark.parametrize("name", SETS)
def test_a_value_set_makes_manifests_that_kubernetes_takes_and_that_hold_together(name: str) -> None:
    assert len(SETS) == 5
    assert flaws(rendered(name)) == []


def test_the_oldest_kubernetes_that_the_chart_names_takes_them_too() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
    assert NEWEST > OLDEST
    assert flaws(rendered("secured"), OLDEST) == []


def test_helm_itself_finds_nothing_to_say() -> None:
    done = helm(
        "lint", "--strict", str(CHART), *(f"--values={path}" for path in (CHART / "ci").glob("s*.yaml"))
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "was", "becomes"),
    [
        ("deployment.yaml", "httpGet: { path: /health/ready", "httpGet: { path: /health/readi"),
        ("deployment.yaml", "maxUnavailable: 1", "maxUnavailabel: 1"),
        ("deployment.yaml", "periodSeconds: 15", 'periodSeconds: "15"'),
        ("deployment.yaml", "add (ceil $stop) 10", "add (ceil $stop) 5"),
        ("_helpers.tpl", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        ("_helpers.tpl", "enableServiceLinks: false", "enableServiceLinks: true"),
        ("_helpers.tpl", "- name: AUTODEEP_CACHE", "- name: AUTODEEP_CASHE"),
        ("_helpers.tpl", "- name: {{ $name }}_FILE", "- name: {{ $name }}_PATH"),
        ("_helpers.tpl", "/etc/autodeep/secret/{{ $of.name }}/", "/etc/autodeep/secrets/{{ $of.name }}/"),
        ("poddisruptionbudget.yaml", "component: worker", "component: workers"),
        ("service.yaml", "component: worker\n  ports", "component: topics\n  ports"),
        ("keda.yaml", "minReplicaCount:", "minReplicasCount:"),
        ("keda.yaml", '.fullname" . }}\n  minReplica', '.fullname" . }}s\n  minReplica'),
        ("podmonitor.yaml", "podMetricsEndpoints:", "endpoints:"),
        ("prometheusrule.yaml", ".rules | nindent 2", ".rules | toJson | nindent 2"),
        ("topics.yaml", "restartPolicy: Never", "restartPolicy: Sometimes"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_template_is_found(file: str, was: str, becomes: str, tmp_path: Path) -> None:
    chart = tmp_path / CHART.name
    shutil.copytree(CHART, chart)
    template = chart / "templates" / file
    text = template.read_text(encoding="utf-8")
    assert was in text
    template.write_text(text.replace(was, becomes, 1), encoding="utf-8")
    scaled = yaml.safe_load((CHART / "ci" / "scaled-values.yaml").read_text(encoding="utf-8"))
    scaled["topics"]["create"] = True
    assert flaws(rendering(scaled)) == []
    try:
        found = flaws(rendering(scaled, chart))
    except AssertionError as exc:  # Helm cannot read it
        found = [str(exc)]
    assert found


def test_one_worker_goes_before_its_successor_comes() -> None:
    strategy = one(rendered("default"), "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_a_start_may_take_the_time_that_the_settings_give_it() -> None:
    for start_s in (60, 900):
        values = {"settings": {"AUTODEEP_START_TIMEOUT_S": start_s}}
        (container,) = one(rendering(values), "Deployment")["spec"]["template"]["spec"]["containers"]
        probe = container["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= start_s + 120


def test_workers_have_no_limit_of_cpu_and_no_secret_is_a_variable() -> None:
    for name in SETS:
        for _, spec in pods(rendered(name)):
            (container,) = spec["containers"]
            assert "cpu" not in container["resources"]["limits"]
            assert all("value" in one for one in container["env"])


def test_a_certificate_and_its_key_come_in_one_volume_whole() -> None:
    (spec,) = (spec for _, spec in pods([one(rendered("secured"), "Deployment")]))
    found = environment(spec)
    certificate, key = (Path(found[f"AUTODEEP_KAFKA_{what}_FILE"]).parent for what in ("CERTIFICATE", "KEY"))
    assert certificate == key
    mounts = [m for m in spec["containers"][0]["volumeMounts"] if m["mountPath"] == str(key)]
    assert len(mounts) == 1
    assert "subPath" not in mounts[0]  # such a mount is never renewed


def test_the_job_and_the_test_get_no_secret_that_they_do_not_need() -> None:
    documents = rendered("secured")
    for kind in ("Job", "Pod"):
        (spec,) = (spec for _, spec in pods([one(documents, kind)]))
        found = environment(spec)
        assert not [name for name in found if name.startswith("AUTODEEP_REDIS")]
        user = {"Job": "autodeep-admin", "Pod": "autodeep-operator"}[kind]
        assert found["AUTODEEP_KAFKA_USERNAME"] == user
        assert found["AUTODEEP_KAFKA_PASSWORD_FILE"].endswith(f"/{user}/password")
        sources = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
        assert "redis" not in sources


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (4, 0), (69, 69), (77, 77)])
def test_topics_that_differ_stop_no_upgrade_and_what_is_away_does(
    code: int, ends: int, tmp_path: Path
) -> None:
    (container,) = one(rendered("secured"), "Job")["spec"]["template"]["spec"]["containers"]
    program = tmp_path / "autodeep"
    program.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n', encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run(
        [*container["command"], *container["args"]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == ends
    assert done.stdout.split() == ["topics", "create", "--partitions", "24", "--replication", "3"]
    assert command_line_flaw(f"autodeep {done.stdout.strip()}", True) == ""


def test_the_job_needs_nothing_that_its_release_has_yet_to_make() -> None:
    job = one(rendered("default"), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "default"


@pytest.mark.parametrize("kind", ["Deployment", "Pod"])
def test_what_a_container_runs_is_a_command_of_ours(kind: str) -> None:
    (spec,) = (spec for _, spec in pods([one(rendered("default"), kind)]))
    (container,) = spec["containers"]
    assert "command" not in container  # the image's own: autodeep
    assert command_line_flaw(" ".join(["autodeep", *container["args"]]), True) == ""


def test_keda_measures_the_lag_of_the_workers_group_and_logs_in_as_they_do() -> None:
    spec = one(rendered("scaled"), "ScaledObject")["spec"]
    (trigger,) = spec["triggers"]
    assert trigger["metadata"] == {
        "bootstrapServers": "kafka-kafka-bootstrap.kafka.svc:9093",
        "consumerGroup": "plant-7",
        "topic": "ids.telemetry",
        "lagThreshold": "1000000",
        "offsetResetPolicy": "earliest",
        "limitToPartitionsWithLag": "true",
        "tls": "enable",
        "sasl": "scram_sha512",
    }
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["cooldownPeriod"]) == (2, 24, 600)
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == 600
    login = one(rendered("scaled"), "TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == login["metadata"]["name"]
    parameters = {p["parameter"]: p for kind in ("secretTargetRef", "env") for p in login["spec"][kind]}
    assert parameters.keys() == {"ca", "password", "username"}
    (spec_of_pod,) = (spec for _, spec in pods([one(rendered("scaled"), "Deployment")]))
    assert parameters["username"]["name"] in environment(spec_of_pod)


def test_keda_shows_a_certificate_as_workers_do() -> None:
    names = ("AUTODEEP_KAFKA_CERTIFICATE_FILE", "AUTODEEP_KAFKA_KEY_FILE")
    documents = rendering(
        {
            "keda": {"enabled": True, "metadata": {"version": "3.6.0"}},
            "settings": {"AUTODEEP_KAFKA_SECURITY": "SSL"},
            "files": {
                "AUTODEEP_KAFKA_CA_FILE": {"configMap": "authorities", "key": "kafka.pem"},
                **{name: {"secret": "worker", "key": name.lower()} for name in names},
            },
        }
    )
    assert flaws(documents) == []
    (trigger,) = one(documents, "ScaledObject")["spec"]["triggers"]
    assert (trigger["metadata"]["tls"], trigger["metadata"]["version"]) == ("enable", "3.6.0")
    assert "sasl" not in trigger["metadata"]
    login = one(documents, "TriggerAuthentication")["spec"]
    assert {one["parameter"] for one in login["secretTargetRef"]} == {"cert", "key"}
    assert login["configMapTargetRef"] == [{"parameter": "ca", "name": "authorities", "key": "kafka.pem"}]


def test_without_a_log_in_keda_has_none() -> None:
    documents = rendering({"keda": {"enabled": True}})
    (trigger,) = one(documents, "ScaledObject")["spec"]["triggers"]
    assert "authenticationRef" not in trigger
    assert trigger["metadata"]["lagThreshold"] == "80000"
    assert not [document for document in documents if document["kind"] == "TriggerAuthentication"]


def test_a_threshold_is_two_to_five_seconds_of_what_a_worker_was_measured_to_do() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith("| events a second, telemetry bytes in"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    threshold = values["keda"]["lagThreshold"]
    slow, fast = sorted(int(cell.strip().replace(",", "")) for cell in line.split("|")[2:4])
    assert 2 * fast <= threshold <= 5 * slow


def test_the_values_that_the_document_shows_make_a_deployment() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^    # ids\.yaml\n((?:    .*\n)+)", page, re.M)
    documents = rendering(yaml.safe_load(textwrap.dedent(block)))
    assert flaws(documents) == []
    (spec,) = (spec for _, spec in pods([one(documents, "Pod")]))
    assert environment(spec)["AUTODEEP_KAFKA_USERNAME"] in rights_by_user(Settings())


def test_the_documents_name_the_versions_that_manifests_are_held_against() -> None:
    versions = {module.rpartition("@v")[2].rpartition(".")[0] for module, _ in CRDS.values()}
    for page in ("kubernetes.md", "compatibility.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert all(version in text for version in (OLDEST, NEWEST, *versions)), page


def test_the_notes_name_what_was_installed_and_commands_that_we_have() -> None:
    done = helm("install", "fleet", str(CHART), "--dry-run=client", "--namespace", "ids")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:\n")[2]
    assert "group autodeep-id on kafka:9092" in notes
    assert "deployment/fleet-autodeep-id" in notes
    (command,) = re.findall(r"-- (autodeep .*)$", notes, re.M)
    assert command_line_flaw(command, True) == ""
