"""
Public packages through an index of one's own, beside other proxies and beside no proxy.

All proxies stand before the same index on this machine (`static_index`). Each starts empty and has
answered the page of a project that is not measured. Clients are uv without a cache, and threads of
this process, which send a request again after a 5xx. A proxy that redirects a client has it ask the
upstream itself, which is counted.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPResponse
from itertools import count
from pathlib import Path
from threading import Barrier
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from benchmarks.client_headers import UV, uncompressed
from benchmarks.memory import forget_peak, peak, resident
from benchmarks.peers import DEVPI_INDEX, devpi_mirror, proxpi
from benchmarks.processes import cpu_seconds
from benchmarks.report import Figure
from benchmarks.servers import Server, environment, settle, wheelyard, wheelyard_command
from benchmarks.static_index import FIRST, ROOTS, closure_index, counts, large_index, static_index
from tests.clients.harness import new_sandbox

ROUNDS = 4
AWAY_SECONDS = 0.02
LARGE = tuple(f"large-{number}" for number in range(8))
READERS = 50
SHARED = ("cryptography", "dulwich", "rapidfuzz")
"""The projects that 50 clients ask for at once: their newest files have some MB."""
PIECE = 1 << 20
ATTEMPTS = 5
PRIVATE, DIRECT = "private packages", "no proxy"
SETTINGS = """
[upstream]
enabled = true
url = "http://127.0.0.1:{port}/simple/"
private = ["acme-*"]
allow_private_networks = ["127.0.0.0/8"]
"""


@dataclass(frozen=True, slots=True)
class Index:
    """An index that clients may ask: its process, and the path of its project list."""

    server: Server
    path: str

    @property
    def url(self) -> str:
        """The URL of its project list."""
        return f"http://127.0.0.1:{self.server.port}{self.path}"


Start = Callable[[Path], AbstractContextManager[Index]]
"""Starts an index on a folder that is not there yet."""


def measure(folder: Path) -> list[Figure]:
    """Measure installations of 60 packages, large files, and many first readers, by proxies."""
    files = closure_index()
    private = folder / "private"
    imported = wheelyard_command("import", "--quiet", files / "files", "--store", private)
    subprocess.run(imported, check=True, env=environment(folder))
    with static_index(files, folder) as near:
        figures = _installations(folder / "near", near, private, "")
    with static_index(files, folder, AWAY_SECONDS) as far:
        figures += _installations(folder / "far", far, private, ", 20 ms away")
        figures += _first_readers(folder / "shared", far)
    large_index(folder / "large", LARGE)
    with static_index(folder / "large", folder) as upstream:
        figures += _large_files(folder / "downloaded", upstream)
    return figures


def _proxies(upstream: Server) -> dict[str, Start]:
    """Return how each proxy is started before an upstream, wheelyard first."""
    url = f"http://127.0.0.1:{upstream.port}/simple/"

    @contextmanager
    def started_wheelyard(folder: Path) -> Iterator[Index]:
        settings = {"WHEELYARD_TOML": SETTINGS.format(port=upstream.port)}
        with wheelyard(folder, more=settings) as server:
            yield Index(server, "/simple/")

    @contextmanager
    def started_devpi(folder: Path) -> Iterator[Index]:
        with devpi_mirror(folder, url) as server:
            yield Index(server, f"{DEVPI_INDEX}/+simple/")

    @contextmanager
    def started_proxpi(folder: Path) -> Iterator[Index]:
        with proxpi(folder, url) as server:
            yield Index(server, "/index/")

    return {"wheelyard": started_wheelyard, "devpi-server": started_devpi, "proxpi": started_proxpi}


@contextmanager
def _started(start: Start, folder: Path) -> Iterator[Index]:
    """Run an index on a new folder until the block ends, and remove the folder; yield the index."""
    with start(folder) as index:
        _page(index, FIRST)
        settle()
        yield index
    shutil.rmtree(folder)


def _installations(folder: Path, upstream: Server, private: Path, where: str) -> list[Figure]:
    """Return the figures of installations through each proxy: its first one, and the next one."""
    numbers, values = count(), dict[str, list[tuple[float, ...]]]()

    def install(index: Index) -> tuple[float, float]:
        return _install(folder / f"install-{next(numbers)}", index)

    def twice(start: Start, each: int) -> tuple[float, ...]:
        with _started(start, folder / f"proxy-{each}") as index:
            return (*install(index), *install(index))

    with wheelyard(private) as server:
        known = Index(server, "/simple/")
        measurements: dict[str, Callable[[int], tuple[float, ...]]] = {
            PRIVATE: lambda _: 2 * install(known),
            DIRECT: lambda _: 2 * install(Index(upstream, "/simple/")),
            **{name: partial(twice, start) for name, start in _proxies(upstream).items()},
        }
        for each in range(ROUNDS + 1):
            for name, run in measurements.items():
                values.setdefault(name, []).append(run(each))
    return [
        _beside(
            f"install of 60 packages, {row}{where}",
            "s",
            {name: [each[place] for each in values[name][1:]] for name in ("wheelyard", *beside)},
            beside[0],
            target,
        )
        for place, row, target, *beside in (
            (0, "first", "<= 1.3x", DIRECT),
            (0, "first", "<= 1x", "devpi-server"),
            (0, "first", "<= 1x", "proxpi"),
            (1, "first, processor time", "", "proxpi", "devpi-server"),
            (2, "next", "1x", PRIVATE, "devpi-server", "proxpi"),
            (3, "next, processor time", "1x", PRIVATE, "devpi-server", "proxpi"),
        )
    ]


def _beside(
    name: str, unit: str, values: Mapping[str, Sequence[float]], versus: str, target: str
) -> Figure:
    others = {each: found for each, found in values.items() if each not in {"wheelyard", versus}}
    return Figure(
        name=name,
        unit=unit,
        ours=values["wheelyard"],
        theirs=values[versus],
        versus=versus,
        target=target,
        others=others,
    )


def _install(folder: Path, index: Index) -> tuple[float, float]:
    """Install with an empty cache; return the seconds, and those of the index's processor time."""
    sandbox = new_sandbox(folder)
    uv = (find_uv_bin(), "pip", "install", "--no-cache", "--quiet", "--python", sys.executable)
    options = ("--target", sandbox.folder / "installed", "--index-url", index.url)
    spent, begun = cpu_seconds(index.server.pid), time.perf_counter()
    sandbox.run(*uv, *options, *ROOTS.split())
    taken = time.perf_counter() - begun, cpu_seconds(index.server.pid) - spent
    shutil.rmtree(folder)
    return taken


