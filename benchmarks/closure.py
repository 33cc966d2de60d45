"""
First pages, and the installation of a closure of 60 projects, from a bucket and from a folder.

Both are 20 ms away: the fake GCS server waits before each answer, and a proxy before it passes a
request on to the server of the folder. (The server of the bucket has the same proxy, which does not
wait.) Each installation begins with a server that has just started and has answered the project
list, and a client without a cache. Every request has a token.
"""

import asyncio
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from threading import Event, Thread
from time import perf_counter

from uv import find_uv_bin

from benchmarks.client_headers import PIP
from benchmarks.load import latencies, upload_all
from benchmarks.report import Figure, in_turn
from benchmarks.servers import Server, wheelyard, wheelyard_in_bucket
from benchmarks.stores import Wheel
from tests.clients.harness import new_sandbox, program
from tests.fake_gcs.faults import Stall
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.ports import free_port

PROJECTS = 60
ROUNDS = 3
DELAY_SECONDS = 0.02
BUCKET = "benchmark"
STORE = f"gs://{BUCKET}/index"
FOLDER = "in a folder"
COPY_BYTES = 1 << 16
ENDLESS = 1 << 40
"""More requests than any benchmark sends."""

Command = tuple[str | Path, ...]
Start = Callable[[], AbstractContextManager[Server]]
"""Starts a server behind its proxy, with nothing in memory but the project list and the token."""


def measure(folder: Path) -> list[Figure]:
    """Measure first pages and installations of 60 projects, 20 ms from a bucket or a folder."""
    with running_fake_gcs(BUCKET) as cloud:
        ways = {"redirect": as_account(cloud, folder), "proxy": cloud.environment()}
        bucket, local = partial(wheelyard_in_bucket, folder, STORE), folder / "local"
        with bucket(ways["proxy"]) as filled, wheelyard(local) as other:
            for server in (filled, other):
                upload_all(server, [wheel.form() for wheel in closure()])
        from_folder: Start = partial(
            _started, partial(wheelyard, local, authorization=other.authorization), DELAY_SECONDS
        )
        for kind in ("*", "sign"):
            cloud.faults.add(Stall(DELAY_SECONDS), kind, count=ENDLESS)
        figures = list[Figure]()
        for way, variables in ways.items():
            opened = partial(bucket, variables, authorization=filled.authorization)
            from_bucket: Start = partial(_started, opened, 0.0)
            if not figures:
                figures.append(_first_pages(from_bucket, from_folder))
            figures += _installations(folder, way, cloud, from_bucket, from_folder)
        return figures


def as_account(cloud: FakeGcs, folder: Path) -> dict[str, str]:
    """Return the variables of a server with a service account's key, which signs its URLs."""
    key = str(cloud.write_key_file(folder))
    return {"API_ENDPOINT_OVERRIDE": cloud.url, "GOOGLE_APPLICATION_CREDENTIALS": key}


def closure() -> Iterator[Wheel]:
    """Return an iterator of the wheels of a binary tree of dependencies, its root first."""
    for number in range(PROJECTS):
        children = (each for each in (2 * number + 1, 2 * number + 2) if each < PROJECTS)
        yield Wheel(f"closure-{number}", "1.0", tuple(f"closure-{each}" for each in children))


@contextmanager
def delayed(server: Server, seconds: float) -> Iterator[Server]:
    """Run a proxy that waits before it passes on what a client sends; yield it as a server."""
    port, is_listening, ends = free_port(), Event(), list[Callable[[], object]]()

    async def pump(
        source: asyncio.StreamReader, target: asyncio.StreamWriter, pause: float
    ) -> None:
        while piece := await source.read(COPY_BYTES):
            await asyncio.sleep(pause)
            target.write(piece)
            await target.drain()
        target.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            source, target = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pump(reader, target, seconds), pump(source, writer, 0))

    async def listen() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        ends.append(partial(loop.call_soon_threadsafe, ended.set))
        listener = await asyncio.start_server(forward, "127.0.0.1", port)
        is_listening.set()
        await ended.wait()
        listener.close()

    thread = Thread(target=lambda: asyncio.run(listen()), daemon=True)
    thread.start()
    is_listening.wait()
    try:
        yield replace(server, port=port)
    finally:
        ends[0]()
        thread.join()


@contextmanager
def _started(start: Start, seconds: float) -> Iterator[Server]:
    with start() as server, delayed(server, seconds) as proxy:
        latencies(proxy, "/simple/", _headers(server), 1)
        yield proxy


def _headers(server: Server) -> dict[str, str]:
    return PIP | {"Authorization": server.authorization}


def _first_pages(from_bucket: Start, from_folder: Start) -> Figure:
    def milliseconds(start: Start) -> list[float]:
        with start() as server:
            paths = [f"/simple/{wheel.project}/" for wheel in closure()]
            return [latencies(server, path, _headers(server), 1)[0] for path in paths]

    return Figure(
        name=f"first page of each of {PROJECTS} projects",
        unit="ms",
        ours=milliseconds(from_bucket),
        theirs=milliseconds(from_folder),
        versus=FOLDER,
        target="1 round trip",
    )


def _installations(
    folder: Path, way: str, cloud: FakeGcs, from_bucket: Start, from_folder: Start
) -> Iterator[Figure]:
    """Return an iterator of the figures of pip and uv; `way` says how they download files."""
    pip = (program("pip"), "install", "--no-cache-dir", "--quiet")
    uv = (find_uv_bin(), "pip", "install", "--no-cache", "--quiet")
    for name, command in (("pip", pip), ("uv", uv)):
        operations = list[float]()

        def in_bucket(
            _: int, command: Command = command, operations: list[float] = operations
        ) -> float:
            with from_bucket() as server:
                cloud.log.clear()
                seconds = _install(folder, server, command)
                operations.append(cloud.log.count("B"))
                return seconds

        def in_folder(_: int, command: Command = command) -> float:
            with from_folder() as server:
                return _install(folder, server, command)

        ours, theirs = in_turn(ROUNDS, in_bucket, in_folder)
        title = f"{name} install of {PROJECTS} projects, {way}"
        target = "1.2" if name == "pip" else ""
        yield Figure(name=title, unit="s", ours=ours, theirs=theirs, versus=FOLDER, target=target)
        yield Figure(name=f"{title}: operations of class B", unit="", ours=operations)


def _install(folder: Path, server: Server, command: Command) -> float:
    """Install the root of the closure with an empty cache; return the seconds."""
    sandbox = new_sandbox(Path(mkdtemp(dir=folder)))
    login = b64decode(server.authorization.removeprefix("Basic ")).decode()
    url = f"http://{login}@localhost:{server.port}/simple/"
    options = ("--target", sandbox.folder / "installed", "--index-url", url)
    begun = perf_counter()
    sandbox.run(*command, *options, "closure-0")
    return perf_counter() - begun
