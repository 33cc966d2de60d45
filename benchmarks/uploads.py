"""Uploads a second: ours checked, synced to disk and journalled, pypiserver's as it does them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.load import upload_all, upload_rate
from benchmarks.report import Figure
from benchmarks.servers import Server, pypiserver, settle, wheelyard
from benchmarks.stores import Wheel, fill_pypiserver, fill_wheelyard, wheels

ROUNDS = 4
BATCH = 100
LARGE = "large"

Plan = Callable[[int], Sequence[Wheel]]
"""What is uploaded in a round."""


def measure(folder: Path) -> list[Figure]:
    """Upload small wheels: as one client, as sixteen, and to a project that has many already."""
    fill_wheelyard(folder / "ours", {LARGE: 2000})
    fill_pypiserver(folder / "theirs", {LARGE: 2000})
    with wheelyard(folder / "ours-new") as ours, pypiserver(folder / "theirs-new") as theirs:
        figures = [
            _rate(ours, theirs, "1 client, 10 projects", _spread("one"), 1, ">= 1x"),
            _rate(ours, theirs, "16 clients, 10 projects", _spread("many"), 16, ">= 1x"),
            _rate(ours, theirs, "16 clients, one project", _single("group"), 16, ">= 1x"),
            _rate(ours, theirs, "1 client, new projects", _fresh, 1, ">= 1x"),
        ]
    with wheelyard(folder / "ours") as ours, pypiserver(folder / "theirs") as theirs:
        name = "1 client, to a project of 2,000 files"
        return [*figures, _rate(ours, theirs, name, _single(LARGE, 2000), 1, ">= 1x")]


def _rate(ours: Server, theirs: Server, name: str, plan: Plan, clients: int, target: str) -> Figure:
    mine, other = list[float](), list[float]()
    for server in (ours, theirs):
        upload_all(server, [plan(ROUNDS)[0].form()])  # the first one is not counted
    for each in range(ROUNDS):
        batch = plan(each)
        for server, rates in ((ours, mine), (theirs, other)):
            settle()
            rates.append(upload_rate(server, batch, clients=clients))
    return Figure(name=f"uploads, {name}", unit="/s", ours=mine, theirs=other, target=target)


def _spread(stem: str) -> Plan:
    return lambda each: [
        Wheel(f"{stem}-{number % 10}", f"{each}.{number}") for number in range(BATCH)
    ]


def _single(project: str, start: int = 0) -> Plan:
    return lambda each: [
        Wheel(project, f"1.{start + each * BATCH + number}") for number in range(BATCH)
    ]


def _fresh(each: int) -> Sequence[Wheel]:
    return [next(wheels(f"fresh-{each}-{number}", 1)) for number in range(BATCH)]
