"""Starts and uploads beside pypiserver with its defaults, and pages while clients upload."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count, takewhile
from pathlib import Path

from benchmarks.client_headers import PIP
from benchmarks.load import page_latency, page_rate, upload_all, upload_rate
from benchmarks.report import Figure, in_turn
from benchmarks.servers import Server, pypiserver, settle, wheelyard
from benchmarks.stores import Wheel, collection, fill_pypiserver, fill_wheelyard, wheels

SECONDS = 3
BATCH = 100
SMALL, LARGE = "small", "large"
UPLOADERS = 4

Plan = Callable[[int], Sequence[Wheel]]
"""The wheels that one round uploads."""


def cold_start(folder: Path) -> list[Figure]:
    """Measure the start up to the whole first page: no files, 4,000 files, 50,000 projects."""
    large = collection(50_000, 1)
    return [
        _started(folder / "empty", {}, 9, "no files", "<= 2x and <= 0.3 s"),
        _started(folder / "4000", collection(200, 20), 9, "4,000 files", "well under 1 s"),
        _started(folder / "50000", large, 3, "50,000 projects of 1 file", "well under 1 s"),
    ]


def _started(folder: Path, plan: dict[str, int], rounds: int, name: str, target: str) -> Figure:
    if plan:
        fill_wheelyard(folder / "ours", plan)
        fill_pypiserver(folder / "theirs", plan)
    page = f"/simple/{next(iter(plan))}/" if plan else "/simple/"

    def ours(each: int) -> float:
        with wheelyard(folder / ("ours" if plan else f"ours-{each}"), page) as server:
            return server.started_in

    def theirs(_: int) -> float:
        with pypiserver(folder / "theirs", page) as server:
            return server.started_in

    mine, other = in_turn(rounds, ours, theirs, warm=1)
    return Figure(name=f"start, {name}", unit="s", ours=mine, theirs=other, target=target)


def page_rates(
    ours: Server, theirs: Server, path: str, headers: dict[str, str], clients: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Return the pages per second of two servers that take turns: three values of each."""

    def rate(server: Server) -> Callable[[int], float]:
        return lambda _: page_rate(server, path, headers, connections=clients, seconds=1)

    return in_turn(3, rate(ours), rate(theirs), warm=1)


def uploads(folder: Path) -> list[Figure]:
    """Measure the rates of uploads of small wheels: 1 to 16 clients, small and large projects."""
    fill_wheelyard(folder / "ours", {LARGE: 2000})
    fill_pypiserver(folder / "theirs", {LARGE: 2000})
    with wheelyard(folder / "ours-new") as ours, pypiserver(folder / "theirs-new") as theirs:
        figures = [
            _uploads(ours, theirs, "1 client, 10 projects", _spread("one"), 1),
            _uploads(ours, theirs, "8 clients, 10 projects", _spread("eight"), 8, ">= 8x"),
            _uploads(ours, theirs, "16 clients, 10 projects", _spread("many"), 16),
            _uploads(ours, theirs, "16 clients, one project", _single("group"), 16),
            _uploads(ours, theirs, "1 client, new projects", _fresh, 1),
        ]
        with wheelyard(folder / "ours-workers", "/simple/", "--workers", 2) as workers:
            name = "8 clients, 10 projects, two workers"
            figures.append(_uploads(workers, theirs, name, _spread("workers"), 8, ">= 8x"))
    with wheelyard(folder / "ours") as ours, pypiserver(folder / "theirs") as theirs:
        name = "1 client, to a project of 2,000 files"
        return [*figures, _uploads(ours, theirs, name, _single(LARGE, 2000), 1), _growth(folder)]


def _growth(folder: Path) -> Figure:
    """Measure 100 uploads to a project of 5,000 files, and 100 to one that begins with none."""
    fill_wheelyard(folder / "grown", {LARGE: 5000})
    with wheelyard(folder / "grown") as server:
        upload_all(server, [each.form() for each in (Wheel(LARGE, "2"), Wheel(SMALL, "2"))])

        def seconds(project: str) -> Callable[[int], float]:
            return lambda each: BATCH / upload_rate(server, _single(project, 5000)(each), clients=1)

        mine, other = in_turn(3, seconds(LARGE), lambda each: seconds(f"{SMALL}-{each}")(each))
    name = f"{BATCH} uploads, 1 client, to a project of 5,000 files"
    versus = "wheelyard, an empty project"
    return Figure(name=name, unit="s", ours=mine, theirs=other, versus=versus, target="<= 1.5x")


def reading_meanwhile(folder: Path) -> list[Figure]:
    """Measure the milliseconds of a page request while 4 clients upload, and without them."""
    fill_wheelyard(folder / "store", {SMALL: 10})
    with wheelyard(folder / "store") as server, ProcessPoolExecutor(UPLOADERS) as pool:

        def ask(_: int = 0) -> tuple[float, float]:
            settle()
            return page_latency(server, f"/simple/{SMALL}/", PIP, connections=16, seconds=SECONDS)

        def ask_meanwhile(turn: int) -> tuple[float, float]:
            end, names = folder / f"end-{turn}", [f"client-{each}" for each in range(UPLOADERS)]
            uploading = [pool.submit(_upload_until, end, server, name, turn) for name in names]
            taken = ask()
            end.touch()
            for upload in uploading:
                upload.result()
            return taken

        rounds = [(ask_meanwhile(each), ask()) for each in range(5)]
    return [
        Figure(
            name=f"page of 10 files while {UPLOADERS} clients upload, {name}",
            unit="ms",
            ours=[meanwhile[which] for meanwhile, _ in rounds],
            theirs=[alone[which] for _, alone in rounds],
            versus="wheelyard, without uploads",
            target=target,
        )
        for which, (name, target) in enumerate((("p50", ""), ("p99", "<= 3x and < 5 ms")))
    ]


def _upload_until(end: Path, server: Server, project: str, turn: int) -> None:
    """Upload wheels of a project until the file `end` exists."""
    forms = (Wheel(project, f"{turn}.{number}").form() for number in count())
    upload_all(server, takewhile(lambda _: not end.exists(), forms))


def _uploads(
    ours: Server, theirs: Server, name: str, plan: Plan, clients: int, target: str = ">= 1x"
) -> Figure:
    rounds = 3
    for server in (ours, theirs):
        upload_all(server, [plan(rounds)[0].form()])  # the first one is not counted
    mine, other = upload_rates(rounds, ours, theirs, plan, clients)
    return Figure(name=f"uploads, {name}", unit="/s", ours=mine, theirs=other, target=target)


def upload_rates(
    rounds: int, ours: Server, theirs: Server, plan: Plan, clients: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Return the uploads per second of two servers that take turns: a value of each per round."""

    def rate(server: Server) -> Callable[[int], float]:
        def measure(each: int) -> float:
            settle()
            return upload_rate(server, plan(each), clients=clients)

        return measure

    return in_turn(rounds, rate(ours), rate(theirs))


def _spread(stem: str) -> Plan:
    return lambda each: [
        Wheel(f"{stem}-{number % 10}", f"{each}.{number}") for number in range(BATCH)
    ]


def _single(project: str, first: int = 0) -> Plan:
    return lambda each: [
        Wheel(project, f"1.{first + each * BATCH + number}") for number in range(BATCH)
    ]


def _fresh(each: int) -> Sequence[Wheel]:
    return [next(wheels(f"fresh-{each}-{number}", 1)) for number in range(BATCH)]
