"""Standard input and output: whether a person is there, and output that cannot be written."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, Final, TextIO

from wheelyard.errors import Unavailable
from wheelyard.remedies import Advice, Remedy

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


MAX_INPUT_BYTES: Final = 4096
"""The most that a command reads of a line of standard input, which may be endless."""


class LossyOutput(FileIO):
    """
    Raw output that drops all data after its first error.

    Args:
        descriptor: The file descriptor to write to.
        quiet_error: The type of errors that are not raised.
    """

    def __init__(self, descriptor: int, quiet_error: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._quiet_error = quiet_error
        self.first_error: OSError | None = None
        """The first error. Nothing is written after it."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """
        Write or drop the data, and return the number of its bytes.

        Raises OSError for the first error, unless it is a quiet error.
        """
        if self.first_error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.first_error = error
                if not isinstance(error, self._quiet_error):
                    raise
        # reported as written, as BufferedWriter would keep the data and fail again at the exit
        return memoryview(data).nbytes


def take_over_output() -> None:
    """
    Replace `sys.stdout` and `sys.stderr` by streams that drop output after an error.

    The error is raised once for `sys.stdout`, unless it is a closed pipe. For `sys.stderr`, never.
    Characters that the encoding of a stream lacks are escaped. A closed descriptor of a standard
    stream, also of standard input, is opened on the null device first. A stream that is None stays
    None.
    """
    # before any file is opened, which could else get the number of a closed stream
    _reserve_descriptors()
    if sys.stdout is not None:
        # a closed pipe is no failure: its reader, such as `head`, needs no more of the output
        sys.stdout = _lossy_text(sys.stdout, BrokenPipeError)
    if sys.stderr is not None:
        # errors of standard error cannot be reported anywhere
        sys.stderr = _lossy_text(sys.stderr, OSError)


def _reserve_descriptors() -> None:
    """Open the null device for closed standard streams, so that no file gets their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # the descriptor is closed, and the lowest free number, so that this opens it
            os.open(os.devnull, os.O_RDWR)


def _lossy_text(stream: TextIO, quiet_error: type[OSError]) -> TextIO:
    """Return a text stream to the same descriptor that drops output after an error."""
    stream.flush()
    output = BufferedWriter(LossyOutput(stream.fileno(), quiet_error))
    # a name in another script is escaped where the terminal's encoding has no letters for it
    return TextIOWrapper(
        output,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream is sys.stderr or stream.isatty(),
    )


def is_output_lost() -> bool:
    """Return whether standard output takes no more data: it is closed, or writing has failed."""
    return _output_error() is not None


def _output_error() -> OSError | None:
    """Return the error after which standard output takes no more data, or None without one."""
    if sys.stdout is None:
        return OSError(0, "there is no standard output")
    # tests run commands with a stream of click, which may lack these attributes
    buffer = getattr(sys.stdout, "buffer", None)
    raw_output = getattr(buffer, "raw", None)
    if isinstance(raw_output, LossyOutput):
        return raw_output.first_error
    return None


def show_token(token_id: str) -> AbstractContextManager[None]:
    """
    Raise Unavailable after this `with` block, which prints a token, if standard output failed.

    The message says how to revoke the token `token_id`.
    """
    advice = Advice(Remedy.REVOKE_TOKEN, token_id)
    return show_once(f"Token {token_id}", "Revoke it, and run this command again.", advice)


@contextmanager
def show_once(secret_in_words: str, remedy: str, advice: Advice) -> Iterator[None]:
    """
    Raise Unavailable after this `with` block, which prints a secret, if standard output failed.

    Any OSError of the block counts as such a failure, so the block should do nothing but print.
    Other errors are not changed. The message begins with `secret_in_words`, and has the sentence
    `remedy` that says what to do.
    """
    try:
        yield
        # the error of a closed pipe is not raised, but the secret is lost all the same
        output_error = _output_error()
    except OSError as error:
        output_error = error
    if output_error is not None:
        raise Unavailable(
            f"{secret_in_words} was made and could not be shown: {output_error.strerror}. {remedy}",
            advice=advice,
        ) from output_error


def is_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def is_interactive() -> bool:
    """Return whether a person can be asked: standard input and error are a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and is_terminal()
