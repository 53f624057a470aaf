"""goflow2 version 2, as JSON and as protobuf: one direction of a flow a record.

Its times are nanoseconds of 19 digits, beyond what a double holds. Counters are not multiplied by the
sampling rate, and the rate is 0 until an exporter has said it. A message of protobuf may have its length
before it. The message's type is built here from field numbers; nothing is generated.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from streams.codec.ingest.flows import values
from streams.codec.ingest.flows.halves import Half, icmp_ports
from streams.codec.ingest.flows.reading import Seen
from streams.codec.ingest.flows.values import Record
from streams.core.events import Reason

NAME: Final = "goflow2"
PROTOBUF: Final = "goflow2-protobuf"
_FIELDS: Final = {
    **{"type": 1, "sampling_rate": 3, "sequence_num": 4, "src_addr": 6, "dst_addr": 7, "bytes": 9},
    **{"packets": 10, "sampler_address": 11, "proto": 20, "src_port": 21, "dst_port": 22, "tcp_flags": 26},
    **{"src_mac": 27, "dst_mac": 28, "etype": 30, "icmp_type": 31, "icmp_code": 32},
    **{"time_received_ns": 110, "time_flow_start_ns": 111, "time_flow_end_ns": 112},
}
_OCTETS: Final = ("src_addr", "dst_addr", "sampler_address")
_SFLOW: Final = "SFLOW_5"
_TYPES: Final = ("", _SFLOW, "NETFLOW_V5", "NETFLOW_V9", "IPFIX")


def is_goflow2(record: Record) -> bool:
    return "time_flow_start_ns" in record or ("sampler_address" in record and "src_addr" in record)


def read(record: Record, dialect: str = NAME) -> Seen:
    protocol = values.protocol(record.get("proto"), "proto")
    ports = values.ports(record, ("src_port", "dst_port"), protocol)
    icmp = tuple(values.port(record.get(name), name) or 0 for name in ("icmp_type", "icmp_code"))
    received_us = _ns(record, "time_received_ns")
    start_us, end_us = _ns(record, "time_flow_start_ns"), _ns(record, "time_flow_end_ns")
    if start_us is None and end_us is None:  # an exporter that does not say when, sFlow's packets
        start_us = received_us
    rate = values.count(record.get("sampling_rate"), "sampling_rate") or 0
    half = Half(
        values.address(record.get("src_addr"), "src_addr"),
        values.address(record.get("dst_addr"), "dst_addr"),
        icmp_ports(protocol, ports, (icmp[0], icmp[1])),
        protocol,
        values.ordered(start_us, end_us),
        (values.count(record.get("packets"), "packets"), values.count(record.get("bytes"), "bytes")),
        values.count(record.get("tcp_flags"), "tcp_flags"),
        (values.mac(record.get("src_mac")), values.mac(record.get("dst_mac"))),
        values.hint(record.get("sampler_address")),
        rate > 1 or record.get("type") == _SFLOW,
    )
    return Seen(half.flow(), dialect, received_us)


def _ns(record: Record, name: str) -> int | None:
    """0 is an exporter that does not say."""
    value = record.get(name)
    return None if value in (0, "0") else values.time_us(value, name)


@functools.cache
def _message() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="goflow2_flow.proto", package="flowpb", syntax="proto3")
    message = file.message_type.add(name="FlowMessage")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, number in _FIELDS.items():
        kind = kinds.TYPE_BYTES if name in _OCTETS else kinds.TYPE_UINT64
        message.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("flowpb.FlowMessage"))


def read_protobuf(data: bytes) -> Seen:
    """Raises Unreadable where it is no FlowMessage, with or without its length before it."""
    start = _after_length(data)
    record = (_parsed(data[start:]) if start else None) or _parsed(data)
    if record is None:
        values.wrong(Reason.UNKNOWN_FRAMING, "neither JSON nor text, nor a FlowMessage of goflow2")
    return read(record, PROTOBUF)


def _after_length(data: bytes) -> int:
    """Where the message begins, if a varint before it says its length; else 0."""
    length = 0
    for place, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return place + 1 if length == len(data) - place - 1 else 0
    return 0


def _parsed(data: bytes) -> dict[str, Any] | None:
    message = _message()()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    addresses = {name: getattr(message, name) for name in _OCTETS}
    if len(addresses["src_addr"]) not in (4, 16) or len(addresses["dst_addr"]) not in (4, 16):
        return None
    record = {name: getattr(message, name) for name in _FIELDS if name not in _OCTETS}
    for name, octets in addresses.items():
        record[name] = str(ipaddress.ip_address(octets)) if len(octets) in (4, 16) else ""
    record["type"] = _TYPES[record["type"]] if record["type"] < len(_TYPES) else ""
    for name in ("src_mac", "dst_mac"):
        record[name] = (record[name] & (1 << 48) - 1).to_bytes(6, "big").hex(":")
    return record
