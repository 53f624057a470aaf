"""How long events took until their alerts were out: from Kafka's timestamp to the acknowledgement."""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.core.clocks import Times
from streams.core.spans import Spans, counted

BOUNDS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
NO_LATENCY: Final = Spans.none(BOUNDS_S)


def latency_of(kafka_us: Times, now_us: int) -> Spans:
    """Of alerts whose events have these timestamps (N,) of Kafka, and that were all acknowledged just now.

    Events without a timestamp do not count. Where the broker's clock is ahead of ours it is 0.
    """
    known = kafka_us[kafka_us > 0]
    return counted(BOUNDS_S, np.maximum(now_us - known, 0))
