"""Costs of static exports: all pages beside dumb-pypi, and one more file."""

import json
import os
import subprocess
import time
from hashlib import sha256
from pathlib import Path

from benchmarks.report import Figure
from benchmarks.servers import environment, settle, wheelyard_command
from benchmarks.stores import Wheel, collection, fill_wheelyard, wheels
from tests.clients.harness import program
from wheelyard.catalog import keys
from wheelyard.model.distribution_filename import parse_name

ROUNDS = 2
COLLECTIONS = {"1,300": (1300, 40), "5,200": (5200, 10)}
"""
52,000 files either way: dumb-pypi's work grows with the files, ours with the releases and the
projects, each of which has pages of its own.
"""
ROWS = (
    ("export, 52,000 files of {} projects", "s", "dumb-pypi", "<= 0.125x"),
    ("export of one more file, {} projects", "ms", "export --help", "<= 60 ms more"),
    ("upload --export of a file, {} projects, processor time", "ms", "upload", "< 100 ms more"),
)
URL = "https://files.example.com"
SITE = "https://packages.example.com"


def measure(folder: Path) -> list[Figure]:
    """Measure exports of 52,000 files: all of them, and one more."""
    figures = list[Figure]()
    for name, (projects, files) in COLLECTIONS.items():
        place = folder / name.replace(",", "")
        store, listed = place / "store", place / "packages.json"
        plan = collection(projects, files)
        fill_wheelyard(store, plan)
        _describe(store, plan)
        _list(listed, plan)
        rounds = [_round(place, each, store, listed) for each in range(ROUNDS)]
        figures += [
            Figure(
                name=each.format(name),
                unit=unit,
                ours=[taken[row][0] for taken in rounds],
                theirs=[taken[row][1] for taken in rounds],
                versus=versus,
                target=target,
            )
            for row, (each, unit, versus, target) in enumerate(ROWS)
        ]
    return figures


def _round(folder: Path, each: int, store: Path, listed: Path) -> list[tuple[float, float]]:
    """Return for each of `ROWS` a figure of wheelyard, and one to compare it with."""
    site = folder / f"site-{each}"
    export = ("export", "--store", store, "--files", URL, "--base-url", SITE, site)
    settle()
    theirs = _taken(_dumb_pypi(listed, folder / f"theirs-{each}"))
    settle()
    made = _taken(wheelyard_command(*export))
    settle()
    plain, one = folder / f"plain-{each}.d", folder / f"one-{each}.d"
    for place, version in ((plain, f"2.{each}"), (one, f"3.{each}")):
        place.mkdir()
        wheel = Wheel("project-00007", version)
        (place / wheel.filename).write_bytes(wheel.body)
    upload = ("upload", "--store", store)
    alone = _worked(wheelyard_command(*upload, *plain.iterdir()))
    settle()
    start = _taken(wheelyard_command("export", "--help")) * 1000
    more = _taken(wheelyard_command(*export)) * 1000
    both = _worked(wheelyard_command(*upload, "--export", site, *one.iterdir()))
    return [(made, theirs), (more, start), (both, alone)]


def _describe(store: Path, plan: dict[str, int]) -> None:
    """Write the core metadata of each release into the store, for its page."""
    for project, count in plan.items():
        for wheel in wheels(project, count):
            digest = sha256(wheel.filename.encode()).hexdigest()
            path = store / keys.core_metadata(parse_name(project), digest, wheel.filename)
            path.parent.mkdir(parents=True)
            path.write_bytes(wheel.metadata)


def _list(path: Path, plan: dict[str, int]) -> None:
    """Write the package list of a collection that dumb-pypi makes its pages of."""
    with path.open("w") as file:
        for project, count in plan.items():
            for wheel in wheels(project, count):
                digest = sha256(wheel.filename.encode()).hexdigest()
                line = {
                    "filename": wheel.filename,
                    "hash": f"sha256={digest}",
                    "requires_python": ">=3.9",
                    "upload_timestamp": 1767268800,
                    "uploaded_by": "benchmark",
                    "core_metadata": f"sha256={sha256(wheel.metadata).hexdigest()}",
                }
                file.write(json.dumps(line) + "\n")


def _dumb_pypi(listed: Path, target: Path) -> list[str]:
    command = program("dumb-pypi", "dumb-pypi")
    options = ("--package-list-json", listed, "--packages-url", URL, "--output-dir", target)
    return [str(each) for each in (command, *options)]


def _taken(command: list[str]) -> float:
    """Run a command; return how many seconds it took."""
    begun = time.perf_counter()
    _run(command)
    return time.perf_counter() - begun


def _worked(command: list[str]) -> float:
    """Run a command; return how many milliseconds of processor time it took."""
    before = os.times()
    _run(command)
    after = os.times()
    spent = after.children_user - before.children_user
    return (spent + after.children_system - before.children_system) * 1000


def _run(command: list[str]) -> None:
    found = environment(Path("/nonexistent"))
    subprocess.run(command, capture_output=True, check=True, env=found)
