"""What is beyond doubt whoever the device is, by what failed before a flow: the strongest classes' evidence.

    probe   20 peers that failed on the flow's port, or 10 ports on its peer, among the last 100 connections
    dos     within 2 s 5 failures to the flow's peer and port, 10 peers that failed on the port, or 50 flows
            to it
    c2      20 failures in a row to the flow's peer and port
    r2l     10 connections to the same port of a shell on the same peer, as guessing passwords makes

Limits are far above what devices do while they are set up: there, of 7,672 clean flows of the first half hour
in the captures that models learn from, one in a thousand has more than 10 failing peers on a port, 2 failing
ports on a peer, 2 failures to a peer and port in 2 s, or 11 in a row; and 3 are to ports of shells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from streams.core.flow.columns import Index, Mask
from streams.core.flow.table import FLOW, PORT_CLASSES
from streams.core.tables import Rows

STRONG: Final[Mapping[str, Mapping[str, int]]] = {
    "probe": {"last_failing_peers_on_port": 20, "last_failing_ports_on_peer": 10},
    "dos": {
        "recent_failures_to_host_port": 5,
        "recent_failing_peers_on_port": 10,
        "recent_same_port": 50,
    },
    "c2": {"fail_streak": 20},
    "r2l": {"attempts": 10},
}
"""By class, the columns of which one at least has to reach its limit."""

_PORT_CLASS: Final = FLOW.symbolic_names.index("port_class")
_SHELL: Final = PORT_CLASSES.index("shell") + 1


def strong(rows: Rows, verdict: Index, names: tuple[str, ...]) -> Mask:
    """(M,) rows of the table `flow` and places of their verdicts in `names`: which have such evidence."""
    found = np.zeros(len(rows), np.bool_)
    for name, limits in STRONG.items():
        if name not in names:
            continue
        of = np.flatnonzero(verdict == names.index(name))
        if name == "r2l":
            of = of[rows["codes"][of, _PORT_CLASS] == _SHELL]
        for column, limit in limits.items():
            found[of] |= rows["numbers"][of, FLOW.numeric_names.index(column)] >= limit
    return found
