"""From what stands in a sensor's records to findings, each with what to change at the sensor."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from streams.core.flows import Quality
from streams.doctor.findings import Finding, Level
from streams.doctor.flow_survey import LATE_S, MANY_ADDRESSES, OTHERS, Spread, Survey
from streams.legible import counted

GOOD, NOTE, WARNING, BROKEN = Level.GOOD, Level.NOTE, Level.WARNING, Level.BROKEN

_FEW: Final = 0.01
_MANY: Final = 0.1
_NEARLY_ALL: Final = 0.9
_SOME: Final = 19
"""Flows, of which nearly all say something."""
_SLOW_S: Final = 30.0
_AHEAD_S: Final = 2.0
_HOUR_S: Final = 3_600.0
_NAMED: Final = 4
_NETFLOW: Final = "an event of Suricata's type netflow"
_OFFLOADING: Final = (
    "a host's own packets have checksums that its card makes later: zeek -C, or ethtool -K IF tx off rx off"
)
_BOTH_WAYS: Final = "export both directions: ingress on every interface, or both on the one to your devices"
_ONCE: Final = (
    "several workers see the same packets, or two shippers read one file: cluster Zeek's workers by flow, "
    "and let one shipper read a file"
)
_SAMPLING: Final = "export unsampled flows at the devices' router; slow scans stay unseen otherwise"
_FLIPPED: Final = "the sensor misses how connections begin: look for lost packets, or a mirror that drops"
_LOSSES: Final = "look at Zeek's capture_loss.log: the sensor is too slow, or its mirror port is"
_INACTIVE: Final = "the exporter's inactive and active time-out"
_TIMEOUTS: Final = {
    "suricata": "suricata.yaml, flow-timeouts",
    "nfstream": "idle_timeout and active_timeout of NFStreamer",
    "zeek": "Zeek's inactivity time-outs, and a shipper that does not wait for a rotated file",
}
_MACS: Final = {
    "zeek": "devices are told apart by address alone; Zeek: @load policy/protocols/conn/mac-logging",
    "suricata": "devices are told apart by address alone; suricata.yaml, eve-log: ethernet: yes",
}
_COMMUNITY_IDS: Final = {
    "zeek": "the same flow seen by two sensors counts twice; Zeek: @load "
    "policy/protocols/conn/community-id-logging",
    "suricata": "the same flow seen by two sensors counts twice; suricata.yaml, eve-log: community-id: true",
}
_ADVICE: Final = {
    "aggregated": "nfacctd: `aggregate` with ports and timestamp_start, timestamp_end (docs/sensors.md); "
    "pmacctd gives sums only: use softflowd with nfacctd or goflow2",
    "bad_event_time": "check the sensor's clock and the form of its times; a capture that begins in 1970 has "
    "relative times",
    "undecodable": "send one whole record a message, in UTF-8; of `nfdump -o json` each element: jq -c '.[]'",
    "unknown_framing": "these are records of nothing that is known here; docs/sensors.md has what is read",
    "truncated": "lines are cut on their way: raise the shipper's longest line",
    "too_large": "records of this size are no flows; send the sensor's flow log alone",
}


def findings(survey: Survey) -> list[Finding]:
    """The gravest things first to be read: can it be read, whose is it, what is wrong with it."""
    if not survey.records:
        return [Finding("records", BROKEN, "there are none", "look at whether the sensor writes, and where")]
    found = [*_readable(survey)]
    if survey.flows:
        for part in (_homes, _sides, _repeats, _counters, _doubts, _lateness, _clocks, _names, _routers):
            found += part(survey)
    return found


def _share(count: int, whole: int) -> str:
    share = count / whole if whole else 0.0
    shown = f"{share:.1%}"
    if count and share < 0.001:
        shown = "under 0.1%"
    elif count < whole and share > 0.999:
        shown = "over 99.9%"
    return f"{count:,} of {whole:,} ({shown})"


def _readable(survey: Survey) -> Iterator[Finding]:
    skipped, rejected = survey.skipped.total(), survey.rejected.total()
    dialects = ", ".join(f"{name} {count:,}" for name, count in survey.dialects.most_common())
    if survey.flows:
        text = f"{counted(survey.flows, 'flow')} in {counted(survey.records, 'record')}: {dialects}"
        yield Finding("records", GOOD, text)
    else:
        yield Finding(
            "records",
            BROKEN,
            f"none of {counted(survey.records, 'record')} is a flow that can be read",
            "send the sensor's flow log: Zeek's conn, Suricata's flow events; docs/sensors.md",
        )
    for reason, count in survey.rejected.most_common():
        level = WARNING if count > _FEW * survey.records else NOTE
        yield Finding(
            "refused",
            level,
            f"{_share(count, survey.records)} as {reason}: {survey.details.get(reason, '')}",
            _ADVICE.get(reason, "such records become dead letters; look at one"),
        )
    if skipped:
        named = ", ".join(f"{reason} ({count:,})" for reason, count in survey.skipped.most_common(_NAMED))
        more = f", and {len(survey.skipped) - _NAMED} other kinds" if len(survey.skipped) > _NAMED else ""
        is_most = skipped > (1 - _MANY) * survey.records and survey.flows
        yield Finding(
            "skipped",
            NOTE,
            f"{_share(skipped, survey.records)} are no flow: {named}{more}",
            "give flows a topic of their own, and the others cost nothing" if is_most else "",
        )
    doubles = sum(count for reason, count in survey.skipped.items() if reason.startswith(_NETFLOW))
    if doubles:
        yield Finding(
            "netflow",
            NOTE if survey.flows else BROKEN,
            f"{doubles:,} netflow events have every flow a second time, in halves",
            "suricata.yaml, outputs, eve-log, types: take out netflow"
            + ("" if survey.flows else ", and put in flow"),
        )
    if rejected == 0 and not skipped:
        yield Finding("refused", GOOD, "every record could be read")


def _homes(survey: Survey) -> Iterator[Finding]:
    judged = survey.flows - survey.nobodys
    share = survey.elsewhere_flows / judged if judged else 0.0
    text = (
        f"{_share(survey.at_home, survey.flows)} have a device, {counted(survey.devices, 'device')}, "
        f"{counted(survey.internal, 'flow')} between two of them"
    )
    level = BROKEN if share > _NEARLY_ALL else WARNING if share > _MANY else GOOD
    advice = ""
    if level is not GOOD:
        networks = ", ".join(f"{name} {count:,}" for name, count in survey.elsewhere.most_common(_NAMED))
        text += f"; of the others {survey.elsewhere_flows:,} lie in {networks}"
        advice = "AUTODEEP_HOME_NETWORKS or --home: the networks of your devices, public ones too"
        few = max(_NEARLY_ALL * survey.elsewhere_flows, _SOME)
        shared = [one for one in survey.elsewhere_ends.most_common(2) if one[1] > few]
        if len(shared) == 1 and shared[0][0] != OTHERS:
            ((address, count),) = shared
            text += f", {count:,} of them with {address}"
            advice += f"; where the sensor watches one host, {ipaddress.ip_network(address)}"
    yield Finding("home", level, text, advice)


def _sides(survey: Survey) -> Iterator[Finding]:
    sided = survey.quality[_word(Quality.ONE_SIDED)]
    if sided > _MANY * survey.two_way and survey.two_way:
        yield Finding(
            "direction",
            WARNING,
            f"{_share(sided, survey.two_way)} show one direction of two",
            f"give the sensor both directions of the mirror port, and all its queues; {_OFFLOADING}",
        )
    elif sided:
        yield Finding("direction", NOTE, f"{_share(sided, survey.two_way)} show one direction of two")
    if survey.halves:
        alone = survey.halves - survey.paired
        is_odd = alone > 0.5 * survey.halves
        yield Finding(
            "halves",
            WARNING if is_odd else GOOD,
            f"{_share(survey.paired, survey.halves)} halves found their other half",
            _BOTH_WAYS if is_odd else "",
        )


def _repeats(survey: Survey) -> Iterator[Finding]:
    if survey.repeated:
        is_much = survey.repeated > _FEW * survey.flows
        yield Finding(
            "repeats",
            WARNING if is_much else NOTE,
            f"{_share(survey.repeated, survey.flows)} came before, with the same ends, times and counters",
            _ONCE if is_much else "",
        )
    if survey.interim:
        yield Finding(
            "interim", NOTE, f"{_share(survey.interim, survey.flows)} go on with a flow seen before"
        )


def _counters(survey: Survey) -> Iterator[Finding]:
    zeros = survey.quality[_word(Quality.ZERO_COUNTERS)]
    if zeros:
        yield Finding(
            "counters",
            WARNING if zeros > _FEW * survey.flows else NOTE,
            f"{_share(zeros, survey.flows)} have nothing but zeros: nothing was counted, they are no flood",
            _OFFLOADING,
        )
    sums = survey.quality[_word(Quality.BAD_CHECKSUM)]
    if sums > zeros and sums > _FEW * survey.flows:
        yield Finding(
            "checksums",
            WARNING,
            f"{_share(sums, survey.flows)} have packets with bad checksums, which are not counted",
            "zeek -C, or redef ignore_checksums_nets for the sensor's own host; suricata -k none",
        )


def _doubts(survey: Survey) -> Iterator[Finding]:
    for quality, text, advice in (
        (Quality.SAMPLED, "are sampled: small flows are missing, counters are not multiplied", _SAMPLING),
        (Quality.FLIPPED, "have their ends turned round by a guess: the direction is unsure", _FLIPPED),
        (Quality.GAPS, "have gaps: packets were lost before the sensor", _LOSSES),
        (Quality.CUT, "are cut by a time-out, by the sensor's end, or are interim records", ""),
    ):
        count = survey.quality[_word(quality)]
        if count:
            is_much = bool(advice) and (quality is Quality.SAMPLED or count > _MANY * survey.flows)
            shown = f"{_share(count, survey.flows)} {text}"
            yield Finding(_word(quality), WARNING if is_much else NOTE, shown, advice if is_much else "")
    if survey.unanswered > _MANY * survey.protocols["udp"]:
        shown = _share(survey.unanswered, survey.protocols["udp"])
        yield Finding(
            "datagrams",
            NOTE,
            f"{shown} of UDP have no answer, {survey.to_groups:,} of them to multicast or broadcast; none is "
            "a connection that failed",
        )


def _lateness(survey: Survey) -> Iterator[Finding]:
    late = survey.late.beyond(LATE_S)
    if survey.late.count:
        yield Finding(
            "order",
            WARNING if survey.late.most_s > _HOUR_S + 60 else GOOD,
            f"{_share(late, survey.late.count)} end more than 2 s before one that came earlier, at most "
            f"{_seconds(max(0.0, survey.late.most_s))}",
            "ship logs as they are written, not whole files" if survey.late.most_s > _HOUR_S + 60 else "",
        )
    if survey.delay.count:
        median_s = survey.delay.median_s()
        is_slow = median_s > _SLOW_S
        yield Finding(
            "delay",
            WARNING if is_slow else GOOD,
            f"half of the flows reach Kafka within {_seconds(median_s)} of their end, the last after "
            f"{_seconds(survey.delay.most_s)}",
            f"shorter time-outs at the sensor: {_TIMEOUTS.get(_main(survey), _INACTIVE)} (docs/sensors.md)"
            if is_slow
            else "",
        )


def _clocks(survey: Survey) -> Iterator[Finding]:
    for sensor, count in survey.skewed.most_common(_NAMED):
        yield Finding(
            "clock",
            WARNING,
            f"{_of(sensor)}: {_share(count, survey.flows)} have times far from when they were received; "
            "that stands in their place",
            "set the sensor's clock (NTP), its time zone and the exporter's uptime right",
        )
    ahead = {name: spread for name, spread in survey.of_sensor.items() if _is_ahead(spread)}
    for sensor, spread in list(ahead.items())[:_NAMED]:
        yield Finding(
            "clock",
            WARNING,
            f"{_of(sensor)}: flows end up to {_seconds(-spread.least_s)} after Kafka has them",
            "the sensor's clock is ahead, or its time zone wrong: NTP, UTC (nfacctd timestamps_utc: true)",
        )
    if survey.of_sensor and not ahead and not survey.skewed:
        count = len(survey.of_sensor)
        yield Finding("clock", GOOD, f"{count} sensor{'s' * (count != 1)}, in agreement with Kafka's clock")


def _is_ahead(spread: Spread) -> bool:
    return spread.least_s < -_AHEAD_S


def _names(survey: Survey) -> Iterator[Finding]:
    """What would tell devices and flows apart, and the sensor could say."""
    for name, advised in (("mac", _MACS), ("community_id", _COMMUNITY_IDS)):
        count, advice = survey.without[name], advised.get(_main(survey), "")
        if survey.at_home and advice and count > _NEARLY_ALL * survey.at_home:
            text = f"{_share(count, survey.at_home)} have none"
            yield Finding(name.replace("_", " "), NOTE, text, advice)


def _routers(survey: Survey) -> Iterator[Finding]:
    routers = [mac for mac, seen in survey.addresses_of.items() if len(seen) >= MANY_ADDRESSES]
    if routers:
        yield Finding(
            "routers",
            WARNING,
            f"{', '.join(routers[:_NAMED])} stands for {MANY_ADDRESSES} addresses at home or more, which are "
            "one device so",
            "the sensor sees these devices behind a router: let it log no MACs (Zeek without mac-logging, "
            "Suricata without ethernet), or see them on their own link",
        )


def _main(survey: Survey) -> str:
    """The dialect of most flows, without how it is wrapped."""
    return survey.dialects.most_common(1)[0][0].partition("-")[0]


def _word(quality: Quality) -> str:
    return quality.words[0]


def _of(sensor: str) -> str:
    return sensor or "the sensor"


def _seconds(seconds: float) -> str:
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    if abs(seconds) < 7_200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3_600:.3g} h" if abs(seconds) < 172_800 else f"{seconds / 86_400:.3g} days"
