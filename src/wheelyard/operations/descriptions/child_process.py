"""The parent's side of the process that renders descriptions, by lines of JSON."""

import json
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Timer
from typing import Final

START_SECONDS: Final = 20.0
"""Time for the start. It takes a third of a second on an idle machine."""
RENDER_SECONDS: Final = 6.0
"""Time for one description. The process itself limits its processor time more strictly."""

_OWN_FAULT: Final = frozenset(
    {signal.SIGPROF, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
)
"""Signals that a description causes: by its processor time, its memory or its depth."""


class RenderProcess:
    """
    A process that renders one description after the other.

    It is started when it is needed, and again after it has ended. One thread may use it, and any
    may `kill` it.

    Args:
        is_own: Whether the texts are our documentation, and not descriptions by strangers.
    """

    def __init__(self, *, is_own: bool = False) -> None:
        self._is_own = is_own
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, text: str, markup: str) -> dict[str, str]:
        """
        Return the answer of the process, or a `problem`, whatever happens to the process.

        `markup` is `rst`, `GFM` or `CommonMark`. The answer has `html` or `problem`. The latter is
        `slow`, `complex`, `markup`, or `unavailable` if the process cannot be started or ends by no
        fault of the description.
        """
        request = {"text": text, "markup": markup, "own": self._is_own}
        # somebody may kill it, or the machine lack memory: a second attempt tells
        for _ in range(2):
            try:
                if self._process is None:
                    self._process = _start()
                    _exchange(self._process, b"", START_SECONDS)
                return _exchange(self._process, json.dumps(request).encode() + b"\n")
            except (OSError, ValueError, RuntimeError):
                # it cannot be started, has ended before its answer, or no thread can watch it
                ended_by = self.close()
            if ended_by == signal.SIGPROF:
                return {"problem": "slow"}
            if ended_by in _OWN_FAULT:
                return {"problem": "complex"}
        return {"problem": "unavailable"}

    def kill(self) -> None:
        """Kill the process, in any thread: whoever waits for its answer gets a `problem`."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> int:
        """
        End the process, if there is one, and return the signal that has ended it.

        It is 0 without a process, and 0 or less for one that has ended by itself.
        """
        process = self._process
        self._process = None
        if process is None:
            return 0
        process.kill()
        with suppress(OSError), process:  # what could not be written
            pass
        return -process.returncode


def _start() -> subprocess.Popen[bytes]:
    """Start the process. Raises OSError if the machine cannot."""
    # -P and -S: the folder it is started in, and site-packages of its own, add nothing to the path
    command = [sys.executable, "-P", "-S", "-m", "wheelyard.operations.descriptions.child"]
    if sys.dont_write_bytecode:
        command.insert(1, "-B")
    # the path is passed on, because a deployment may have set it in any way
    environment = {
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        "PYTHONUTF8": "1",
        "DOCUTILSCONFIG": "",  # docutils reads no file of this machine
    }
    return subprocess.Popen(  # noqa: S603 - a module of ours
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd="/",
        start_new_session=True,  # Ctrl-C in a terminal is for the server, which ends it
    )


def _exchange(
    process: subprocess.Popen[bytes], request: bytes, seconds: float = RENDER_SECONDS
) -> dict[str, str]:
    """
    Return the next answer of the process.

    Raises OSError or ValueError if there is none, as the process has ended, or was killed after
    `seconds`.
    """
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    # the pipe has no time limit: killing the process ends the read below
    timer = Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        process.stdin.write(request)
        process.stdin.flush()
        answer: dict[str, str] = json.loads(process.stdout.readline())
    finally:
        timer.cancel()
    return answer
