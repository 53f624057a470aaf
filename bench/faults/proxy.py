"""A TCP proxy of localhost that can stall, reset or be slow, and stops being so when told."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from types import TracebackType
from typing import Final, Self

from bench.faults.schedules import Cut

_READ_BYTES: Final = 65_536
_SLOW_BYTES: Final = 16_384
_SLOW_S: Final = 0.15
"""Each piece of at most _SLOW_BYTES waits so long, in each direction: about 100 KB/s, 0.3 s both ways."""
_SETTLE_S: Final = 0.01
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Proxy:
    """A context manager. It listens at once on `port`; `target_port` may be set until the first connection.

    STALL keeps connections and bytes, and hands the bytes on when it is over: what was sent long ago arrives
    late. RESET ends every connection with an RST, and every new one as well. A target that is not there
    ends a connection in the same way.
    """

    def __init__(self, target_port: int = 0) -> None:
        self.target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=f"proxy-{self.port}", daemon=True)
        self._server: asyncio.Server | None = None
        self._manner: Cut | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._over = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def cut(self, manner: Cut | None) -> None:
        """Behave so from now on; None passes everything on. Returns when it is so."""
        done = threading.Event()

        def change() -> None:
            self._manner = manner
            if manner is Cut.STALL:
                self._flowing.clear()
            else:
                self._flowing.set()
            if manner is Cut.RESET:
                self._reset_all()
            done.set()

        self._loop.call_soon_threadsafe(change)
        done.wait()

    def move(self) -> int:
        """Listen on another port, which is returned; the connections of the former one end."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        asyncio.run_coroutine_threadsafe(self._listen(listener), self._loop).result()
        self.port = int(listener.getsockname()[1])
        return self.port

    def _serve(self) -> None:
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        await self._listen(self._listener)
        await self._over.wait()
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(_SETTLE_S)  # what was accepted is known then, and can be closed
        self._reset_all()
        mine = asyncio.current_task()
        pending = [task for task in asyncio.all_tasks() if task is not mine]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await asyncio.sleep(_SETTLE_S)  # a transport that was aborted closes in the loop's next round

    async def _listen(self, listener: socket.socket) -> None:
        if self._server is not None:
            self._server.close()
            self._reset_all()
        self._server = await asyncio.start_server(self._connected, sock=listener)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._manner is Cut.RESET:
                raise ConnectionResetError
            await self._flowing.wait()
            there, away = await asyncio.open_connection("127.0.0.1", self.target_port)
        except (OSError, asyncio.CancelledError):
            self._open.discard(writer)
            _reset(writer)
            return
        self._open.add(away)
        pumps = [
            asyncio.ensure_future(self._pump(reader, away)),
            asyncio.ensure_future(self._pump(there, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, away):
                self._open.discard(end)
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_SLOW_BYTES if self._manner is Cut.SLOW else _READ_BYTES):
                if self._manner is Cut.SLOW:
                    await asyncio.sleep(_SLOW_S)
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return

    def _reset_all(self) -> None:
        for writer in self._open:
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
