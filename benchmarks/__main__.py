"""
Run benchmarks and print their figures.

    python -m benchmarks NAME ...
    python -m benchmarks all

`all` runs every benchmark, and writes the figures and their chart to `benchmarks/results`.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import (
    access,
    bucket,
    closure,
    downloads,
    exporting,
    importing,
    machine,
    memory,
    month,
    pages,
    results,
    scaling,
    sent,
    speed,
)
from benchmarks.report import Figure, show

FIGURES: dict[str, Callable[[Path], list[Figure]]] = {
    "pages": pages.measure,
    "downloads": downloads.measure,
    "start": speed.cold_start,
    "uploads": speed.uploads,
    "meanwhile": speed.reading_meanwhile,
    "memory": memory.measure,
    "growth": scaling.measure,
    "bucket": bucket.measure,
    "closure": closure.measure,
    "month": month.measure,
    "bytes": sent.measure,
    "access": access.measure,
    "import": importing.measure,
    "export": exporting.measure,
}


def main() -> None:
    """Run the benchmarks that the command line names, and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="+", help=", ".join(["all", *FIGURES]))
    asked: list[str] = parser.parse_args().name
    is_all = asked == ["all"]
    if unknown := set() if is_all else set(asked) - set(FIGURES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    facts = machine.describe()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    for missing in machine.missing_programs():
        print(f"benchmarks: {missing}", file=sys.stderr)
    for name in FIGURES if is_all else asked:
        begun, title = time.perf_counter(), FIGURES[name].__doc__ or ""
        with TemporaryDirectory(prefix="benchmarks-") as folder:
            figures = FIGURES[name](Path(folder))
        show(f"{name}: {title}", figures)
        if is_all:
            results.write(name, title, figures, facts)
        print(f"took {time.perf_counter() - begun:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
