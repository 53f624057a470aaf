"""The process around a worker: its signals, its log, and how it ends when it must not go on."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import faust

from streams.core.patience import LONGEST_PAUSE_S
from streams.errors import AutodeepError, SettingsError, Unavailable
from streams.legible import OneLine
from streams.settings import Settings
from streams.starting import tell
from streams.worker.client_lines import ClientLines
from streams.worker.health import Health

log: Final = logging.getLogger("autodeep")

EX_USAGE: Final = 2
EX_SOFTWARE: Final = 70
LOOK_S: Final = 5.0
_LAST_WORDS_S: Final = 2.0
_YOUNG: Final = 100_000
"""New objects before the collector looks at them: a turn makes tens of thousands, and no cycles."""

_LOCK_HELD_S: Final = 100e-6
"""How long a thread keeps Python's lock while another one waits for it."""


class WorkerShell(faust.Worker):  # type: ignore[misc, unused-ignore]
    """Faust's process shell; a signal also ends the waiting for what is away, and the stop has a deadline."""

    def __init__(
        self,
        app: faust.App,
        health: Health,
        stop_intake: Callable[[], None],
        stop_timeout_s: float,
        log_level: str,
    ) -> None:
        super().__init__(
            app, loglevel=log_level, quiet=True, redirect_stdouts=False, logging_config=log_config(log_level)
        )
        self._health = health
        self._stop_intake = stop_intake
        self._deadline = threading.Timer(stop_timeout_s, _end_late, (stop_timeout_s,))
        self._deadline.daemon = True

    def _on_sigint(self) -> None:
        self._stop_soon()
        super()._on_sigint()

    def _on_sigterm(self) -> None:
        self._stop_soon()
        super()._on_sigterm()

    def _gather_all(self) -> None:
        """What is left when all services have stopped waits for nothing: mode gives it a second."""
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    async def _sentinel_task(self) -> None:
        """Once round the loop before it is closed, where mode sleeps for another second."""
        await asyncio.sleep(0)

    def _stop_soon(self) -> None:
        if not self._health.stopping.is_set():
            self._health.stop_soon()
            self._stop_intake()
            self._deadline.start()


def watch_progress(health: Health, timeout_s: float, end: Callable[[Health], None], look_s: float) -> None:
    """Calls `end` once the worker has stood still for longer; returns when it stops.

    It looks twice: a process that was itself suspended seems to stand still when it wakes, and has a look's
    time to go on.
    """
    stood = False
    while not health.wait(look_s):
        stands = health.standstill_s > timeout_s
        if stands and stood:
            end(health)
        stood = stands


def start_watch(health: Health, settings: Settings, look_s: float = LOOK_S) -> None:
    """Watch from a thread of its own, since the event loop may be what stands still.

    Raises SettingsError for a time that a call over the network may take.
    """
    timeout_s, least_s = settings.stuck_timeout_s, 2 * settings.network_timeout_s + 2 * LONGEST_PAUSE_S
    if not timeout_s:
        return
    if timeout_s < least_s:
        raise SettingsError(
            f"AUTODEEP_STUCK_TIMEOUT_S={timeout_s:g} would end workers that only wait for the network "
            f"(AUTODEEP_NETWORK_TIMEOUT_S={settings.network_timeout_s:g}): "
            f"take {least_s:g} or more, or 0 for never"
        )
    start_thread("watch", lambda: watch_progress(health, timeout_s, _end_stuck, look_s))


def start_thread(name: str, body: Callable[[], None]) -> threading.Thread:
    """A thread that the worker must not go on without: an error in its body ends the process."""

    def run() -> None:
        try:
            body()
        except BaseException:
            log.exception(
                "unexpected in the thread %r: this worker ends, and what is not finished will be read again",
                name,
            )
            end_now(EX_SOFTWARE)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def spare_what_stays() -> None:
    """Of the garbage collector: it walks no more what a start has made, above all torch's modules, and hardly
    looks at a turn's objects. It took a fifth of a worker's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)


def share_the_lock() -> None:
    """Python's, sooner than is usual. The thread that computes gives it away in each product of matrices, and
    after 5 ms, as is usual, gets it back from the one that delivers: a flood took a tenth longer."""
    sys.setswitchinterval(_LOCK_HELD_S)


def _end_stuck(health: Health) -> NoReturn:
    silent = threading.Timer(_LAST_WORDS_S, os._exit, (EX_SOFTWARE,))
    silent.daemon = True
    silent.start()  # what stands still may hold the lock of the log
    log.error(
        "no progress for %.0f s (AUTODEEP_STUCK_TIMEOUT_S), turns under way: %d; "
        "ending as it is, and what is not finished will be read again",
        health.standstill_s,
        health.under_way,
    )
    end_now(EX_SOFTWARE)


def _end_late(stop_timeout_s: float) -> None:
    log.error("did not stop within %g s (AUTODEEP_STOP_TIMEOUT_S): ending as it is", stop_timeout_s)
    end_now(EX_SOFTWARE)


def log_config(level: str) -> dict[str, Any]:
    """Our own lines at the level asked for; those of the clients where they warn, once, or all for DEBUG."""
    is_debug = level == "DEBUG"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": OneLine, "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "filters": {"clients": {"()": ClientLines}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": [] if is_debug else ["clients"],
            }
        },
        "loggers": {"autodeep": {"level": level}},
        "root": {"level": "DEBUG" if is_debug else "WARNING", "handlers": ["stderr"]},
    }


@contextmanager
def ending(what: str) -> Iterator[None]:
    """Nothing is acknowledged that was not finished: whatever goes wrong ends the process."""
    try:
        yield
    except Unavailable as exc:
        log.warning("stopping with a %s unfinished; it will be read again: %s", what, exc)
        end_now(exc.exit_code)
    except asyncio.CancelledError:
        raise
    except BaseException:
        log.exception("unexpected: this worker ends, and the %s will be read again", what)
        end_now(EX_SOFTWARE)


@contextmanager
def closed_then_ended() -> Iterator[None]:
    """A worker that has stopped, or cannot start, has closed all it had.

    Python's own tidying of torch would take seconds.
    """
    try:
        yield
    except AutodeepError as exc:
        tell(str(exc))
        end_now(exc.exit_code)
    except SystemExit as exc:
        if isinstance(exc.code, int):
            end_now(exc.code)
        raise


def end_now(exit_code: int) -> NoReturn:
    """End the process at once: while it works, any gentler way commits the chunk in hand (docs/decisions)."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(exit_code)
