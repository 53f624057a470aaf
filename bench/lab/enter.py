"""Into namespaces of network, mounts and processes that end, with all that runs in them, when we do.

So nothing reaches a network outside, and nothing is left behind, not even after a SIGKILL.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

INSIDE: Final = "LAB_IS_INSIDE"
_UNSHARE: Final = (
    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"),
)
_NAMED: Final = Path("/run/netns")


def why_not() -> str:
    """Why no namespaces can be made here; empty where they can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [name for name in ("unshare", "ip", "mount") if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)} here (Debian: util-linux, mount, iproute2)"
    tried = subprocess.run(
        [*_UNSHARE, "ip", "link", "add", "br0", "type", "bridge"], capture_output=True, check=False
    )
    if tried.returncode:
        return f"this machine lets nobody make network namespaces: {tried.stderr.decode().strip()}"
    return ""


def is_inside() -> bool:
    return INSIDE in os.environ


def run_inside(command: Sequence[str], **kwargs: object) -> subprocess.Popen[bytes]:
    """A command in new namespaces, as the process by which they live."""
    return subprocess.Popen([*_UNSHARE, *command], env={**os.environ, INSIDE: "1"}, **kwargs)  # type: ignore[call-overload, no-any-return]


def settle_in() -> None:
    """Once inside: names of network namespaces are for us alone, and loopback is up."""
    _NAMED.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(_NAMED)], check=True)
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)  # it shows our interfaces then
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
