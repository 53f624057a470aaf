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
        │   └── MessageTooLarge          a topic's limit is below a message; raising the limit helps
        ├── WindowStoreUnavailable
        └── RegistryUnavailable

Errors of libraries are translated where they enter (adapters/, codec/); none of
theirs crosses the pipeline. A bad record is no error at all but a value: `core.events.Rejected`.
"""

from __future__ import annotations

from streams.legible import lines


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
    exit_code = 3


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
    """Waited for like a broker that is away: once the topic's limit is raised, the flow goes on.

    `places` are those of the messages in the list; all others arrived.
    """

    def __init__(self, message: str, places: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.places = places


class WindowStoreUnavailable(Unavailable):
    pass


class RegistryUnavailable(Unavailable):
    pass
