"""The process around a worker: its signals, its log, and how it ends when it must not go on."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import faust

from streams.errors import Unavailable
from streams.worker import Worker

log: Final = logging.getLogger("autodeep")

EX_SOFTWARE: Final = 70


class WorkerShell(faust.Worker):  # type: ignore[misc, unused-ignore]
    """Faust's process shell; a signal also ends the waiting for what is away, and the stop has a deadline."""

    def __init__(self, app: faust.App, worker: Worker, stop_timeout_s: float, log_level: str) -> None:
        super().__init__(
            app, loglevel=log_level, quiet=True, redirect_stdouts=False, logging_config=log_config(log_level)
        )
        self._classifying = worker
        self._deadline = threading.Timer(stop_timeout_s, _end_late, (stop_timeout_s,))
        self._deadline.daemon = True

    def _on_sigint(self) -> None:
        self._stop_soon()
        super()._on_sigint()

    def _on_sigterm(self) -> None:
        self._stop_soon()
        super()._on_sigterm()

    def _stop_soon(self) -> None:
        if not self._classifying.stopping.is_set():
            self._classifying.stop_soon()
            self._deadline.start()


def _end_late(stop_timeout_s: float) -> None:
    log.error("did not stop within %g s (AUTODEEP_STOP_TIMEOUT_S): ending as it is", stop_timeout_s)
    _end(EX_SOFTWARE)


def log_config(level: str) -> dict[str, Any]:
    """Our own lines at the level asked for; Faust's and aiokafka's only where they warn, or all for DEBUG."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {"autodeep": {"level": level}},
        "root": {"level": "DEBUG" if level == "DEBUG" else "WARNING", "handlers": ["stderr"]},
    }


@contextmanager
def ending(what: str) -> Iterator[None]:
    """Nothing is acknowledged that was not finished: whatever goes wrong ends the process."""
    try:
        yield
    except Unavailable as exc:
        log.warning("stopping with a %s unfinished; it will be read again: %s", what, exc)
        _end(exc.exit_code)
    except asyncio.CancelledError:
        raise
    except BaseException:
        log.exception("unexpected: this worker ends, and the %s will be read again", what)
        _end(EX_SOFTWARE)


def _end(exit_code: int) -> NoReturn:
    """End the process at once: any gentler way commits the chunk in hand (docs/decisions)."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(exit_code)
