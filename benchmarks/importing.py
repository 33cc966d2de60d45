"""Import rates from a folder, in files per second, beside a plain copy with SHA-256."""

import hashlib
import os
import time
from pathlib import Path

from benchmarks.processes import run
from benchmarks.report import Figure
from benchmarks.servers import environment, settle, wheelyard_command
from benchmarks.stores import collection, fill_pypiserver

ROUNDS = 3
PROJECTS = 400
FILES = 10
LARGE = 2000


def measure(folder: Path) -> list[Figure]:
    """Measure imports: 4,000 small wheels of 400 projects, again, and 2,000 of one project."""
    many, one = folder / "many", folder / "one"
    fill_pypiserver(many, collection(PROJECTS, FILES))
    fill_pypiserver(one, {"large": LARGE})
    rounds = [_round(folder, each, many, one) for each in range(ROUNDS)]
    names = ("4,000 files of 400 projects", "the same again", "2,000 files of one project")
    counts = (PROJECTS * FILES, PROJECTS * FILES, LARGE)
    figures = [
        Figure(
            name=f"import, {name}",
            unit="/s",
            ours=[count / each[row][0] for each in rounds],
            theirs=[count / each[row][1] for each in rounds],
            versus="copied, hashed, synced",
            target="" if row else ">= 300 /s",
        )
        for row, (name, count) in enumerate(zip(names, counts, strict=True))
    ]
    most = [each[3][0] for each in rounds]
    return [*figures, Figure(name="import, most memory", unit="MiB", ours=most)]


def _round(folder: Path, each: int, many: Path, one: Path) -> list[tuple[float, float]]:
    """
    Return the seconds of the three imports, each beside those of a plain copy of its files.

    The last pair is the peak memory of the first import in MiB, and 0.
    """
    store = folder / f"store-{each}"
    settle()
    copied = _copied(many, folder / f"copy-{each}")
    settle()
    new, peak = _imported(many, store)
    again, _ = _imported(many, store)
    settle()
    copied_one = _copied(one, folder / f"copy-one-{each}")
    settle()
    large, _ = _imported(one, folder / f"one-{each}")
    return [(new, copied), (again, copied), (large, copied_one), (peak, 0.0)]


def _imported(source: Path, store: Path) -> tuple[float, float]:
    """Run an import; return its seconds, start included, and its peak memory in MiB."""
    command = wheelyard_command("import", "--store", store, source)
    spent = run(command, environment(store.parent))
    return spent.seconds, spent.memory


def _copied(source: Path, target: Path) -> float:
    """Copy, hash and sync all files of a folder, as an import has to; return the seconds."""
    target.mkdir()
    begun = time.perf_counter()
    for path in sorted(source.iterdir()):
        body = path.read_bytes()
        hashlib.sha256(body).hexdigest()
        with (target / path.name).open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - begun
