"""What is kept of a device whose flows are judged: the rows that the model reads, and its state beside them.

In memory 8,432 bytes: 56 of the window itself, 8 rows of 260, 8 for the latest time, the state of 6,288. What
holds nothing is not stored (`core/windows.py`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.core.flow.state import STATE
from streams.core.flow.table import FLOW
from streams.core.windows import Beside, WindowLayout

WIDTH: Final = 8
"""Most flows that a model of flows may look at, the present one included."""

STORED: Final = 2
"""Version of all that is stored of a device, the state's layout included, and of how; a device whose value is
of another begins anew."""

KEPT: Final = np.dtype([("latest_us", "<i8"), ("state", STATE)])
"""`latest_us`: how far time is for what waits in the state; 0: no record yet."""

WINDOWS: Final = WindowLayout(FLOW, WIDTH, Beside(KEPT, STORED))
