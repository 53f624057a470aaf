"""Debian's packages that the laboratory needs, installed once; what cannot be had is left out, and said."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

_TOOLS: Final = {
    "nmap": "nmap", "hydra": "hydra", "hping3": "hping3", "slowhttptest": "slowhttptest", "kcat": "kcat",
    "softflowd": "softflowd", "nfacctd": "pmacct", "ip": "iproute2", "redis-server": "redis-server",
}  # fmt: skip
_BACKPORTS: Final = Path("/etc/apt/sources.list.d/autodeep-lab-backports.sources")
_SOURCE: Final = """Types: deb
URIs: http://deb.debian.org/debian
Suites: {release}-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
_QUIET: Final = {"DEBIAN_FRONTEND": "noninteractive"}
_INSTALL: Final = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
_INSTALL_S: Final = 300


def install() -> list[str]:
    """What is still missing afterwards. The list of backports is there only while Suricata is fetched."""
    absent = sorted({package for program, package in _TOOLS.items() if shutil.which(program) is None})
    if shutil.which("apt-get") is not None and (absent or shutil.which("suricata") is None):
        _run("apt-get", "update", "-qq")
        if absent:
            _run(*_INSTALL, *absent)
        if shutil.which("suricata") is None:
            _install_suricata()
    programs = (*_TOOLS, "suricata")
    return [program for program in programs if shutil.which(program) is None]


def _install_suricata() -> None:
    release = _release()
    if release:
        _BACKPORTS.write_text(_SOURCE.format(release=release))
        try:
            _run("apt-get", "update", "-qq")
            if _run(*_INSTALL, f"suricata/{release}-backports", f"libhtp2/{release}-backports"):
                return
        finally:
            _BACKPORTS.unlink()
            _run("apt-get", "update", "-qq")
    _run(*_INSTALL, "suricata")


def _release() -> str:
    """Debian's name of this release; empty elsewhere."""
    told = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    fields = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    is_debian = fields.get("ID", "").strip('"') == "debian"
    return fields.get("VERSION_CODENAME", "").strip('"') if is_debian else ""


def _run(*command: str) -> bool:
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, **_QUIET}, timeout=_INSTALL_S, check=False
    )
    return done.returncode == 0
