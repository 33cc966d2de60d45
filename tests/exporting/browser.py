"""A real browser without a window, led through its debugging pipe."""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from tests.waiting import PATIENCE, until

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS: Final = (
    "--headless",
    "--no-sandbox",  # which no container has
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
AT_THREE_AND_FOUR: Final = """
import fcntl, os, sys
high = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts a program with two descriptors where a browser expects its pipe."""

Message = dict[str, Any]


@dataclass
class Page:
    """
    A tab.

    Args:
        to_it: Takes what the browser is to do.
        from_it: Gives what it says.
    """

    to_it: int
    from_it: int
    said: list[str] = field(default_factory=list)
    """What the page complained of: scripts that failed, things that its policy forbids."""
    _session: str = ""
    _rest: bytes = b""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def open(self, url: str) -> None:
        """Open an address, and wait until all of it is there."""
        if not self._session:
            target = self._ask("Target.createTarget", url="about:blank")["targetId"]
            attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for each in ("Page", "Runtime", "Log"):
                self._ask(f"{each}.enable")
        self.said.clear()
        self._ask("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url[:8])})")
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever a script may have
        """Return what an expression comes to in the page."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression holds."""
        until(lambda: bool(self.evaluate(expression)), lambda: f"{expression}: {self.said}")

    def type(self, text: str) -> None:
        """Type into whatever has the focus."""
        self._ask("Input.insertText", text=text)

    def _ask(self, method: str, **params: object) -> Message:
        number = next(self._numbers)
        message: Message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.to_it, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: Message = answer["result"]
                return result
            if answer.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.said.append(json.dumps(answer["params"]))

    def _next(self) -> Message:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            assert select.select([self.from_it], [], [], end - time.monotonic())[0]
            piece = os.read(self.from_it, 1 << 16)
            assert piece, "the browser is gone"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: Message = json.loads(line)
        return message


@contextmanager
def running_browser(folder: Path) -> Iterator[Page]:
    """Start a browser of this machine, or skip the test; `folder` is for its profile."""
    found = next(filter(None, map(shutil.which, NAMES)), None) or pytest.skip("no browser here")
    (in_of_it, to_it), (from_it, out_of_it) = os.pipe(), os.pipe()
    start = [sys.executable, "-c", AT_THREE_AND_FOUR, str(in_of_it), str(out_of_it), found]
    with (folder / "browser.log").open("w") as log:
        process = subprocess.Popen(
            [*start, *OPTIONS, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=(in_of_it, out_of_it),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"HOME": str(folder), "PATH": os.defpath},
        )
    os.close(in_of_it)
    os.close(out_of_it)
    try:
        yield Page(to_it, from_it)
    finally:
        os.close(to_it)  # at which it ends
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(from_it)
