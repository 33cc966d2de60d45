"""
Run benchmarks and print their figures.

`all` runs every benchmark, and writes the figures and their chart to `benchmarks/results`. The
first run installs the servers to compare with into `.cache`. benchmarks/README.md says what each
name measures.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks import (
    access,
    bucket,
    closure,
    costs,
    downloads,
    exporting,
    indexes,
    machine,
    memory,
    month,
    pages,
    results,
    rules,
    scaling,
    speed,
    upstream,
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
    "upstream": upstream.measure,
    "month": month.measure,
    "access": access.measure,
    "indexes": indexes.measure,
    "export": exporting.measure,
    "costs": costs.measure,
    "rules": rules.measure,
}


def main() -> None:
    """Run the benchmarks that the command line names, and print their figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        usage="python -m benchmarks [--beside COMMIT] all | NAME...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="+", help=", ".join(["all", *FIGURES]))
    parser.add_argument(
        "--beside", metavar="COMMIT", default="", help="for export, costs and rules"
    )
    options = parser.parse_args()
    asked: list[str] = options.name
    measures = FIGURES | {
        name: update_wrapper(partial(measure, older=options.beside), measure)
        for name, measure in (
            ("export", exporting.measure),
            ("costs", costs.measure),
            ("rules", rules.measure),
        )
    }
    is_all = asked == ["all"]
    if unknown := set() if is_all else set(asked) - set(FIGURES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    facts = machine.describe()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    for missing in machine.missing_programs():
        print(f"benchmarks: {missing}", file=sys.stderr)
    names = [*FIGURES] if is_all else asked
    failed = [name for name in names if not _run(name, measures[name], facts if is_all else None)]
    if failed:
        sys.exit(f"benchmarks: failed, see above: {', '.join(failed)}")


def _run(
    name: str, measure: Callable[[Path], list[Figure]], facts: Mapping[str, str] | None
) -> bool:
    """
    Run one benchmark, print its figures, and return whether it has worked.

    With `facts` about the machine, also write the figures to `benchmarks/results`.
    """
    begun, title = time.perf_counter(), measure.__doc__ or ""
    try:
        with TemporaryDirectory(prefix="benchmarks-") as folder:
            figures = measure(Path(folder))
    except (Exception, pytest.skip.Exception):  # noqa: BLE001 - the others may work
        traceback.print_exc()
        return False
    show(f"{name}: {title}", figures)
    if facts is not None:
        results.write(name, title, figures, facts)
    print(f"{name} took {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return True


if __name__ == "__main__":
    main()
