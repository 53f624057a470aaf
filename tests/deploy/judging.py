"""What is wrong with rendered manifests, as lines. No cluster is asked."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate as kubernetes
import kubernetes_validate.utils
import yaml

from streams.errors import SettingsError
from streams.settings import Settings, variable
from tests.conftest import absent
from tests.deploy.charts import Document

OLDEST, NEWEST = "1.27", "1.37"
"""Versions of Kubernetes: that of Chart.yaml's kubeVersion, and the last whose schemas the validator has."""
SETTINGS: Final = {variable(field.name) for field in dataclasses.fields(Settings)}
CRDS: Final = {
    "keda.sh": ("github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases"),
    "monitoring.coreos.com": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "example/prometheus-operator-crd",
    ),
}
"""By API group: the Go module that has the definitions of its resources, and where. None is copied here."""

# The schemas of all of Kubernetes are read once and not for each document.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def flaws(documents: Sequence[Document], version: str = NEWEST) -> list[str]:
    return [
        f"{document['kind']}: {flaw}"
        for document in documents
        for flaw in (*_invalid(document, version), *_pod_flaws(document))
    ] or list(_loose_ends(documents))


def pods(documents: Sequence[Document]) -> Iterator[tuple[Document, Document]]:
    """Every pod that comes of them: its metadata and its spec."""
    for document in documents:
        if document["kind"] == "Pod":
            yield document["metadata"], document["spec"]
        elif document["kind"] in {"Deployment", "Job"}:
            template = document["spec"]["template"]
            yield template["metadata"], template["spec"]


