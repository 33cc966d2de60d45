"""
Bytes that a server sends for `uv lock` of 60 real packages, counted by a relay before it.

The packages are Poetry and twine with all that they need, and four older states of the same, so
that pages have as many releases as in life. They are downloaded from the public index once.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection, socket
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from benchmarks.peers import simple_repository_server
from benchmarks.report import Figure
from benchmarks.servers import Server, environment, wheelyard, wheelyard_command
from tests.clients.harness import new_sandbox
from tests.once import made_once

ROOTS = "poetry\ntwine\n"
DATES = ("2026-11-01", "2026-07-01", "2026-03-01", "2025-11-01", "2025-07-01")
"""The days of which the newest releases are taken."""
PYTHON = "3.11"
PROJECT = f"""
[project]
name = "locked"
version = "1"
requires-python = "=={PYTHON}.*"
dependencies = {ROOTS.split()!r}
[tool.uv]
environments = ["sys_platform == 'linux'"]
"""
REQUEST = re.compile(rb"GET (\S+) HTTP/1")
PIECE = 65536


def measure(folder: Path) -> list[Figure]:
    """Measure what `uv lock` of 60 real packages without a cache is sent, headers included."""
    wheels = made_once("locked-packages", [ROOTS, *DATES], download_closure)
    imported = wheelyard_command("import", "--quiet", wheels, "--store", folder / "ours")
    subprocess.run(imported, check=True, env=environment(folder))
    with wheelyard(folder / "ours", authorization="none") as server:
        ours = _sent_for_lock(server, folder / "lock-ours")
    _link_by_project(wheels, folder / "theirs")
    with simple_repository_server(folder / "theirs") as server:
        theirs = _sent_for_lock(server, folder / "lock-theirs")
    return [_figure(kind, unit, ours, theirs) for kind, unit in ours]


def _figure(
    kind: str, unit: str, ours: Counter[tuple[str, str]], theirs: Counter[tuple[str, str]]
) -> Figure:
    is_sum = (kind, unit) == ("all", "kB")
    return Figure(
        name=f"uv lock, {kind}",
        unit=unit,
        ours=[ours[kind, unit]],
        theirs=[theirs[kind, unit]] if theirs[kind, unit] else [],
        versus="simple-repository-server",
        target="150 kB" if is_sum else "",
    )


def download_closure(folder: Path) -> None:
    """Download the wheels of the closure of `ROOTS`, as it was on each of `DATES`."""
    roots, locked = folder / "roots.txt", folder / "locked.txt"
    roots.write_text(ROOTS)
    for date in DATES:
        options = ["--python-version", PYTHON, "--python-platform", "linux", "--no-header"]
        resolve = [find_uv_bin(), "pip", "compile", "--quiet", *options, "--exclude-newer", date]
        subprocess.run([*resolve, roots, "--output-file", locked], check=True)
        kind = ["--no-deps", "--only-binary", ":all:", "--requirement", str(locked)]
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", *kind, "--dest", str(folder)]
        subprocess.run(fetch, check=True)


def _link_by_project(wheels: Path, folder: Path) -> None:
    for wheel in wheels.glob("*.whl"):
        project = folder / parse_wheel_filename(wheel.name)[0]
        project.mkdir(parents=True, exist_ok=True)
        os.link(wheel, project / wheel.name)


def _sent_for_lock(server: Server, folder: Path) -> Counter[tuple[str, str]]:
    """Lock the closure; return requests and kB by kind of request, and of all."""
    sandbox = new_sandbox(folder)
    (sandbox.folder / "pyproject.toml").write_text(PROJECT)
    counts, sizes = Counter[str](), Counter[str]()
    with _relay(server, counts, sizes) as port:
        index = f"http://127.0.0.1:{port}/simple/"
        python = ("--python", sys.executable, "--no-config", "--no-cache")
        sandbox.run(find_uv_bin(), "lock", "--quiet", *python, "--default-index", index)
    found = Counter[tuple[str, str]]()
    for kind, count in counts.items():
        found[kind, "requests"], found[kind, "kB"] = count, round(sizes[kind] / 1000)
    found["all", "requests"], found["all", "kB"] = counts.total(), round(sizes.total() / 1000)
    return found


@contextmanager
def _relay(server: Server, counts: Counter[str], sizes: Counter[str]) -> Iterator[int]:
    """Pass on what clients and `server` send, and count the responses; yield the port."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with create_connection(("127.0.0.1", server.port)) as upstream:
                back = Thread(target=self.answer, args=(upstream,))
                back.start()
                while sent := self.request.recv(PIECE):
                    if request := REQUEST.match(sent):
                        self.kind = _kind(request[1].decode())
                        counts[self.kind] += 1
                    upstream.sendall(sent)
                upstream.shutdown(1)
                back.join()

        def answer(self, upstream: socket) -> None:
            while received := upstream.recv(PIECE):
                sizes[self.kind] += len(received)
                self.request.sendall(received)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as relay:
        relay.daemon_threads = True
        Thread(target=relay.serve_forever, daemon=True).start()
        yield relay.server_address[1]
        relay.shutdown()


def _kind(path: str) -> str:
    if path.startswith("/simple/"):
        return "project pages"
    return "core metadata" if path.endswith(".metadata") else "files"
