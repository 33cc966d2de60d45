"""Simple pages a second, from memory, beside pypiserver as it comes: without its cache."""

from pathlib import Path

from benchmarks.load import BROWSER, PIP, page_rate
from benchmarks.report import Figure
from benchmarks.servers import Server, pypiserver, wheelyard
from benchmarks.stores import collection, fill_pypiserver, fill_wheelyard

ROUNDS = 3
SECONDS = 3
SMALL, LARGE = "project-00000", "large"


def measure(folder: Path) -> list[Figure]:
    """Ask for a page of 20 files and for one of 2,000, in a collection of 4,000 files."""
    plan = collection(100, 20) | {LARGE: 2000}
    fill_wheelyard(folder / "ours", plan)
    fill_pypiserver(folder / "theirs", plan)
    with wheelyard(folder / "ours") as ours, pypiserver(folder / "theirs") as theirs:
        return [
            _rate(ours, theirs, "20 files, 1 connection", SMALL, PIP, 1),
            _rate(ours, theirs, "20 files, 16 connections", SMALL, PIP, 16),
            _rate(ours, theirs, "2,000 files, 1 connection", LARGE, PIP, 1),
            _rate(ours, theirs, "2,000 files, 16 connections", LARGE, PIP, 16),
            _rate(ours, theirs, "2,000 files, HTML, not compressed", LARGE, BROWSER, 16),
        ]


def _rate(
    ours: Server, theirs: Server, name: str, project: str, headers: dict[str, str], clients: int
) -> Figure:
    path, mine, other = f"/simple/{project}/", list[float](), list[float]()
    for each in range(ROUNDS + 1):
        seconds = SECONDS if each else 1
        rates = [
            page_rate(server, path, headers, connections=clients, seconds=seconds)
            for server in (ours, theirs)
        ]
        if each:  # the first round warms up
            mine.append(rates[0])
            other.append(rates[1])
    return Figure(name=f"pages, {name}", unit="/s", ours=mine, theirs=other, target=">= 20x")
