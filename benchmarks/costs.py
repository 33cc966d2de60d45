"""
Processor time, start and memory of this commit, beside those of an older one.

Both take turns, round by round, each on a store that it has filled by itself. What counts is the
processor time of the server: the other load of the machine changes it little.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.client_headers import CHROMIUM, PIP, UNREMEMBERED
from benchmarks.load import answer_of, page_rate, upload_all, upload_rate
from benchmarks.memory import fair_share
from benchmarks.peers import bare, nginx
from benchmarks.processes import cpu_seconds, microseconds_each
from benchmarks.report import Figure, alternate
from benchmarks.servers import (
    BUCKET,
    RUN,
    Server,
    checked_out,
    fake_gcs_server,
    installed,
    printed_by,
    serving,
    settle,
)
from benchmarks.stores import Wheel, wheels
from tests.clients.harness import REPOSITORY
from tests.ports import free_port

ROUNDS = 9
SECONDS = 1
CONNECTIONS = 16
BATCH = 60
"""Uploads of a round, and projects whose first page is asked for in it."""
IDLE_SECONDS = 3
"""Until what starts in the background is done."""
BUCKET_NAME = "costs"
PAGE = "/simple/asked/"
NEW_QUERIES = f"""
local number = os.time() * 1000000
request = function()
    number = number + 1
    return wrk.format("GET", string.format("{PAGE}?%d", number))
