"""Every error this project raises on purpose, as one tree.

    AutodeepError                    the message says what the reader can do; exit_code is the process's
    ├── SettingsError                an environment variable or option is wrong                     2
    ├── DataError                    a data set or file of the user's cannot be used                2
    ├── ModelRejected                an artifact is broken, altered, or of another feature table    3
    ├── TopicsDiffer                 topics exist, but not as they were asked for                   4
    ├── AccessDenied                 Kafka or Redis refuses the user, or its certificate is refused 77
    ├── CannotWrite                  standard output is closed, or its disk is full                 74
    └── Unavailable                  something on the network did not answer; trying again helps    69
        ├── BrokerUnavailable
        │   └── MessageTooLarge          a topic's limit is below a message; shorten it, or raise the limit
        ├── WindowStoreUnavailable
        └── RegistryUnavailable

Errors of libraries are translated where they enter (adapters/, codec/); none of
theirs crosses the pipeline. A bad record is no error at all but a value: `core.events.Rejected`.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.legible import lines, one_line


class AutodeepError(Exception):
    """Its text is for people: it may quote what others sent, and URLs with a password in them."""

    exit_code = 1

    def __str__(self) -> str:
        return lines(super().__str__())


class SettingsError(AutodeepError):
    exit_code = 2


class DataError(AutodeepError):
    exit_code = 2


class ModelRejected(AutodeepError):
    """One line of printable text, whatever names the model's files quote to a terminal, a log or a topic."""

    exit_code = 3

    def __init__(self, says: str) -> None:
        super().__init__(one_line(says))


class TopicsDiffer(AutodeepError):
    exit_code = 4


class AccessDenied(AutodeepError):
    """Trying again does not help: a password, a certificate or a permission has to change."""

    exit_code = 77


class CannotWrite(AutodeepError):
    exit_code = 74


class Unavailable(AutodeepError):
    """Transient by nature: the caller retries with back-off, or gives up with EX_UNAVAILABLE."""

    exit_code = 69


class BrokerUnavailable(Unavailable):
    pass


class MessageTooLarge(BrokerUnavailable):
    """A topic takes no message of that size: shorten it, or wait until somebody raises the topic's limit.

    `limits` are those of the messages refused, by their places in the list: the most bytes that the topic
    takes, None where nobody says. The others may have arrived or not.
    """

    def __init__(self, message: str, limits: Mapping[int, int | None] | None = None) -> None:
        super().__init__(message)
        self.limits = dict(limits or {})

    @property
    def places(self) -> tuple[int, ...]:
        return tuple(sorted(self.limits))


class WindowStoreUnavailable(Unavailable):
    pass


class RegistryUnavailable(Unavailable):
    pass
