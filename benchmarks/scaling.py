"""Durations in a large store beside a small one; and of a large page, beside pypiserver."""

from pathlib import Path
from statistics import median

from benchmarks.client_headers import BROWSER, PIP
from benchmarks.load import latencies, upload_all
from benchmarks.report import Figure
from benchmarks.servers import Server, pypiserver, wheelyard
from benchmarks.stores import Wheel, collection, fill_pypiserver, fill_wheelyard

ROUNDS = 3
WARM = 300
UPLOADS = 40
PAGE = "/simple/project-00007/"
LARGE = "large"


def measure(folder: Path) -> list[Figure]:
    """Measure pages and uploads in stores of 50,000 projects and of 10, and a large page."""
    return [*_stores(folder), *_large_pages(folder)]


def _stores(folder: Path) -> list[Figure]:
    fill_wheelyard(folder / "many", collection(50_000, 1))
    fill_wheelyard(folder / "few", collection(10, 1))
    # uploads come first: a store's first start is the one that prints a token
    with wheelyard(folder / "many", "/health") as many, wheelyard(folder / "few", "/health") as few:
        uploads = [(_uploads(many, each), _uploads(few, each)) for each in range(ROUNDS)]
    rounds = [(_asks(folder / "many"), _asks(folder / "few")) for _ in range(ROUNDS)]
    return [
        Figure(
            name=f"{name}, 50,000 projects",
            unit="ms",
            ours=[many[which] for many, _ in values],
            theirs=[few[which] for _, few in values],
            versus="with 10 projects",
            target="1x",
        )
        for name, values, which in (
            ("page, first asked", rounds, 0),
            ("page, asked again", rounds, 1),
            ("upload to a known project", uploads, 0),
            ("upload to a new project", uploads, 1),
        )
    ]


def _asks(store: Path) -> tuple[float, float]:
    """Return the milliseconds of a started server's first page, and the median of later ones."""
    with wheelyard(store, "/health") as server:
        first = latencies(server, PAGE, PIP, 1)[0]
        return first, median(latencies(server, PAGE, PIP, WARM))


def _uploads(server: Server, each: int) -> tuple[float, float]:
    """Return the median milliseconds of an upload to a known project, and to a new project."""
    upload_all(server, [Wheel("known", f"{each}.0").form()])
    known = [Wheel("known", f"{each}.{number}").form() for number in range(1, UPLOADS + 1)]
    new = [Wheel(f"new-{each}-{number}", "1.0").form() for number in range(UPLOADS)]
    return median(upload_all(server, known)), median(upload_all(server, new))


def _large_pages(folder: Path) -> list[Figure]:
    fill_wheelyard(folder / "ours", {LARGE: 2000})
    fill_pypiserver(folder / "theirs", {LARGE: 2000})
    figures = list[Figure]()
    for form, headers in (("JSON", PIP), ("HTML", BROWSER)):
        cold, warm = list[list[float]](), list[list[float]]()
        for _ in range(ROUNDS):
            with (
                wheelyard(folder / "ours", "/health") as ours,
                pypiserver(folder / "theirs") as theirs,
            ):
                cold.append([_asked(server, headers, 1) for server in (ours, theirs)])
                warm.append([_asked(server, headers, 20) for server in (ours, theirs)])
        for name, values in (("first asked", cold), ("asked again", warm)):
            mine, other = zip(*values, strict=True)
            title = f"page of 2,000 files, {form}, {name}"
            figures.append(Figure(name=title, unit="ms", ours=mine, theirs=other))
    return figures


def _asked(server: Server, headers: dict[str, str], count: int) -> float:
    return median(latencies(server, f"/simple/{LARGE}/", headers, count))
