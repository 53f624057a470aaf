"""What `zeek.flow_of` concludes of one record, of many: from counters, history and state to a flow's fields.

Histories and states come as numbers, looked up by value: bits of what matters in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from streams.codec.ingest.flows import states, values
from streams.core.flow_columns import SCHEMA
from streams.core.flows import Quality, State

COUNTERS: Final = ("orig_pkts", "resp_pkts", "orig_ip_bytes", "resp_ip_bytes", "orig_bytes", "resp_bytes")
_LOWER_C, _UPPER_C, _HANDSHAKE, _SPOKE_ON = 1 << 16, 1 << 17, 1 << 18, 1 << 19
_IS_SF, _IS_S0 = 1 << 8, 1 << 9


def history_code(text: str) -> int:
    """What a history says: its quality in the low bits, and which letters matter."""
    text = values.text(text, "history")
    found = int(states.quality_of_history(text, None))
    found |= _LOWER_C * ("c" in text) | _UPPER_C * ("C" in text) | _HANDSHAKE * ("h" in text)
    return found | _SPOKE_ON * ("D" in text or ("S" in text and "A" in text))


def state_code(text: str) -> int:
    text = values.text(text, "conn_state")
    return int(states.zeek_tcp(text, "")) | _IS_SF * (text == "SF") | _IS_S0 * (text == "S0")


def derived(frame: pl.LazyFrame) -> pl.LazyFrame:
    """What `zeek.flow_of` concludes from the counters, history and state."""
    history = pl.col("history")
    has = {bit: (history & bit) != 0 for bit in (_LOWER_C, _UPPER_C, _HANDSHAKE, _SPOKE_ON)}
    was_counted = pl.col("orig_pkts").is_not_null() | pl.col("orig_bytes").is_not_null()
    frame = frame.with_columns(was_counted.alias("was_counted"))
    for end, bit in (("orig", _UPPER_C), ("resp", _LOWER_C)):
        is_hidden = has[bit] & (pl.col(f"{end}_pkts").fill_null(0) == 0)
        names = (f"{end}_pkts", f"{end}_ip_bytes", f"{end}_bytes")
        frame = frame.with_columns(pl.when(~is_hidden).then(pl.col(name)).alias(name) for name in names)
    sent, came = pl.col("orig_pkts"), pl.col("resp_pkts")
    is_tcp = pl.col("proto") == "tcp"
    answer_alone = (sent == 0) & (came > 0) & ~has[_UPPER_C]
    data_alone = (
        is_tcp & (came == 0) & (sent > 0) & has[_SPOKE_ON] & ~has[_LOWER_C] & ~((sent == 0) & (came > 0))
    )
    is_zero = pl.col("was_counted") & pl.all_horizontal(pl.col(name).fill_null(0) == 0 for name in COUNTERS)
    frame = frame.with_columns(
        is_zero.alias("is_zero"),
        quality=(history & 0xFFFF)
        | pl.when(pl.col("missed_bytes").fill_null(0) > 0).then(int(Quality.GAPS)).otherwise(0)
        | pl.when((answer_alone | data_alone).fill_null(False)).then(int(Quality.ONE_SIDED)).otherwise(0)
        | pl.when(is_zero).then(int(Quality.ZERO_COUNTERS)).otherwise(0),
    )
    frame = frame.with_columns(
        pl.when(~pl.col("is_zero")).then(pl.col(name)).alias(name) for name in COUNTERS
    )
    return frame.with_columns(_state_of(is_tcp, has[_HANDSHAKE]).alias("state"))


def _state_of(is_tcp: pl.Expr, handshake: pl.Expr) -> pl.Expr:
    sent, came, said = pl.col("orig_pkts"), pl.col("resp_pkts"), pl.col("conn_state")
    is_silent = sent.is_null() & came.is_null()
    half_open = ((said & _IS_S0) != 0) & handshake
    of_tcp = pl.when(half_open).then(int(State.HALF_OPEN)).otherwise(said & 0xFF)
    asks = (pl.col("proto") == "udp") | pl.col("id.orig_p").fill_null(0).is_in(sorted(states.ASKING))
    is_answered = (came > 0) & ((sent > 0) | sent.is_null())
    is_unanswered = (came == 0) & (sent > 0) & asks
    return (
        pl.when(is_tcp & is_silent)
        .then(int(State.UNKNOWN))
        .when(is_tcp)
        .then(of_tcp)
        .when(is_silent)
        .then(pl.when((said & _IS_SF) != 0).then(int(State.ANSWERED)).otherwise(int(State.UNKNOWN)))
        .when(is_answered.fill_null(False))
        .then(int(State.ANSWERED))
        .when(is_unanswered.fill_null(False))
        .then(int(State.NO_ANSWER))
        .otherwise(int(State.UNKNOWN))
    )


def canonical() -> list[pl.Expr]:
    made: Mapping[str, pl.Expr] = {
        "flow_id": pl.when(pl.col("uid") == "-").then(pl.lit("")).otherwise(pl.col("uid").fill_null("")),
        "originator": pl.col("id.orig_h"),
        "responder": pl.col("id.resp_h"),
        "originator_port": pl.col("id.orig_p").fill_null(0),
        "responder_port": pl.col("id.resp_p").fill_null(0),
        "protocol": pl.col("proto"),
        "start_us": pl.col("ts"),
        "end_us": pl.col("end"),
        "state": pl.col("state"),
        "service": pl.col("service"),
        **{
            f"{whole}_{what}": pl.col(f"{end}_{short}")
            for whole, end in (("originator", "orig"), ("responder", "resp"))
            for what, short in (("packets", "pkts"), ("ip_bytes", "ip_bytes"), ("payload_bytes", "bytes"))
        },
        "originator_mac": pl.col("orig_l2_addr"),
        "responder_mac": pl.col("resp_l2_addr"),
        "community_id": pl.col("community_id").fill_null(""),
        "site": pl.lit(""),
        "sensor": pl.col("sensor"),
        "half": pl.lit(False),
        "final": pl.lit(True),
        "tcp_flags": pl.lit(None),
        "quality": pl.col("quality"),
    }
    return [made[name].cast(dtype).alias(name) for name, dtype in SCHEMA.items()]
