"""Apache Kafka's jars, copied once by Maven into a cache folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from streams.errors import BrokerUnavailable

KAFKA_VERSION: Final = "4.1.0"
_LEAST_JAVA: Final = 17
_DOWNLOAD_S: Final = 600
_BROKER: Final = ("org.apache.kafka:kafka_2.13",)
_CONNECT: Final = tuple(
    f"org.apache.kafka:connect-{part}" for part in ("runtime", "file", "json", "transforms")
)
_LOGGING: Final = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"


def cache_folder() -> Path:
    """$AUTODEEP_CACHE, or ~/.cache/autodeep-id."""
    named = os.environ.get("AUTODEEP_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "autodeep-id"


def find_java() -> str:
    """The path of java, 17 or newer; raises BrokerUnavailable where there is none."""
    java = shutil.which("java")
    if java is None:
        raise BrokerUnavailable(
            f"Apache Kafka {KAFKA_VERSION} needs java, {_LEAST_JAVA} or newer: install Debian's package "
            "openjdk-17-jre-headless"
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < _LEAST_JAVA:
        raise BrokerUnavailable(
            f"Apache Kafka {KAFKA_VERSION} needs java {_LEAST_JAVA} or newer, and {java} says: {said.strip()}"
        )
    return java


def kafka_jars(cache: Path | None = None) -> Path:
    """The folder of Apache Kafka's jars; copied on first use (43 MB). Raises BrokerUnavailable."""
    return _jars(cache or cache_folder(), "kafka", _BROKER)


def connect_jars(cache: Path | None = None) -> Path:
    """The same of Kafka Connect with its file sink and its transforms (35 MB)."""
    return _jars(cache or cache_folder(), "kafka-connect", _CONNECT)


def _jars(cache: Path, name: str, artifacts: Sequence[str]) -> Path:
    folder = cache / f"{name}-{KAFKA_VERSION}"
    if folder.is_dir():
        return folder
    mvn = shutil.which("mvn")
    if mvn is None:
        raise BrokerUnavailable(
            f"Apache Kafka's jars are not in {folder}, and there is no mvn to fetch them: install Debian's "
            "package maven"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka-jars-", dir=folder.parent) as made:
        jars = Path(made) / "jars"
        _download(mvn, Path(made), jars, artifacts)
        try:
            jars.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was quicker, with the same jars
                raise
    return folder


def _pom(artifacts: Sequence[str]) -> str:
    named = [*(f"{artifact}:{KAFKA_VERSION}" for artifact in artifacts), _LOGGING]
    tags = ("groupId", "artifactId", "version")
    dependencies = (
        "".join(f"<{tag}>{text}</{tag}>" for tag, text in zip(tags, one.split(":"), strict=True))
        for one in named
    )
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-jars</artifactId><version>1</version>
  <dependencies>
    {"".join(f"<dependency>{one}</dependency>" for one in dependencies)}
  </dependencies>
</project>
"""


def _download(mvn: str, made: Path, jars: Path, artifacts: Sequence[str]) -> None:
    pom = made / "pom.xml"
    pom.write_text(_pom(artifacts), encoding="utf-8")
    command = [mvn, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DOWNLOAD_S)
    except subprocess.TimeoutExpired as exc:
        raise BrokerUnavailable(f"Maven did not fetch Kafka's jars within {_DOWNLOAD_S} s") from exc
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise BrokerUnavailable(f"Maven could not fetch Kafka's jars:\n{tail}")
