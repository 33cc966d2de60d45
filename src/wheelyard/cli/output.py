"""
Standard output and standard error as a command needs them.

Whoever stops reading (`wheelyard list | head -1`) has seen enough: that is no fault, and it does
not stop what a command is doing. A disk that is full is one, and is raised once.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from wheelyard.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class LossyOutput(FileIO):
    """A file descriptor that forgets what cannot be written; of `quiet` errors it raises none."""

    def __init__(self, descriptor: int, quiet: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._quiet = quiet
        self.lost: OSError | None = None
        """Why nothing can be written any more."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write what can be written; once something could not, nothing else is tried."""
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = error
                if not isinstance(error, self._quiet):
                    raise
        return memoryview(data).nbytes


def take_over_output() -> None:
    """Put ours in the place of this process's output and errors, if it has any."""
    if sys.stdout is not None:
        sys.stdout = _text(sys.stdout, BrokenPipeError)
    if sys.stderr is not None:
        sys.stderr = _text(sys.stderr, OSError)  # nobody is left who could be told


@contextmanager
def show_token(token_id: str) -> Iterator[None]:
    """Show a token within this block; raise Unavailable if it could not be shown."""
    try:
        yield
        error = _lost()
    except OSError as raised:
        error = raised
    if error is not None:
        raise Unavailable(
            f"Token {token_id} was made and could not be shown: {error.strerror}. "
            f"Revoke it with 'wheelyard token revoke {token_id}' and make another."
        ) from error


def _lost() -> OSError | None:
    if sys.stdout is None:
        return OSError(0, "there is no standard output")
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.lost if isinstance(raw, LossyOutput) else None


def _text(stream: TextIO, quiet: type[OSError]) -> TextIO:
    stream.flush()
    # a name in another script is escaped where the terminal's encoding has no letters for it
    return TextIOWrapper(
        BufferedWriter(LossyOutput(stream.fileno(), quiet)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream is sys.stderr or stream.isatty(),
    )
