"""
Rates of pages and small files, beside nginx that serves the same bytes, and beside peers.

nginx has no choice to make: our answers are saved as files, and it is asked for the right one.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.bare_server import UNCHANGED
from benchmarks.client_headers import (
    CHROMIUM,
    PIP,
    PIP_FILE,
    UNREMEMBERED,
    UV,
    UV_METADATA,
    uncompressed,
)
from benchmarks.load import answer_of, page_rate, upload_all
from benchmarks.peers import DEVPI_INDEX, bare, devpi, nginx, simple_repository_server, unmeasured
from benchmarks.processes import cpu_seconds, microseconds_each
from benchmarks.report import Figure, alternate, in_turn
from benchmarks.servers import Server, pypiserver, wheelyard
from benchmarks.stores import (
    add_newest_metadata,
    collection,
    fill_pypiserver,
    fill_wheelyard,
    wheels,
)

ROUNDS = 3
SECONDS = 1
ALL_ASKED_SECONDS = 10
"""After so long, each of 5,000 pages in random order was asked for."""
FIRST_ASKED = 300
"""Pages of a round that were never asked for before."""
PEER_SECONDS = 3
"""For 16 clients at the same time, some peers need a second for a page of 2,000 files."""
CONNECTIONS = 16
SMALL, LARGE = "project-00007", "large"
REAL = [*wheels("real", 10)]
"""The wheels that are uploaded: of all others only the documents exist."""
PLAN = collection(200, 10) | {LARGE: 2000}
"""4,000 files; with `REAL` 202 projects."""
MANY = collection(4998, 10) | {LARGE: 2020}
"""52,000 files; with `REAL`, 5,000 projects."""
PAGE = f"/simple/{SMALL}/"
LARGE_PAGE = f"/simple/{LARGE}/"
WHEEL_PATH = f"/packages/{REAL[0].filename}"
ANY_PAGE = """
math.randomseed(1)
request = function()
    return string.format("GET /simple/project-%05d/ HTTP/1.1", math.random(0, {last})) .. {head}
