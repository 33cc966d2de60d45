"""
Would the tests notice a mistake? Single changes to the code (mutants), each run against the tests.

    python -m tools.mutants --seed 16 --count 300   # all of src/
    python -m tools.mutants --seed 16 --count 40 catalog

A mutant is run against the tests that run its line, the quickest first, until one fails; a test
that hangs has noticed the change. These are tests of `--fast`, and those with sockets of some
folders. A test that starts a process is of no use here: the process imports the code without the
change. Which tests run a line, and how long they take, is measured before, for each folder whose
tests have been changed, or for all if the code has been changed.

The sample is drawn anew for each seed, and is not kept: whoever runs it reads the changes that
survive, and writes a test for those that matter. A run that was stopped goes on where it was.

Two libraries of PyPI's do this: mutmut makes no changes outside functions, and Cosmic Ray edits the
working files. Neither runs the quickest tests of a line first.
"""

import argparse
import hashlib
import importlib
import random
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Final

from coverage import CoverageData

from tests.plugins.isolation import FOLDERS
from tools.covering import FORK, Measured, data, killer, measured
from tools.mutations import Mutant, mutants

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ROOT / "src"
CACHE: Final = ROOT / ".cache" / "mutants"
WEIGHTS: Final = dict.fromkeys(("guard", "raise", "comparison", "boolean"), 4) | dict.fromkeys(
    ("call", "branch", "return", "number"), 2
)
"""The relative frequency of each kind in the sample."""
IMPORT: Final = ""
"""The coverage context of lines that run at import."""
SERVING: Final = frozenset(
    {"http", "http_client", "operations", "sources", "storage", "authentication", "upstream"}
)
"""Folders of which tests with sockets are run, too: no others run the code of clients."""
TURN: Final = 0.01
"""Seconds by which a test comes later for each quicker one of the same function."""
FIRST: Final = (200, 10.0)
REST: Final = (1000, 30.0)
"""The maximum number of tests, and of seconds."""


@dataclass(frozen=True)
class MutantRunner:
    """Chooses tests and runs them. It knows what was measured of each folder of tests."""

    measured: dict[Path, Measured]

    @cached_property
    def seconds(self) -> dict[str, float]:
        """The duration of each test that passes without mutation."""
        failed = {test for folder in self.measured.values() for test in folder.failed}
        durations: dict[str, float] = {}
        for folder in self.measured.values():
            durations |= folder.seconds
        return {test: duration for test, duration in durations.items() if test not in failed}

    def killer(self, mutant: Mutant) -> str:
        """Return the first test that fails with a change, or an empty text if none does."""
        path = ROOT / mutant.path
        module = ".".join(mutant.path.relative_to("src").with_suffix("").parts)
        module = module.removesuffix(".__init__")
        changed = mutant.changed(path.read_text(encoding="utf-8"))
        stages = (killer(module, path, changed, tests) for tests in self.chosen(mutant))
        return next(filter(None, stages), "")

    def chosen(self, mutant: Mutant) -> tuple[list[str], list[str]]:
        """
        Return the tests that run first, all of which run the line, and those that run then.

        Those are others that run the line, and others of the same files, which share fixtures with
        them. If the line is run when the module is imported, those that run any line of it follow.
        Of those that run the line, the ones come first that go another way after it than most do:
        where the line is a condition or a check, they are what it is for. Next are those in the
        folder of the package.
        """
        next_line = mutant.last[0] + 1
        on_line, on_next, in_module = set[str](), set[str](), set[str]()
        for location in self.measured:
            tests_by_line = _contexts(location, ROOT / mutant.path)
            in_module.update(*tests_by_line.values())
            for line in range(mutant.first[0], next_line):
                on_line.update(tests_by_line.get(line, ()))
            on_next.update(tests_by_line.get(next_line, ()))
        on_next &= on_line
        odd = on_next if 2 * len(on_next) < len(on_line) else on_line - on_next
        files = {_file(test) for test in on_line}
        near = f"tests/{mutant.path.parts[2]}/"
        ranks = {
            test: (
                *(test not in on_line, test not in odd, not test.startswith(near)),
                turn * TURN + self.seconds[test],
            )
            for test, turn in _turns(sorted(self.seconds, key=self.seconds.__getitem__))
            if _file(test) in files or (IMPORT in on_line and test in in_module)
        }
        ranked = sorted(ranks, key=ranks.__getitem__)
        first = list(self._at_most(*FIRST, (test for test in ranked if test in on_line)))
        return first, list(self._at_most(*REST, (test for test in ranked if test not in first)))

    def _at_most(self, number: int, seconds: float, tests: Iterable[str]) -> Iterator[str]:
        for test in tests:
            if number and self.seconds[test] <= seconds:
                number, seconds = number - 1, seconds - self.seconds[test]
                yield test


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("package", nargs="?", default="")
    options = parser.parse_args()
    run(list(drawn(options.seed, options.count, options.package)), options.jobs)


