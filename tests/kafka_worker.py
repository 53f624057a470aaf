"""A tiny Faust app on the chunked transport, run as a process: writes down what each poll held.

One line per poll on a file: topic, partition, first offset, last offset, end offset, number of records, and
the values when they are short. The line is written before the acknowledgement, as an alert would be.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import faust

from streams.adapters.kafka.faust_app import app_settings, poll_topic
from streams.settings import Settings


def main(servers: str, group: str, topic: str, out: str, most: str, pause_s: str = "0") -> None:
    settings = Settings(
        kafka_servers=servers, group=group, chunk_max_records=int(most), commit_interval_s=0.1, web_port=0
    )
    app = faust.App(group, **{**app_settings(settings), "web_enabled": False, "broker_session_timeout": 6.0})
    lines = Path(out).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115  # open as long as the process

    @app.agent(poll_topic(app, topic), name="note")
    async def note(polls: Any) -> None:
        async for poll in polls:
            first, last = poll.records[0], poll.records[-1]
            line: dict[str, Any] = {
                "topic": poll.topic,
                "partition": poll.partition,
                "first": first.offset,
                "last": last.offset,
                "end": poll.end_offset,
                "count": len(poll.records),
                "headers": [[name, (value or b"").decode()] for name, value in first.headers],
            }
            lines.write(json.dumps(line) + "\n")
            if float(pause_s):
                await asyncio.sleep(float(pause_s))

    worker = faust.Worker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