end
"""
"""Written by hand: wrk's own order of headers is another one in each run, as no client's is."""
WORKERS_TARGET = ">= 1.6x with 4 cores"
FLOORS = {f"bare {each} function": each for each in ("ASGI", "RSGI")}
HTML_PEERS = ("simple-repository-server", "pypiserver")


@dataclass(frozen=True, slots=True)
class Case:
    """
    One request, the ratios to reach without a token and with one, and what peers are asked.

    `peers` has the path by the name of the peer.
    """

    name: str
    path: str
    headers: dict[str, str] = field(default_factory=lambda: PIP)
    targets: tuple[str, str] = ("", "")
    is_conditional: bool = False
    peers: Mapping[str, str] = field(default_factory=dict)


CASES = (
    Case(
        "page of 10 files",
        PAGE,
        targets=(">= 1x", ">= 0.9x"),
        peers=dict.fromkeys((*FLOORS, *HTML_PEERS), PAGE)
        | {"devpi-server": f"{DEVPI_INDEX}/+simple/{SMALL}/"},
    ),
    Case("page of 10 files (uv)", PAGE, UV, (">= 1x", ">= 0.9x")),
    Case(
        "page of 10 files, conditional",
        PAGE,
        targets=(">= 0.9x", ">= 0.85x"),
        is_conditional=True,
        peers=dict.fromkeys(FLOORS, UNCHANGED),
    ),
    Case(
        "page of 2,000 files",
        LARGE_PAGE,
        targets=(">= 0.9x", ">= 0.9x"),
        peers=dict.fromkeys(HTML_PEERS, LARGE_PAGE),
    ),
    Case("page of 2,000 files, not compressed", LARGE_PAGE, uncompressed(PIP), (">= 1.5x",) * 2),
    Case(
        "list of 202 projects",
        "/simple/",
        targets=(">= 0.9x", ">= 0.9x"),
        peers=dict.fromkeys(HTML_PEERS, "/simple/"),
    ),
    Case("core metadata (uv)", f"{WHEEL_PATH}.metadata", UV_METADATA),
    Case("PyPI's JSON of a project", "/pypi/real/json"),
    Case("file of 1 kB", WHEEL_PATH, PIP_FILE),
)
LIST = Case("list of 5,000 projects", "/simple/", targets=(">= 0.85x", ">= 0.85x"))


@dataclass(frozen=True, slots=True)
class Contenders:
    """Wheelyard on one of the stores, nginx on a folder, and peers by their names."""

    ours: Server
    nginx: Server | None
    root: Path
    peers: Mapping[str, Server] = field(default_factory=dict)


def measure(folder: Path) -> list[Figure]:
    """Measure pages and small files as pip and uv ask for them: 16 connections that stay open."""
    for name, plan in (("ours", PLAN), ("many", MANY)):
        fill_wheelyard(folder / name, plan)
    for project in (SMALL, LARGE):
        add_newest_metadata(folder / "ours", project, PLAN[project])
    fill_pypiserver(folder / "flat", PLAN)
    for project, count in PLAN.items():
        fill_pypiserver(folder / "folders" / project, {project: count})
    with ExitStack() as stack:
        contenders = _start(stack, folder)
        many = replace(contenders, ours=stack.enter_context(wheelyard(folder / "many")), peers={})
        for server in (contenders.ours, many.ours):
            upload_all(server, [wheel.form() for wheel in REAL])
        figures = [figure for case in CASES for figure in _rates(contenders, case)]
        figures += [*_rates(many, LIST), _processor_time(contenders)]
        figures += _web_pages(contenders.ours)
        figures += _pages_of_many(many.ours, contenders.ours, folder)
        return [*figures, *_variants(contenders.ours, folder)]


def _start(stack: ExitStack, folder: Path) -> Contenders:
    root, own = folder / "static", folder / "nginx"
    for each in (root, own):
        each.mkdir()
    start = stack.enter_context
    ours = start(wheelyard(folder / "ours"))
    page = root / "page.json"
    _save(ours, PAGE, page)
    peers = {name: start(bare(each.lower(), page, folder)) for name, each in FLOORS.items()}
    peers |= {
        "simple-repository-server": start(simple_repository_server(folder / "folders")),
        "pypiserver": start(pypiserver(folder / "flat")),
        "devpi-server": start(devpi(folder / "devpi", wheels(SMALL, 10))),
    }
    return Contenders(ours, start(nginx(root, own, "/page.json")), root, peers)


def _rates(contenders: Contenders, case: Case) -> Iterator[Figure]:
    """Yield the figures of a case: without a token, then with one; both beside nginx."""
    ours, others = contenders.ours, contenders.peers
    saved = contenders.root / (re.sub(r"\W+", "-", case.name) + ".json")
    _save(ours, case.path, saved)
    token = {"Authorization": ours.authorization}
    measurements = {
        "anonymous": _rate(ours, case.path, _headers(ours, case.path, case)),
        "token": _rate(ours, case.path, _headers(ours, case.path, case) | token),
    }
    if contenders.nginx is not None:
        static = f"/{saved.name}"
        headers = _headers(contenders.nginx, static, case)
        measurements["nginx"] = _rate(contenders.nginx, static, headers)
    for peer, path in case.peers.items():
        seconds = SECONDS if peer in FLOORS else PEER_SECONDS
        measurements[peer] = _rate(others[peer], path, case.headers, seconds)
    found = alternate(ROUNDS, measurements)
    for which, target in zip(("anonymous", "token"), case.targets, strict=True):
        is_first = which == "anonymous"
        yield Figure(
            name=case.name if is_first else f"{case.name}, with a token",
            unit="/s",
            ours=found[which],
            theirs=found.get("nginx", ()),
            versus="nginx",
            target=target,
            others={peer: found[peer] for peer in case.peers} if is_first else {},
        )


def _web_pages(ours: Server) -> Iterator[Figure]:
    """Yield figures of the pages for people, beside the Simple pages of the same projects."""
    token = {"Authorization": ours.authorization}
    for name, given in (("", {}), (", with a token", token)):
        for count, project in ((10, SMALL), (2000, LARGE)):
            web = _rate(ours, f"/project/{project}/", CHROMIUM | given)
            simple = _rate(ours, f"/simple/{project}/", PIP | given)
            title = f"web page of {count:,} files{name}"
            yield _beside(title, web, simple, "Simple API", ">= 0.5x")
    sizes = [
        len(answer_of(ours, path, headers)[1]) / 1000
        for path, headers in ((f"/project/{LARGE}/", CHROMIUM), (LARGE_PAGE, PIP))
    ]
    yield Figure(
        name="web page of 2,000 files, compressed",
        unit="kB",
        ours=sizes[:1],
        theirs=sizes[1:],
        versus="Simple API",
        target="< 150 kB",
    )


def _processor_time(contenders: Contenders) -> Figure:
    """Return the figure of the processor time of a page, also by the ordinary path."""
    ours, beside = contenders.ours, contenders.nginx
    token = PIP | {"Authorization": ours.authorization}
    asked = {"ours": (ours, PAGE, token)}
    if beside is not None:
        asked["nginx"] = (beside, "/page.json", PIP)
    asked |= {name: (contenders.peers[name], PAGE, PIP) for name in FLOORS}
    asked["wheelyard, ordinary path"] = (ours, PAGE, token | UNREMEMBERED)
    measurements = {
        name: _cost(server, _rate(server, path, headers))
        for name, (server, path, headers) in asked.items()
    }
    found = alternate(ROUNDS, measurements)
    return Figure(
        name="processor time of a page of 10 files, with a token",
        unit="us",
        ours=found["ours"],
        theirs=found.get("nginx", ()),
        versus="nginx",
        others={name: found[name] for name in found if name not in {"ours", "nginx"}},
    )


def _cost(server: Server, rate: Callable[[int], float]) -> Callable[[int], float]:
    return lambda each: microseconds_each(server, lambda: rate(each), SECONDS)


def _pages_of_many(many: Server, few: Server, folder: Path) -> list[Figure]:
    """Return figures of pages of a collection of 52,000 files, beside one of 4,000."""
    fields = {"Host": "localhost", **PIP}
    lines = "".join(f"\r\n{name}: {value}" for name, value in fields.items())
    scripts, head = dict[int, Path](), json.dumps(f"{lines}\r\n\r\n")
    for server, projects in ((many, 4998), (few, 200)):
        scripts[server.port] = folder / f"any-{projects}.lua"
        scripts[server.port].write_text(ANY_PAGE.format(last=projects - 1, head=head))
    first = _first_asked(many)
    one = [_rate(server, PAGE, PIP) for server in (many, few)]
    some = [_rate(server, PAGE, PIP, script=scripts[server.port]) for server in (many, few)]
    rates = {"one page": one}
    if shutil.which("wrk"):  # only wrk runs scripts
        rates["pages in random order"] = some
        _rate(many, PAGE, PIP, ALL_ASKED_SECONDS, scripts[many.port])(0)
    return [
        first,
        *(
            _beside(f"{name}, 52,000 files", ours, theirs, "4,000 files", ">= 0.95x")
            for name, (ours, theirs) in rates.items()
        ),
    ]


def _first_asked(server: Server) -> Figure:
    """Return the figure of the processor time of pages that were never asked for."""
    rounds, connection = list[float](), HTTPConnection("127.0.0.1", server.port)
    for each in range(1, ROUNDS + 1):
        before = cpu_seconds(server.pid)
        for number in range(each * FIRST_ASKED, (each + 1) * FIRST_ASKED):
            connection.request("GET", f"/simple/project-{number:05}/", headers=PIP)
            connection.getresponse().read()
        rounds.append((cpu_seconds(server.pid) - before) / FIRST_ASKED * 1e6)
    connection.close()
    title = "processor time of a page of 10 files, first asked"
    return Figure(name=title, unit="us", ours=rounds)


def _variants(server: Server, folder: Path) -> list[Figure]:
    """Return figures of a server beside one without metrics, and of one with two workers."""
    store = folder / "ours"
    with (
        wheelyard(store, "/simple/", more={"WHEELYARD_LOG_ACCESS": "true"}) as logging,
        unmeasured(store, "/simple/") as bare,
        wheelyard(store, "/simple/", "--workers", "2") as double,
    ):
        logged, silent, doubled, plain = (
            _rate(each, PAGE, PIP) for each in (logging, bare, double, server)
        )
        costs = {
            "log": _cost(logging, logged),
            "metrics": _cost(server, plain),
            "off": _cost(bare, silent),
        }
        spent = alternate(ROUNDS, costs, warm=1)
        return [
            Figure(
                name="processor time of a page of 10 files, access log and metrics",
                unit="us",
                ours=spent["log"],
                theirs=spent["off"],
                versus="both off",
                target="<= 1.11x",
                others={"metrics alone": spent["metrics"]},
            ),
            _beside("page of 10 files, two workers", doubled, plain, "one", WORKERS_TARGET),
        ]


def _beside(
    name: str,
    ours: Callable[[int], float],
    theirs: Callable[[int], float],
    versus: str,
    target: str,
) -> Figure:
    mine, other = in_turn(ROUNDS, ours, theirs, warm=1)
    return Figure(name=name, unit="/s", ours=mine, theirs=other, versus=versus, target=target)


def _rate(
    server: Server,
    path: str,
    headers: dict[str, str],
    seconds: float = SECONDS,
    script: Path | None = None,
) -> Callable[[int], float]:
    measure = partial(page_rate, connections=CONNECTIONS, script=script)
    return lambda each: measure(server, path, headers, seconds=SECONDS if each < 0 else seconds)


def _headers(server: Server, path: str, case: Case) -> dict[str, str]:
    """Return the headers of a request, with the ETag that the server gives if it is conditional."""
    if not case.is_conditional:
        return case.headers
    etag = answer_of(server, path, case.headers)[0]["ETag"]
    return case.headers | {"If-None-Match": etag}


def _save(server: Server, path: str, target: Path) -> None:
    """Save what a server answers; and as another file, beside it, what it answers compressed."""
    plain, packed = (
        answer_of(server, path, {**PIP, "Accept-Encoding": coding})
        for coding in ("identity", "gzip")
    )
    target.write_bytes(plain[1])
    if packed[0]["Content-Encoding"] == "gzip":
        Path(f"{target}.gz").write_bytes(packed[1])
