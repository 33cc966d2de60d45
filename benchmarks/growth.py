"""Does it take longer when there is more? A small store beside a large one, both ours."""

from pathlib import Path
from statistics import median

from benchmarks.load import BROWSER, PIP, latencies, upload_all
from benchmarks.report import Figure
from benchmarks.servers import Server, pypiserver, wheelyard
from benchmarks.stores import Wheel, collection, fill_pypiserver, fill_wheelyard

ROUNDS = 3
WARM = 300
UPLOADS = 40
PAGE = "/simple/project-00007/"
LARGE = "large"


def measure(folder: Path) -> list[Figure]:
    """Ask and upload in a store of 50,000 projects and in one of 10, then for a large page."""
    return [*_stores(folder), *_large_pages(folder)]


def _stores(folder: Path) -> list[Figure]:
    fill_wheelyard(folder / "many", collection(50_000, 1))
    fill_wheelyard(folder / "few", collection(10, 1))
    cold, warm, known, new = ([[], []] for _ in range(4))  # type: tuple[list[list[float]], ...]
    for each in range(ROUNDS):
        for which, name in enumerate(("many", "few")):
            with wheelyard(folder / name, "/health") as server:
                cold[which].extend(latencies(server, PAGE, PIP, 1))
                warm[which].append(median(latencies(server, PAGE, PIP, WARM)))
                if each == 0:
                    forms = [Wheel(PAGE[8:-1], f"2.{number}").form() for number in range(UPLOADS)]
                    known[which].append(median(upload_all(server, forms)))
                    forms = [Wheel(f"new-{number}", "1").form() for number in range(UPLOADS)]
                    new[which].append(median(upload_all(server, forms)))
    versus = "with 10 projects"
    names = ("page, first asked", "page, asked again", "upload, known project", "upload, new one")
    return [
        Figure(
            name=f"{name}, 50,000 projects",
            unit="ms",
            ours=values[0],
            theirs=values[1],
            versus=versus,
            target="1x",
        )
        for name, values in zip(names, (cold, warm, known, new), strict=True)
    ]


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