def environment(spec: Document) -> dict[str, str]:
    """The variables of a pod's one container."""
    (container,) = spec["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def settings_of(spec: Document, values: Mapping[str, str] | None = None) -> Settings:
    """What our programs read in this pod, with all that is mounted; each file holds `values`, or x.

    Raises SettingsError where they would refuse it, KeyError for a file that is not mounted.
    """
    mounted = _mounted(spec)
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(spec)
        for number, (name, text) in enumerate(environment(spec).items()):
            if name.endswith("_FILE") and name not in SETTINGS:
                if text not in mounted:
                    raise KeyError(f"{name} names {text}, which is not mounted")
                path = Path(folder, str(number))
                path.write_text((values or {}).get(name.removesuffix("_FILE"), "x"), encoding="utf-8")
                variables[name] = str(path)
            elif text.startswith("/etc/autodeep/") and text not in mounted:
                raise KeyError(f"{name} names {text}, which is not mounted")
        return Settings.from_environment(variables)


def _mounted(spec: Document) -> set[str]:
    """Paths of the files that are mounted from Secrets and ConfigMaps, and of folders that are whole."""
    volumes = {one["name"]: one.get("secret") or one.get("configMap") for one in spec["volumes"]}
    (container,) = spec["containers"]
    found = set[str]()
    for mount in container["volumeMounts"]:
        source, path = volumes[mount["name"]], mount["mountPath"]
        if source:
            found |= {f"{path}/{item['path']}" for item in source.get("items", ())} or {path}
    return found


def _invalid(document: Document, version: str) -> Iterator[str]:
    try:
        if document["apiVersion"].partition("/")[0] in CRDS:
            _definition(document["apiVersion"], document["kind"]).validate(document)
        else:
            kubernetes.validate(document, version, strict=True)
    except jsonschema.ValidationError as exc:
        yield f"{'.'.join(map(str, exc.path))}: {exc.message}"


@functools.cache
def _definition(api: str, kind: str) -> jsonschema.Draft202012Validator:
    """Of a custom resource, strictly: what its definition does not name is an error."""
    group, version = api.split("/")
    module, folder = CRDS[group]
    path = _module(module) / folder / f"{group}_{kind.lower()}s.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the latter takes seconds for them
    versions = yaml.load(path.read_text(encoding="utf-8"), loader)["spec"]["versions"]
    (schema,) = (one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == version)
    closed = _closed(schema)
    closed["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(closed)


@functools.cache
def _module(module: str) -> Path:
    """A Go module's folder, fetched by Go, which compares it with the database of checksums."""
    if shutil.which("go") is None:
        absent("no go on the PATH, which fetches the definitions of KEDA and the Prometheus Operator")
    done = subprocess.run(
        ["go", "mod", "download", "-json", module], capture_output=True, text=True, check=False, timeout=120,
        cwd=tempfile.gettempdir(),
    )  # fmt: skip
    if done.returncode != 0:
        absent(f"go cannot fetch {module}: {done.stderr or done.stdout}")
    return Path(json.loads(done.stdout)["Dir"])


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(one) for key, one in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict) and not is_open:
        found["additionalProperties"] = False
    return found


def _pod_flaws(document: Document) -> Iterator[str]:
    for _, spec in pods([document]):
        if document["kind"] != "Deployment" and spec.get("restartPolicy") not in {"Never", "OnFailure"}:
            yield "is started again although it has ended"
        yield from _not_restricted(spec)
        unknown = environment(spec).keys() - SETTINGS - {f"{name}_FILE" for name in SETTINGS}
        ours = {name for name in unknown if name.startswith("AUTODEEP_")} - {"AUTODEEP_CACHE"}
        if ours:
            yield f"no settings: {', '.join(sorted(ours))}"
        try:
            settings_of(spec)
        except (SettingsError, KeyError) as exc:
            yield str(exc)


def _not_restricted(spec: Document) -> Iterator[str]:
    """Against the Pod Security Standard `restricted`, and what we promise beyond it."""
    pod = spec.get("securityContext", {})
    if not pod.get("runAsNonRoot") or pod.get("runAsUser") == 0:
        yield "may run as root"
    if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        wanted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if container.get("securityContext") != wanted:
            yield f"{container['name']}: its security context is not {wanted}"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield f"{container['name']}: no limit of memory"
    if spec.get("automountServiceAccountToken") is not False:
        yield "gets a token of Kubernetes"
    if spec.get("enableServiceLinks") is not False:
        yield "gets variables of Services, which may look like settings"
    if {key for volume in spec["volumes"] for key in volume} & {"hostPath"}:
        yield "mounts a folder of the node"
    written = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    paths = {m["mountPath"] for c in spec["containers"] for m in c["volumeMounts"] if m["name"] in written}
    if not {"/tmp", environment(spec).get("AUTODEEP_CACHE")} <= paths:
        yield "cannot write to /tmp and the cache"


def _loose_ends(documents: Sequence[Document]) -> Iterator[str]:
    """What names something else in the release that is not there, or is not so."""
    workers = [document for document in documents if document["kind"] == "Deployment"]
    if len(workers) != 1:
        yield f"{len(workers)} Deployments"
        return
    yield from _worker_flaws(workers[0])
    worker = workers[0]
    accounts = {one["metadata"]["name"] for one in documents if one["kind"] == "ServiceAccount"} | {"default"}
    if worker["spec"]["template"]["spec"]["serviceAccountName"] not in accounts:
        yield "the workers' account is not there"
    labelled = [metadata["labels"] for metadata, _ in pods(documents)]
    workers_own = worker["spec"]["template"]["metadata"]["labels"]
    for document in documents:
        for selector in _selectors(document):
            chosen = [labels for labels in labelled if selector.items() <= labels.items()]
            if chosen != (labelled if document["kind"] == "NetworkPolicy" else [workers_own]):
                yield f"{document['kind']} chooses {selector}"
        if document["kind"] == "ScaledObject":
            if document["spec"]["scaleTargetRef"]["name"] != worker["metadata"]["name"]:
                yield "ScaledObject scales something else"
            if "replicas" in worker["spec"]:
                yield "Deployment and ScaledObject both say how many"


def _worker_flaws(worker: Document) -> Iterator[str]:
    spec = worker["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    settings = settings_of(spec)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if ports != {"web": settings.web_port}:
        yield f"ports {ports}, and the pages are at {settings.web_port}"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        page = "/health/ready" if probe == "readinessProbe" else "/health/live"
        if (asked["path"], asked["port"]) != (page, "web"):
            yield f"{probe} asks {asked}"
    grace_s = spec["terminationGracePeriodSeconds"]
    if not settings.stop_timeout_s + 10 <= grace_s < settings.stop_timeout_s + 11:
        yield f"{grace_s} s to stop, where a worker takes {settings.stop_timeout_s}"


def _selectors(document: Document) -> Iterator[dict[str, str]]:
    spec = document.get("spec", {})
    if document["kind"] == "Service":
        yield spec["selector"]
    elif document["kind"] in {"Deployment", "PodDisruptionBudget", "PodMonitor"}:
        yield spec["selector"]["matchLabels"]
    elif document["kind"] == "NetworkPolicy":
        yield spec["podSelector"]["matchLabels"]
