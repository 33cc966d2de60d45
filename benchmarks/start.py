"""From the start of the process to the whole of the first page."""

from pathlib import Path

from benchmarks.report import Figure
from benchmarks.servers import pypiserver, wheelyard
from benchmarks.stores import collection, fill_pypiserver, fill_wheelyard

ROUNDS = 9
LARGE_ROUNDS = 3


def measure(folder: Path) -> list[Figure]:
    """Start on nothing, on 4,000 files and on 50,000 projects."""
    return [
        _started(folder / "empty", {}, ROUNDS, "no files", "<= 2x and <= 0.3 s"),
        _started(folder / "4000", collection(200, 20), ROUNDS, "4,000 files", "well under 1 s"),
        _started(
            folder / "50000",
            collection(50_000, 1),
            LARGE_ROUNDS,
            "50,000 projects of 1 file",
            "well under 1 s",
        ),
    ]


def _started(
    folder: Path, plan: dict[str, int], rounds: int, name: str, target: str
) -> Figure:
    ours, theirs = list[float](), list[float]()
    fill_wheelyard(folder / "ours", plan)
    fill_pypiserver(folder / "theirs", plan)
    page = f"/simple/{next(iter(plan))}/" if plan else "/simple/"
    for each in range(rounds + 1):  # the first round warms the disk and is not counted
        with wheelyard(folder / "ours", page) as server:
            ours.append(server.started_in)
        with pypiserver(folder / "theirs", page) as server:
            theirs.append(server.started_in)
        if not each:
            ours.clear()
            theirs.clear()
    return Figure(name=f"start, {name}", unit="s", ours=ours, theirs=theirs, target=target)