def _first_readers(folder: Path, upstream: Server) -> Iterator[Figure]:
    """Return the figures of what an upstream is asked when 50 clients are the first, at once."""
    asked = dict[str, dict[str, list[float]]]({"page": {}, "file": {}})
    for name, start in _proxies(upstream).items():
        with _started(start, folder / name) as index:
            for project in SHARED:
                for kind in asked:
                    url = index.url + f"{project}/" if kind == "page" else _newest(index, project)
                    before = counts(upstream).total()
                    _at_once([url] * READERS)
                    found = counts(upstream).total() - before
                    asked[kind].setdefault(name, []).append(found)
    for kind, values in asked.items():
        title = f"upstream's requests for {READERS} first readers of a {kind}"
        yield _beside(title, "", values, "devpi-server", "1")


def _large_files(folder: Path, upstream: Server) -> Iterator[Figure]:
    """Return the figures of 8 first downloads of 300 MB at once."""
    values = dict[str, tuple[float, ...]]()
    for name, start in _proxies(upstream).items():
        with _started(start, folder / name) as index:
            urls = [_newest(index, project) for project in LARGE]
            pid, before = index.server.pid, resident(index.server)
            forget_peak(pid)
            spent, begun = cpu_seconds(pid), time.perf_counter()
            first = max(_at_once(urls))
            taken, spent = time.perf_counter() - begun, cpu_seconds(pid) - spent
            end = resident(index.server)
            values[name] = (peak(pid) - before, end - before, first, taken, spent)
    rows = (
        ("peak memory, above what it was before", "MB", "tens of MB"),
        ("memory afterwards, above what it was before", "MB", "tens of MB"),
        ("the slowest client's first bytes", "s", ""),
        ("until all are there", "s", ""),
        ("processor time", "s", ""),
    )
    for place, (row, unit, target) in enumerate(rows):
        found = {name: [each[place]] for name, each in values.items()}
        title = f"8 first downloads of 300 MB: {row}"
        yield _beside(title, unit, found, "devpi-server", target)


def _page(index: Index, project: str) -> dict[str, list[dict[str, str]]]:
    """Return the page of a project."""
    with _opened(f"{index.url}{project}/") as answer:
        page: dict[str, list[dict[str, str]]] = json.load(answer)
    return page


def _newest(index: Index, project: str) -> str:
    """Return the URL of the newest file that the page of a project lists."""
    files = _page(index, project)["files"]
    newest = max(files, key=lambda each: parse_wheel_filename(each["filename"])[1])
    return urljoin(f"{index.url}{project}/", newest["url"])


def _at_once(urls: Sequence[str]) -> list[float]:
    """Get each URL in a thread, all at once; return the seconds until the first bytes of each."""
    barrier = Barrier(len(urls))

    def get(url: str) -> float:
        barrier.wait()
        begun = time.perf_counter()
        with _opened(url) as answer:
            length, piece = 0, answer.read(1)
            first = time.perf_counter() - begun
            while piece:
                length += len(piece)
                piece = answer.read(PIECE)
            declared = answer.headers["Content-Length"]
        if declared and length != int(declared):
            raise RuntimeError(f"{url} was cut off")
        return first

    with ThreadPoolExecutor(len(urls)) as pool:
        return list(pool.map(get, urls))


def _opened(url: str) -> HTTPResponse:
    """Return the answer to a request, which is sent again after a 5xx, as pip and uv do."""
    for _ in range(ATTEMPTS):
        with suppress(HTTPError):
            answer: HTTPResponse = urlopen(Request(url, headers=uncompressed(UV)))  # noqa: S310
            return answer
    raise RuntimeError(f"{url} was answered with errors again and again")
