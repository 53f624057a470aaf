"""What a user installs: the wheel's content, the lock, and a command line that starts at once."""

from __future__ import annotations

import configparser
import importlib.metadata
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = ("dev", "demo", "registry", "train")
HEAVY = ("torch", "faust", "polars", "confluent_kafka", "sklearn", "numpy", "aiokafka", "redis")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built as a user's pip would build it, but without asking a registry for hatchling."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_brings_the_schemas_and_the_models_that_ship(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    for folder in ("schemas", "model_store"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert f"streams/_data/{path.relative_to(ROOT).as_posix()}" in packed
            assert wheel.read(f"streams/_data/{path.relative_to(ROOT).as_posix()}") == path.read_bytes()


def test_the_wheel_brings_the_whole_package_its_types_and_its_licence(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "streams").rglob("*.py")} <= packed
    assert "streams/py.typed" in packed
    assert any(name.endswith("licenses/LICENSE") for name in packed)
    assert not [name for name in packed if name.startswith(("tests/", "bench/")) or "__pycache__" in name]


def test_the_wheel_declares_the_command_and_the_transport(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    points = configparser.ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert points["console_scripts"]["autodeep"] == "streams.__main__:main"
    assert points["faust.transports"]["chunked"] == "streams.adapters.kafka.transport:Transport"


def test_help_is_printed_without_importing_what_is_heavy() -> None:
    code = f"""
import sys
sys.argv = ['autodeep', '--help']
from streams.__main__ import main
try:
    main()
except SystemExit as exc:
    assert not exc.code, exc.code
heavy = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit(f'imported: {{heavy}}' if heavy else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for command in (
        "demo",
        "worker",
        "replay",
        "train",
        "evaluate",
        "models",
        "topics",
        "alerts",
        "data",
        "explain",
    ):
        assert re.search(rf"\b{command}\b", done.stdout), f"{command} is not in the help"


def test_help_answers_in_half_a_second_of_cpu() -> None:
    """CPU time, so that a busy machine does not decide; the best of three, since caches may be cold."""
    code = "import time, sys; from streams.cli.commands import app; print(time.process_time())"
    spent_s = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(spent_s) < 0.5


def locked(*names: str) -> dict[str, tuple[Requirement, frozenset[str]]]:
    """What these locks pin, all of them where none is named, with the hashes of its files."""
    found: dict[str, tuple[Requirement, frozenset[str]]] = {}
    for path in (ROOT / "requirements.lock", *sorted((ROOT / "requirements").glob("*.lock"))):
        if not names or path.stem in names:
            for entry in path.read_text(encoding="utf-8").replace("\\\n", "").splitlines():
                pin, *hashes = entry.split(" --hash=")
                name = canonicalize_name(Requirement(pin).name)
                assert found.get(name, (Requirement(pin),))[0].specifier == Requirement(pin).specifier, name
                found[name] = Requirement(pin), frozenset(each.strip() for each in hashes)
    return found


def test_the_locks_pin_everything_exactly_with_hashes_and_name_no_registry() -> None:
    for name, (pin, hashes) in locked().items():
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), name
        assert pin.url is None
    for path in (ROOT / "requirements.lock", *(ROOT / "requirements").iterdir()):
        assert "://" not in path.read_text(encoding="utf-8")


def test_a_worker_is_pinned_without_cuda_and_without_what_only_checks_need() -> None:
    run = locked("requirements")
    assert {"faust-streaming", "redis", "polars", "authlib"} <= set(run)  # authlib: the registry's client
    assert not set(run) & {*locked("torch"), *locked("dev")}
    assert not [name for name in run if name.startswith(("torch", "nvidia", "cuda", "triton"))]
    assert {"torch", "pytest", "s3fs", "gcsfs", "aws-msk-iam-sasl-signer-python", "hatchling"} <= set(
        locked()
    )


def test_what_is_installed_from_the_locks_is_compared_with_their_hashes(tmp_path: Path) -> None:
    """A pip that only writes down what it was asked for."""
    pip, asked = tmp_path / "python", tmp_path / "asked"
    pip.write_text(
        f'#!/bin/sh\nexec >> {asked}\necho "$@"\nfor file; do case $file in /*) cat "$file";; esac; done\n',
        encoding="utf-8",
    )
    pip.chmod(0o755)

    def lines(*extras: str, **environment: str) -> list[str]:
        asked.unlink(missing_ok=True)
        command = ["requirements/install", os.path.relpath(pip, ROOT), *extras]  # as make gives them
        environment["PATH"] = os.environ["PATH"]
        subprocess.run(command, cwd=ROOT, check=True, env=environment, timeout=60)
        return asked.read_text(encoding="utf-8").replace("requirements/", "").splitlines()

    checked = "-m pip install --require-hashes --only-binary :all:"
    torch = f"torch{locked('torch')['torch'][0].specifier}"
    assert lines("dev", "s3") == [f"{checked} -r ../requirements.lock -r dev.lock -r s3.lock -r torch.lock"]
    plain, other = lines(TORCH_INDEX_URL="cpu")
    assert plain == f"{checked} -r ../requirements.lock"
    assert other == f"-m pip install --only-binary :all: --no-deps --index-url cpu {torch}"
    plain, other, listed = lines(TORCH_INDEX_URL="cpu", TORCH_SHA256="ab")
    assert other.startswith(f"{checked} --no-deps --index-url cpu -r /")
    assert listed == f"{torch} --hash=sha256:ab"


def test_the_bill_of_materials_lists_what_is_installed(tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(
        r"^\t\$\(BIN\)/cyclonedx-py (.*) -o dist/sbom.json \$\(BIN\)/python$", makefile, re.M
    )
    subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", *command.split(), "-o", str(out), sys.executable],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    bill = json.loads(out.read_text(encoding="utf-8"))
    assert bill["metadata"]["component"]["name"] == "autodeep-id"
    listed = {str(canonicalize_name(one["name"])): one["version"] for one in bill["components"]}
    for name in ("torch", "faust-streaming", "redis", "confluent-kafka"):
        assert listed[name] == importlib.metadata.version(name)


def test_the_locks_cover_all_that_our_requirements_bring() -> None:
    """Followed from pyproject.toml through what is installed here."""
    pins = locked()
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [("autodeep-id", extra) for extra in ("", *EXTRAS)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        if name in pins and not pins[name][0].specifier.contains(installed):
            continue  # another version than the lock's, whose needs are not the lock's matter
        needs = importlib.metadata.requires(name) or []
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                wanted = canonicalize_name(need.name)
                if wanted not in {*pins, "autodeep-id"}:
                    missing.add(wanted)
                todo += [(wanted, e) for e in ("", *need.extras)]
    assert not missing, "make lock"


def test_what_the_locks_pin_satisfies_our_own_bounds() -> None:
    pins = locked()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for need in map(Requirement, [*project["dependencies"], *itertools.chain(*extras)]):
        pin, _ = pins[canonicalize_name(need.name)]
        assert need.specifier.contains(str(pin.specifier).removeprefix("==")), f"{need} against {pin}"