end
"""
WITH_TOKEN = ", with a token"  # noqa: S105 - in names of figures
Trees = Mapping[str, Path]
"""The code of each commit by the name of the contender; wheelyard is this commit."""
Servers = Mapping[str, Server]


def measure(folder: Path, older: str = "") -> list[Figure]:
    """Measure pages, uploads, starts and idle servers, beside those of an `older` commit."""
    trees = {"wheelyard": REPOSITORY} | ({older: checked_out(folder, older)} if older else {})
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(_running(tree, folder / name / "busy"))
            for name, tree in trees.items()
        }
        for server in servers.values():
            upload_all(server, [wheel.form() for wheel in wheels("asked", 10)])
        figures = [
            *_remembered(servers, folder),
            *_ordinary(servers, folder),
            *_first_web_pages(servers),
            *_uploads(servers),
        ]
    return [*figures, _starts(trees, folder), *_idle(trees, folder)]


@contextmanager
def _running(
    tree: Path, home: Path, *options: str, store: str = "", **more: str
) -> Iterator[Server]:
    """Run the server of a commit until the block ends; its store is `home` without `store`."""
    port, python = free_port(), installed(BUCKET if store else RUN, tree)
    command = [str(python), "-m", "wheelyard", "serve", "--port", str(port)]
    command += ["--store", store or str(home), *options]
    more["PYTHONPATH"] = str(tree / "src")
    printed = printed_by(home)
    with serving(port, command, printed, "/health", "/legacy/", more=more) as server:
        yield server


def _remembered(servers: Servers, folder: Path) -> Iterator[Figure]:
    """Yield figures of pages and of answers 304 that are remembered, beside the least there is."""
    root = folder / "static"
    root.mkdir()
    page = root / "page.json"
    for path, coding in ((page, "identity"), (page.with_suffix(".json.gz"), "gzip")):
        headers = PIP | {"Accept-Encoding": coding}
        path.write_bytes(answer_of(servers["wheelyard"], PAGE, headers)[1])
    with bare("asgi", page, folder) as function, nginx(root, folder, f"/{page.name}") as static:
        beside = {"bare ASGI function": _cost(function, PAGE, PIP)}
        if static is not None:
            beside["nginx"] = _cost(static, f"/{page.name}", PIP)
        for name in ("page", "304", f"page{WITH_TOKEN}", f"304{WITH_TOKEN}"):
            costs = {
                each: _cost(server, PAGE, _headers(server, name))
                for each, server in servers.items()
            }
            costs |= beside if name == "page" else {}
            values = alternate(ROUNDS, costs, warm=1)
            yield _figure(f"processor time of a remembered {name}", "us", values, "<= 2x")


def _ordinary(servers: Servers, folder: Path) -> Iterator[Figure]:
    """Yield figures of pages that are not remembered."""
    script = folder / "new-queries.lua"
    script.write_text(NEW_QUERIES)
    for name, more, with_script in (
        ("page with a new query each time", {}, script),
        ("page that is not to be remembered", UNREMEMBERED, None),
    ):
        costs = {
            each: _cost(server, PAGE, _headers(server, WITH_TOKEN) | more, with_script)
            for each, server in servers.items()
        }
        values = alternate(ROUNDS, costs, warm=1)
        yield _figure(f"processor time of a {name}", "us", values, "<= 1.5x")


def _first_web_pages(servers: Servers) -> Iterator[Figure]:
    """Yield the figure of pages of projects, in a browser, that nobody has asked for before."""

    def ask(server: Server, turn: int) -> float:
        names = [f"looked-at-{turn + 1}-{number}" for number in range(BATCH)]
        upload_all(server, [Wheel(name, "1.0").form() for name in names])
        settle()
        before = cpu_seconds(server.pid)
        for name in names:
            answer_of(server, f"/project/{name}/", CHROMIUM)
        return 1000 * (cpu_seconds(server.pid) - before) / BATCH

    asked = {name: partial(ask, server) for name, server in servers.items()}
    values = alternate(ROUNDS, asked, warm=1)
    yield _figure("processor time of a first web page", "ms", values, "<= 1x")


def _headers(server: Server, name: str) -> dict[str, str]:
    headers = PIP | ({"Authorization": server.authorization} if WITH_TOKEN in name else {})
    if name.startswith("304"):
        headers["If-None-Match"] = answer_of(server, PAGE, PIP)[0]["ETag"]
    return headers


def _cost(
    server: Server, path: str, headers: dict[str, str], script: Path | None = None
) -> Callable[[int], float]:
    """Return a measurement: the processor time of a request, in microseconds."""
    rate = partial(
        page_rate, server, path, headers, connections=CONNECTIONS, seconds=SECONDS, script=script
    )
    return lambda _: microseconds_each(server, rate, SECONDS)


def _uploads(servers: Servers) -> Iterator[Figure]:
    """Yield figures of uploads to ten new projects, over one connection and over eight."""

    def upload(server: Server, clients: int, turn: int) -> tuple[float, float]:
        stem = f"sent-{clients}-{turn + 1}"
        batch = [Wheel(f"{stem}-{number % 10}", f"1.{number}") for number in range(BATCH)]
        settle()
        before = cpu_seconds(server.pid)
        rate = upload_rate(server, batch, clients=clients)
        return 1000 * (cpu_seconds(server.pid) - before) / BATCH, rate

    for clients in (1, 8):
        rounds = [
            {name: upload(server, clients, turn) for name, server in servers.items()}
            for turn in range(-1, ROUNDS)
        ]
        for which, (title, unit, target) in enumerate(
            (("processor time of an upload", "ms", "<= 1x"), ("uploads", "/s", ">= 1x"))
        ):
            values = {name: [each[name][which] for each in rounds[1:]] for name in servers}
            yield _figure(f"{title}, {clients} at a time", unit, values, target)


def _starts(trees: Trees, folder: Path) -> Figure:
    """Return the figure of starts on no store, until the server says that it is healthy."""

    def start(name: str, turn: int) -> float:
        with _running(trees[name], folder / name / f"start{turn}") as server:
            return server.started_in

    starts = {name: partial(start, name) for name in trees}
    return _figure("start until /health", "s", alternate(ROUNDS, starts, warm=1), "<= 0.3 s")


def _idle(trees: Trees, folder: Path) -> Iterator[Figure]:
    """Yield figures of the memory of servers of which nothing was asked yet but /health."""
    with fake_gcs_server(folder, BUCKET_NAME) as url:
        for kind, target in (("folder", "<= 60 MB"), ("bucket", "<= 85 MB")):
            for workers in (1, 3):
                values = dict[str, list[float]]()
                for name, tree in trees.items():
                    home = folder / name / f"{kind}-{workers}"
                    store = f"gs://{BUCKET_NAME}/{name}-{workers}" if kind == "bucket" else ""
                    options = ("--workers", str(workers))
                    with _running(
                        tree, home, *options, store=store, STORAGE_EMULATOR_HOST=url
                    ) as server:
                        time.sleep(IDLE_SECONDS)
                        values[name] = [fair_share(server)]
                title = (
                    f"memory of an idle server on a {kind}, {workers} worker{'s'[: workers - 1]}"
                )
                yield _figure(title, "MB", values, target if workers == 1 else "")


def _figure(name: str, unit: str, values: Mapping[str, Sequence[float]], target: str) -> Figure:
    ours, *others = values
    theirs = next(iter(others), "")
    return Figure(
        name=name,
        unit=unit,
        ours=values[ours],
        theirs=values[theirs] if theirs else (),
        versus=theirs,
        target=target,
        others={other: values[other] for other in others[1:]},
    )
