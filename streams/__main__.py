"""The command line: `autodeep COMMAND`. The commands are in `cli/commands.py`."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from streams.starting import checked_streams, ended_by_signals, tell

if TYPE_CHECKING:
    from streams.errors import AutodeepError

_OF_FILES: Final = {errno.EACCES, errno.EDQUOT, errno.ENOENT, errno.ENOSPC, errno.EPERM, errno.EROFS}


def main() -> None:
    """Run the command line; an AutodeepError becomes one line on stderr and its exit code.

    So does a file or folder that cannot be read or written, by us or by a library.
    """
    with ended_by_signals():
        from streams.errors import AutodeepError, CannotWrite, DataError

        try:
            with checked_streams(CannotWrite):
                from streams.cli.commands import run

                run()
        except AutodeepError as exc:
            _give_up(exc)
        except OSError as exc:
            if type(exc) is OSError and exc.errno is None:
                _give_up(DataError(str(exc)))  # a library's own words, as of a folder that it needs
            if exc.filename is None and exc.errno not in _OF_FILES:
                raise
            what = "" if exc.filename is None else f"{exc.filename}: "
            _give_up(DataError(f"{what}{exc.strerror}"))


def _give_up(problem: AutodeepError) -> NoReturn:
    tell(str(problem))
    sys.exit(problem.exit_code)


if __name__ == "__main__":
    main()
