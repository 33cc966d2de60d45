"""The parent's side of a process that renders descriptions."""

import signal
import subprocess
import sys
from contextlib import suppress
from threading import Timer
from typing import Final

from wheelyard.operations.descriptions.framing import read_message, write_message

START_SECONDS: Final = 20.0
"""Time for the start; it takes a third of a second on an idle machine."""
RENDER_SECONDS: Final = 6.0
"""Time for one description; the processor time is limited more strictly, by the process itself."""

_OWN_FAULT: Final = frozenset(
    {signal.SIGPROF, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
)
"""Signals that a description causes: by its processor time, its memory or its depth."""


class ChildEnded(Exception):
    """
    The process has ended before it answered.

    Args:
        is_too_slow: The description took all processor time that it may take.
        is_own_fault: The description caused the end, and would cause it again.
    """

    def __init__(self, *, is_too_slow: bool, is_own_fault: bool) -> None:
        super().__init__()
        self.is_too_slow = is_too_slow
        self.is_own_fault = is_own_fault


class ChildProcess:
    """
    A process that renders one description after the other; for one thread.

    The constructor starts it. May raise OSError, or ChildEnded if it has ended at once.
    """

    def __init__(self) -> None:
        module = "wheelyard.operations.descriptions.child"
        options = ("-B",) if sys.dont_write_bytecode else ()
        # the path is passed on, because a deployment may have set it in any way
        environment = {
            "PYTHONPATH": ":".join(filter(None, sys.path)),
            "PYTHONUTF8": "1",
            "DOCUTILSCONFIG": "",  # docutils reads no file of this machine
        }
        self._process = subprocess.Popen(  # noqa: S603 - a module of ours
            [sys.executable, *options, "-P", "-S", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,  # Ctrl-C in a terminal is for the server, which ends it
        )
        self._exchange(None, START_SECONDS)

    def render(self, text: str, markup: str, *, images: bool) -> dict[str, str]:
        """Return the answer of the process; raise ChildEnded if there is none."""
        return self._exchange({"text": text, "markup": markup, "images": images}, RENDER_SECONDS)

    def kill(self) -> None:
        """Kill the process, in any thread: whoever waits for its answer gets ChildEnded."""
        self._process.kill()

    def close(self) -> None:
        """End the process and wait for its end."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what could not be written
                    pipe.close()

    def _exchange(self, request: dict[str, object] | None, seconds: float) -> dict[str, str]:
        timer = Timer(seconds, self.kill)
        timer.daemon = True
        timer.start()
        try:
            return self._send_and_receive(request)
        except (OSError, EOFError) as error:
            self.close()
            code = -self._process.returncode
            is_too_slow = code == signal.SIGPROF
            raise ChildEnded(is_too_slow=is_too_slow, is_own_fault=code in _OWN_FAULT) from error
        finally:
            timer.cancel()

    def _send_and_receive(self, request: dict[str, object] | None) -> dict[str, str]:
        sending, receiving = self._process.stdin, self._process.stdout
        assert sending is not None  # noqa: S101 - both are pipes
        assert receiving is not None  # noqa: S101
        if request is not None:
            write_message(sending, request)
        return read_message(receiving)


class RestartedProcess:
    """A process that is started when it is needed, and again after it has ended; for one thread."""

    def __init__(self, *, images: bool) -> None:
        self._images = images
        self._child: ChildProcess | None = None

    def render(self, text: str, markup: str) -> dict[str, str]:
        """Return the answer of the process, or a `problem`; never raises for the process."""
        # somebody may kill it, or the machine lack memory: a second attempt tells
        for _ in range(2):
            try:
                if self._child is None:
                    self._child = ChildProcess()
                return self._child.render(text, markup, images=self._images)
            except ChildEnded as error:
                self.close()
                if error.is_own_fault:
                    return {"problem": "slow" if error.is_too_slow else "complex"}
            except OSError:  # it cannot be started
                break
        return {"problem": "unavailable"}

    def kill(self) -> None:
        """Kill the process, in any thread."""
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the process, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.close()