def drawn(seed: int, number: int, package: str = "") -> Iterator[Mutant]:
    """Yield mutants of a package, or of all of them, no two of them at the same code."""
    chance = random.Random(f"{package} {seed}")
    by_kind: dict[str, list[Mutant]] = {kind: [] for kind in WEIGHTS}
    for path in sorted((SOURCES / "wheelyard" / package).rglob("*.py")):
        for mutant in mutants(path.relative_to(ROOT), path.read_text(encoding="utf-8")):
            by_kind[mutant.kind].append(mutant)
    for group in by_kind.values():
        chance.shuffle(group)
    taken = set[tuple[Path, tuple[int, int]]]()
    while len(taken) < number and any(by_kind.values()):
        kinds = [kind for kind, group in by_kind.items() if group]
        mutant = by_kind[chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]].pop()
        if (mutant.path, mutant.first) not in taken:
            taken.add((mutant.path, mutant.first))
            yield mutant


def run(sample: Sequence[Mutant], jobs: int) -> None:
    """Judge mutants, and print those that survive."""
    CACHE.mkdir(parents=True, exist_ok=True)
    runner = _measured(jobs)
    log = CACHE / f"{_digest('src', 'tests')}.txt"
    results = dict[str, str]()
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines()
        results = dict(line.split("\t", 1) for line in lines)
    todo = [mutant for mutant in sample if str(mutant) not in results]
    with ProcessPoolExecutor(jobs, FORK) as pool, log.open("a", encoding="utf-8") as file:
        for mutant, test in zip(todo, pool.map(runner.killer, todo), strict=True):
            results[str(mutant)] = test
            print(mutant, test or "SURVIVED", sep="\t", flush=True)
            print(mutant, test, sep="\t", file=file, flush=True)
    survivors = [mutant for mutant in sample if not results[str(mutant)]]
    print("", *survivors, sep="\n")
    totals = Counter(mutant.path.parts[2] for mutant in sample)
    survived = Counter(mutant.path.parts[2] for mutant in survivors)
    for package, total in sorted(totals.items()):
        print(f"{package}: {total - survived[package]} of {total} noticed")
    print(f"all: {len(sample) - len(survivors)} of {len(sample)} noticed")


def _measured(jobs: int) -> MutantRunner:
    """Return what the tests are like, each folder measured once for the code as it is."""
    folders = [path.name for path in sorted((ROOT / "tests").iterdir()) if path.is_dir()]
    folders = [name for name in folders if name not in FOLDERS]
    places = [CACHE / f"{name}-{_digest('src', f'tests/{name}')}.json" for name in folders]
    options = [[f"tests/{name}", *([] if name in SERVING else ["--fast"])] for name in folders]
    with ProcessPoolExecutor(jobs, FORK) as pool:
        runs = list(pool.map(measured, places, options))
    for test in (test for run in runs for test in run.failed):
        print(f"left out, as it fails without any change: {test}", flush=True)
    for library in {name for run in runs for name in run.libraries}:
        with warnings.catch_warnings(action="ignore"), suppress(ImportError):
            importlib.import_module(library)
    return MutantRunner(dict(zip(places, runs, strict=True)))


def _digest(*folders: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for top in folders for path in (ROOT / top).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _contexts(location: Path, path: Path) -> dict[int, list[str]]:
    """Return the tests of one folder that run each line of a module."""
    coverage = CoverageData(str(data(location)))
    coverage.read()
    return coverage.contexts_by_lineno(str(path))


def _file(test: str) -> str:
    return test.partition("::")[0]


def _turns(tests: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Number the tests of each function: so the many parameters of one do not crowd out others."""
    turns = defaultdict[str, Iterator[int]](count)
    for test in tests:
        yield test, next(turns[test.partition("[")[0]])


if __name__ == "__main__":
    main()
