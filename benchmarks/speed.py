"""Durations of starts, and rates of uploads, beside pypiserver with its defaults."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.load import page_rate, upload_all, upload_rate
from benchmarks.report import Figure, in_turn
from benchmarks.servers import Server, pypiserver, settle, wheelyard
from benchmarks.stores import Wheel, collection, fill_pypiserver, fill_wheelyard, wheels

SECONDS = 3
BATCH = 100
LARGE = "large"

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
        return lambda each: page_rate(
            server, path, headers, connections=clients, seconds=1 if each < 0 else SECONDS
        )

    return in_turn(3, rate(ours), rate(theirs), warm=1)


def uploads(folder: Path) -> list[Figure]:
    """Measure the rates of uploads of small wheels: 1 and 16 clients, small and large projects."""
    fill_wheelyard(folder / "ours", {LARGE: 2000})
    fill_pypiserver(folder / "theirs", {LARGE: 2000})
    with wheelyard(folder / "ours-new") as ours, pypiserver(folder / "theirs-new") as theirs:
        figures = [
            _uploads(ours, theirs, "1 client, 10 projects", _spread("one"), 1),
            _uploads(ours, theirs, "16 clients, 10 projects", _spread("many"), 16),
            _uploads(ours, theirs, "16 clients, one project", _single("group"), 16),
            _uploads(ours, theirs, "1 client, new projects", _fresh, 1),
        ]
    with wheelyard(folder / "ours") as ours, pypiserver(folder / "theirs") as theirs:
        name = "1 client, to a project of 2,000 files"
        return [*figures, _uploads(ours, theirs, name, _single(LARGE, 2000), 1)]


def _uploads(ours: Server, theirs: Server, name: str, plan: Plan, clients: int) -> Figure:
    rounds = 4
    for server in (ours, theirs):
        upload_all(server, [plan(rounds)[0].form()])  # the first one is not counted
    mine, other = upload_rates(rounds, ours, theirs, plan, clients)
    return Figure(name=f"uploads, {name}", unit="/s", ours=mine, theirs=other, target=">= 1x")


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
