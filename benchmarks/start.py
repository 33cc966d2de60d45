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


def _started(folder: Path, plan: dict[str, int], rounds: int, name: str, target: str) -> Figure:
    if plan:
        fill_wheelyard(folder / "ours", plan)
        fill_pypiserver(folder / "theirs", plan)
    page = f"/simple/{next(iter(plan))}/" if plan else "/simple/"
    taken = list[tuple[float, float]]()
    for each in range(rounds + 1):
        store = folder / ("ours" if plan else f"ours-{each}")
        with wheelyard(store, page) as ours, pypiserver(folder / "theirs", page) as theirs:
            taken.append((ours.started_in, theirs.started_in))
    mine, other = zip(*taken[1:], strict=True)  # the first round warms the disk
    return Figure(name=f"start, {name}", unit="s", ours=mine, theirs=other, target=target)
