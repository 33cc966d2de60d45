"""
Run benchmarks and print their figures.

    python -m benchmarks [NAME ...]

Without a name, run all of them.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import access, bucket, closure, exporting, importing, memory, scaling, speed
from benchmarks.report import Figure, show
from benchmarks.servers import machine

FIGURES: dict[str, Callable[[Path], list[Figure]]] = {
    "start": speed.cold_start,
    "pages": speed.pages,
    "uploads": speed.uploads,
    "memory": memory.measure,
    "growth": scaling.measure,
    "bucket": bucket.measure,
    "closure": closure.measure,
    "access": access.measure,
    "import": importing.measure,
    "export": exporting.measure,
}


def main() -> None:
    """Run the benchmarks that the command line names, and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=", ".join(FIGURES))
    asked: list[str] = parser.parse_args().name or list(FIGURES)
    if unknown := set(asked) - set(FIGURES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    print(machine())
    for name in asked:
        begun = time.perf_counter()
        with TemporaryDirectory(prefix="benchmarks-") as folder:
            figures = FIGURES[name](Path(folder))
        show(f"{name}: {FIGURES[name].__doc__}", figures)
        print(f"took {time.perf_counter() - begun:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
