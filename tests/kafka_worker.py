"""A tiny Faust app on the chunked transport, run as a process: writes down what each chunk held.

One line per chunk on a file: topic, partition, first offset, last offset, end offset, number of records, and
the headers of the first. The line is written before the acknowledgement, as an alert would be.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust

from streams.adapters.kafka.consumer_thread import Wishes
from streams.adapters.kafka.faust_app import app_settings, chunk_topic
from streams.adapters.kafka.losses import Loss
from streams.adapters.kafka.transport import ChunkedApp
from streams.core.events import Chunk
from streams.settings import Settings


def line_of(chunk: Chunk) -> str:
    line: dict[str, Any] = {
        "topic": chunk.source.topic,
        "partition": chunk.source.partition,
        "first": chunk.first_offset,
        "last": chunk.last_offset,
        "end": chunk.end_offset,
        "count": len(chunk.records),
        "headers": [[name, (value or b"").decode()] for name, value in chunk.records[0].headers],
    }
    return json.dumps(line) + "\n"


def main(  # noqa: PLR0917  # as they come from a command line
    servers: str, group: str, topic: str, out: str, most: str, pause_s: str = "0", id_after_s: str = ""
) -> None:
    """With `id_after_s` the broker takes so long to tell the topic's id, which is a new one."""
    settings = Settings(
        kafka_servers=servers, group=group, chunk_max_records=int(most), commit_interval_s=0.1, web_port=0
    )

    def lost(loss: Loss) -> None:
        print(json.dumps({"lost": [loss.place[1], loss.first, loss.end, loss.reason]}), flush=True)

    life = uuid.uuid4()

    def told_late(topic: str, is_over: Callable[[], bool]) -> uuid.UUID:
        time.sleep(float(id_after_s))
        return life

    app = ChunkedApp(
        group,
        Wishes(told_late, note_lost=lost) if id_after_s else Wishes(note_lost=lost),
        **{**app_settings(settings), "web_enabled": False, "broker_session_timeout": 6.0},
    )
    lines = Path(out).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115  # open as long as the process

    @app.agent(chunk_topic(app, topic), name="note")
    async def note(stream: Any) -> None:
        async for chunks in stream.noack():
            for chunk in chunks:
                lines.write(line_of(chunk))
                if float(pause_s):
                    await asyncio.sleep(float(pause_s))
                app.consumer.acknowledge(chunk.source, chunk.last_offset)

    worker = faust.Worker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
