"""The parent's side of the process that renders descriptions, by lines of JSON."""

import json
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Timer
from typing import Final

START_SECONDS: Final = 20.0
"""The most time for the start, which takes a third of a second on an idle machine."""
RENDER_SECONDS: Final = 6.0
"""The most time for one description. The process limits its processor time more strictly."""

_SIGNALS_OF_DESCRIPTION: Final = frozenset(
    {signal.SIGPROF, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
)
"""The signals that a description can cause, by its processor time, its memory or its depth."""


class RenderProcess:
    """
    A process that renders one description after the other.

    The process is started when it is needed, and again after it has ended, until `kill`. Only one
    thread may use an object, and any thread may call `kill`.

    Args:
        is_own: Whether the texts are our documentation, and not descriptions by strangers.
    """

    def __init__(self, *, is_own: bool = False) -> None:
        self._is_own = is_own
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def render(self, text: str, markup: str) -> dict[str, str]:
        """
        Return the answer of the process, which has the key `html` or `problem`.

        `markup` is `rst`, `GFM` or `CommonMark`. A problem is `slow`, `complex` or `markup`, or
        `unavailable` if the process cannot be started, or ends for a reason that is not the
        description.
        """
        request = {"text": text, "markup": markup, "own": self._is_own}
        # twice, as the process may have ended for another reason than this description
        for _ in range(2):
            if self._is_killed:
                break
            try:
                if self._process is None:
                    self._process = _start()
                    _exchange(self._process, b"", START_SECONDS)
                return _exchange(self._process, json.dumps(request).encode() + b"\n")
            except (OSError, ValueError, RuntimeError):
                # the process cannot be started or has ended, or no thread can limit its time
                ended_by = self.close()
            if ended_by == signal.SIGPROF:
                return {"problem": "slow"}
            if ended_by in _SIGNALS_OF_DESCRIPTION:
                return {"problem": "complex"}
        return {"problem": "unavailable"}

    def kill(self) -> None:
        """
        Kill the process, in any thread, and start no other one.

        A thread that waits for an answer gets a `problem`.
        """
        self._is_killed = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> int:
        """
        End the process, if there is one, and return the signal that has ended it.

        Return 0 without a process, and 0 or less if the process has ended by itself.
        """
        process = self._process
        self._process = None
        if process is None:
            return 0
        process.kill()
        with suppress(OSError), process:  # OSError: the rest of a request cannot be written
            pass
        return -process.returncode


def _start() -> subprocess.Popen[bytes]:
    """Start the process. Raises OSError if that fails."""
    # -P and -S: the path has neither the current folder nor site-packages, but what is passed on
    command = [sys.executable, "-P", "-S", "-m", "wheelyard.operations.descriptions.child"]
    if sys.dont_write_bytecode:
        command.insert(1, "-B")
    # passed on, as the path of this process may have been set in any way
    path = ":".join(folder for folder in sys.path if folder)
    environment = {
        "PYTHONPATH": path,
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
        start_new_session=True,  # Ctrl-C in a terminal ends the server, which ends this process
    )


def _exchange(
    process: subprocess.Popen[bytes], request: bytes, seconds: float = RENDER_SECONDS
) -> dict[str, str]:
    """
    Send a request, and return the next answer of the process.

    Raises OSError or ValueError if there is no answer, as the process has ended, or was killed
    after `seconds`. Raises RuntimeError if no thread can be started to limit the time.
    """
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    # a pipe has no time limit, but the end of the process ends the read below
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
