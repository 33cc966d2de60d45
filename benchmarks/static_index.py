"""
An index of ready files on this machine, in a process of its own, to put proxies in front of.

It waits a given time before each answer, and counts what it is asked for. As public indexes do, it
has project pages in JSON, compressed for clients that take it, and core metadata beside each wheel.
`python -m benchmarks.static_index PORT FOLDER SECONDS` serves a folder of `closure_index` or
`large_index`.
"""

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from gzip import compress
from hashlib import file_digest, sha256
from http.client import HTTPConnection
from pathlib import Path

from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from benchmarks.peers import SOURCE
from benchmarks.servers import Server, serving
from benchmarks.stores import Wheel
from tests.once import made_once
from tests.ports import free_port

ROOTS = "poetry\ntwine\n"
DATES = ("2026-11-01", "2026-07-01", "2026-03-01", "2025-11-01", "2025-07-01")
"""The days of which the newest releases are taken."""
PYTHON = "3.11"
OLDER_RELEASES = 80
"""Small releases of each project before the real ones: so a page is as long as in life."""
FIRST = "first"
"""A project with one small file, to ask for before anything is measured."""
LARGE_MIB = 286
"""300 MB."""
PAGE_TYPE = "application/vnd.pypi.simple.v1+json"
HERE = "http://localhost/"
"""Stands for the URL of the server in the pages of a folder."""
COUNTS = "/counts"
"""The path of the counts, which is not counted itself."""


def closure_index() -> Path:
    """
    Return a folder with the index of 60 real packages and of older releases of each.

    The packages are downloaded from the public index once.
    """
    made_from: list[Path | str] = [Path(__file__).read_text(), ROOTS, *DATES]
    return made_once("closure-index", made_from, _make_closure_index)


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


def _make_closure_index(folder: Path) -> None:
    files = folder / "files"
    files.mkdir()
    for wheel in made_once("locked-packages", [ROOTS, *DATES], download_closure).glob("*.whl"):
        os.link(wheel, files / wheel.name)
        for number in range(OLDER_RELEASES):
            older = Wheel(parse_wheel_filename(wheel.name)[0], f"0.0.0.{number}")
            (files / older.filename).write_bytes(older.body)
    _write_pages(folder)


def large_index(folder: Path, projects: Iterable[str]) -> None:
    """Fill a new folder with the index of projects that have one file of 300 MB each."""
    files = folder / "files"
    files.mkdir(parents=True)
    for project in projects:
        wheel = Wheel(project, "1.0")
        with (files / wheel.filename).open("wb") as target:
            wheel.write(target, blocks=LARGE_MIB)
    _write_pages(folder)


def _write_pages(folder: Path) -> None:
    """Write the pages of all projects with wheels in `folder`/files, and of `FIRST`."""
    first = Wheel(FIRST, "1.0")
    (folder / "files" / first.filename).write_bytes(first.body)
    listed = defaultdict[str, list[dict[str, object]]](list)
    versions = defaultdict[str, set[str]](set)
    for wheel in sorted((folder / "files").glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        listed[name].append(_entry(wheel))
        versions[name].add(str(version))
    (folder / "simple").mkdir()
    for project, files in listed.items():
        page: dict[str, object] = {
            "name": project,
            "versions": sorted(versions[project]),
            "files": files,
        }
        _write_page(folder / "simple" / project, page)
    _write_page(folder / "simple" / "index", {"projects": [{"name": name} for name in listed]})


def _write_page(path: Path, page: dict[str, object]) -> None:
    body = json.dumps({"meta": {"api-version": "1.1"}, **page}, separators=(",", ":")).encode()
    path.with_suffix(".json").write_bytes(body)


def _entry(wheel: Path) -> dict[str, object]:
    """Return what a page says of a wheel; write its core metadata beside it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = archive.read(name)
    wheel.with_name(f"{wheel.name}.metadata").write_bytes(metadata)
    with wheel.open("rb") as body:
        digest = file_digest(body, "sha256").hexdigest()
    return {
        "filename": wheel.name,
        "url": f"{HERE}files/{wheel.name}",
        "hashes": {"sha256": digest},
        "requires-python": message_from_bytes(metadata)["Requires-Python"],
        "size": wheel.stat().st_size,
        "upload-time": "2025-01-01T12:00:00.000000Z",
        "yanked": False,
        "core-metadata": {"sha256": sha256(metadata).hexdigest()},
    }


@contextmanager
def static_index(index: Path, folder: Path, seconds: float = 0.0) -> Iterator[Server]:
    """
    Serve the index in a folder, `seconds` away, until the block ends; yield the server.

    It writes its log into `folder`.
    """
    port, printed = free_port(), folder / "static-index.printed"
    module = [sys.executable, "-m", "benchmarks.static_index"]
    command = [*module, str(port), str(index), str(seconds)]
    with serving(port, command, printed, "/simple/", "", "nobody", more=SOURCE) as server:
        yield server


def counts(server: Server) -> Counter[str]:
    """Return how often a static index was asked for each path."""
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", COUNTS)
    found = Counter[str](json.loads(connection.getresponse().read()))
    connection.close()
    return found


class _Serving:
    """Answers the requests of all connections."""

    def __init__(self, folder: Path, port: int, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._counts = Counter[str]()
        here, pages = f"http://127.0.0.1:{port}/".encode(), (folder / "simple").glob("*.json")
        self._pages = {each.stem: each.read_bytes().replace(HERE.encode(), here) for each in pages}
        self._compressed = {name: compress(page) for name, page in self._pages.items()}

    async def answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until the client closes it."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                await self._answer(head, writer)
                if "\r\nconnection: close" in head.lower():
                    break
        writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        _, path, _ = head.split(" ", 2)
        if path == COUNTS:
            self._send(writer, json.dumps(self._counts).encode())
            return
        self._counts[path] += 1
        await asyncio.sleep(self._seconds)
        if path.startswith("/simple/"):
            name = path.removeprefix("/simple/").rstrip("/") or "index"
            takes_gzip = "gzip" in head
            pages = self._compressed if takes_gzip else self._pages
            coding = "Content-Encoding: gzip\r\n" if takes_gzip else ""
            self._send(writer, pages.get(name), f"Content-Type: {PAGE_TYPE}\r\n{coding}")
            return
        file = self._folder / path[1:]
        if not file.is_file():
            self._send(writer, None)
            return
        self._send_head(writer, "200 OK", file.stat().st_size)
        with file.open("rb") as opened:
            await asyncio.get_running_loop().sendfile(writer.transport, opened)

    def _send(self, writer: asyncio.StreamWriter, body: bytes | None, fields: str = "") -> None:
        """Send a body; without one, send 404."""
        self._send_head(writer, "200 OK" if body else "404 Not Found", len(body or b""), fields)
        writer.write(body or b"")

    @staticmethod
    def _send_head(writer: asyncio.StreamWriter, status: str, size: int, fields: str = "") -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{fields}\r\n".encode())


async def _serve(port: int, folder: Path, seconds: float) -> None:
    serving = _Serving(folder, port, seconds)
    server = await asyncio.start_server(serving.answer_all, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
