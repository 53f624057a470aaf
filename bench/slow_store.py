"""A model store behind HTTP that can be slow, so that a worker is met in the middle of loading, or away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SlowStore:
    """`url` serves a folder; each answer waits `delay_s`, and is 503 while it is `away`."""

    def __init__(self) -> None:
        self.url = ""
        self.delay_s = 0.0
        self.away = False


@contextmanager
def slow_store(folder: str) -> Iterator[SlowStore]:
    store = SlowStore()

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self) -> Any:
            time.sleep(store.delay_s)
            return self.send_error(503) if store.away else super().send_head()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a missing list of retired versions is no news."""

    with _Server(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        store.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, name="store")
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: whoever asked was killed meanwhile."""
