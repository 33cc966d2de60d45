"""
Would the tests notice a mistake? Single changes to the code (mutants), each run against the tests.

    python -m tools.mutants sample --seed 14   # draw another sample into tools/mutants.toml
    python -m tools.mutants run [TEXT]         # all, or those whose line in the results has a text

A mutant is run against the tests that run its line, the quickest first, until one fails; a test
that hangs has noticed the change. These are tests of `--fast`, and those with sockets of some
folders. A test that starts a process is of no use here: the process imports the code without the
change. Which tests run a line, and how long they take, is measured before, for each folder whose
tests have been changed, or for all if the code has been changed.

`run` writes a line for each mutant into `tools/mutants_found.txt`, and names those that were killed
before and are not any more. It goes on where it was stopped, unless something has been changed.

Two libraries of PyPI's do this, and neither keeps a sample while code moves: mutmut numbers the
changes within each function and makes none outside functions, and Cosmic Ray knows a change by its
line and edits the working files.
"""

import argparse
import hashlib
import importlib
import json
import random
import sys
import tomllib
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
from coverage import CoverageData

from tests.plugins.isolation import FOLDERS
from tools.covering import FORK, Measured, data, killer, measured
from tools.mutations import Mutant, find, mutants, replaced

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ROOT / "src"
SAMPLE: Final = ROOT / "tools" / "mutants.toml"
FOUND: Final = ROOT / "tools" / "mutants_found.txt"
CACHE: Final = ROOT / ".cache" / "mutants"
PACKAGES: Final = ("archive", "catalog", "http", "model", "authentication", "operations", "storage")
WANTED: Final = 23
"""The number of mutants in the sample of each package."""
WEIGHTS: Final = dict.fromkeys(("guard", "raise", "comparison", "boolean"), 4) | dict.fromkeys(
    ("call", "branch", "return", "number"), 2
)
"""The relative frequency of each kind in the sample."""
STATES: Final = ("killed", "survived", "elsewhere", "equivalent", "gone")
IMPORT: Final = ""
"""The coverage context of lines that run at import."""
SERVING: Final = frozenset({"http", "operations", "sources", "storage", "authentication"})
"""Folders of which tests with sockets are run, too: no others run the code of clients."""
TURN: Final = 0.01
"""Seconds by which a test comes later for each quicker one of the same function."""
FIRST: Final = (200, 10.0)
REST: Final = (1000, 30.0)
"""The maximum number of tests, and of seconds."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for a mutant: killed (and by which test), survived, gone or equivalent."""

    mutant: str
    state: str
    by: str = ""

    def __str__(self) -> str:
        return f"{self.state}\t{self.mutant}\t{self.by}"

    @property
    def package(self) -> str:
        """The package that the mutant is in."""
        return self.mutant.split(".")[1]


@dataclass(frozen=True, slots=True)
class CodeLocation:
    """The current location of a mutant's code: its file, the mutated content, and the lines."""

    path: Path
    changed: str
    lines: range

    @property
    def module(self) -> str:
        """The name of the module, with dots."""
        return ".".join(self.path.relative_to(SOURCES).with_suffix("").parts).removesuffix(
            ".__init__"
        )


@dataclass(frozen=True)
class MutantRunner:
    """Chooses tests and runs them. It knows what was measured of each folder of tests."""

    measured: dict[Path, Measured]

    @cached_property
    def seconds(self) -> dict[str, float]:
        """The duration of each test that passes without mutation."""
        every = (each for found in self.measured.values() for each in found.seconds.items())
        failed = {each for found in self.measured.values() for each in found.failed}
        return {test: seconds for test, seconds in every if test not in failed}

    def judge(self, mutant: Mutant) -> Verdict:
        """Run tests with one change until one fails."""
        if mutant.equivalent:
            return Verdict(str(mutant), "equivalent")
        location = located(mutant)
        if location is None:
            return Verdict(str(mutant), "gone")
        if mutant.elsewhere:
            return Verdict(str(mutant), "elsewhere", mutant.elsewhere)
        stages = self.chosen(location)
        tried = (
            killer(location.module, location.path, location.changed, stage) for stage in stages
        )
        by = next(filter(None, tried), "")
        unseen = "" if any(stages) else "no test runs it"
        return Verdict(str(mutant), "killed" if by else "survived", by or unseen)

    def chosen(self, location: CodeLocation) -> tuple[list[str], list[str]]:
        """
        Return the tests that run first, all of which run the line, and those that run then.

        Those are others that run the line, and others of the same files, which share fixtures with
        them. If the line is run when the module is imported, those that run any line of it follow.
        Of those that run the line, the ones come first that go another way after it than most do:
        where the line is a condition or a check, they are what it is for. Next are those in the
        folder of the package.
        """
        found = [_contexts(file, location.path) for file in self.measured]
        on_line = {test for each in found for line in location.lines for test in each.get(line, ())}
        on_next = {
            test
            for each in found
            for test in on_line.intersection(each.get(location.lines.stop, ()))
        }
        in_module = {test for each in found for tests in each.values() for test in tests}
        odd = on_next if 2 * len(on_next) < len(on_line) else on_line - on_next
        files = {_file(test) for test in on_line}
        near = f"tests/{location.module.split('.')[1]}/"
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
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("sample").add_argument("--seed", type=int, required=True)
    running = commands.add_parser("run")
    running.add_argument("--jobs", type=int, default=2)
    running.add_argument("text", nargs="?", default="")
    given = parser.parse_args()
    if given.command == "sample":
        write_sample(given.seed)
    else:
        sys.exit(run(given.jobs, given.text))


def read_sample() -> list[Mutant]:
    """Return the mutants of the committed sample."""
    table = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
    return msgspec.convert(table["mutant"], list[Mutant])


def write_sample(seed: int) -> None:
    """Draw another sample. Known gaps stay in it, and so does what is known of a mutant."""
    old = read_sample()
    gaps = [each for each in old if each.gap]
    known = {replace(each, gap="", equivalent="", elsewhere=""): each for each in old}
    drawn = (known.get(each, each) for package in PACKAGES for each in _drawn(package, seed))
    head = f"# Written by `python -m tools.mutants sample --seed {seed}`.\n"
    tables = map(_table, dict.fromkeys((*gaps, *drawn)))
    SAMPLE.write_text("\n".join((head, *tables)), encoding="utf-8")


def run(jobs: int, text: str) -> int:
    """Judge mutants and write down what became of each; return 1 if one is killed no more."""
    CACHE.mkdir(parents=True, exist_ok=True)
    sample, before = read_sample(), read_found(FOUND)
    chosen = [each for each in sample if text in str(before.get(str(each), each))]
    judge = _measured(jobs)
    known = f"{judge.measured.keys()} {SAMPLE.read_text(encoding='utf-8')}".encode()
    log = CACHE / f"{hashlib.sha256(known).hexdigest()[:16]}.txt"
    todo = [each for each in chosen if str(each) not in read_found(log)]
    with ProcessPoolExecutor(jobs, FORK) as pool, log.open("a", encoding="utf-8") as file:
        for verdict in pool.map(judge.judge, todo):
            print(verdict, flush=True)
            print(verdict, file=file, flush=True)
    new = {str(each): read_found(log)[str(each)] for each in chosen}
    after = before | new
    lines = (f"{after[str(each)]}\n" for each in sample if str(each) in after)
    FOUND.write_text("".join(lines), encoding="utf-8")
    lost = [
        str(each)
        for name, each in new.items()
        if _was_killed(before, name) and each.state != "killed"
    ]
    print(
        "",
        *_summary(after.values()),
        "",
        "Killed before, and not any more:",
        *(lost or ["none"]),
        sep="\n",
    )
    return bool(lost)


def read_found(file: Path) -> dict[str, Verdict]:
    """Return what became of each mutant, as it stands in a file; nothing if there is no file."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    verification_cache = (line.split("\t") for line in text.splitlines())
    return {name: Verdict(name, state, by) for state, name, by in verification_cache}


def located(mutant: Mutant) -> CodeLocation | None:
    """
    Find the code of a mutant, and change it.

    If it is not where it was drawn, it may have moved into another module with its function: that
    is believed if there is one such place.
    """
    own = (SOURCES / Path(*mutant.module.split("."))).with_suffix(".py")
    if own.exists() and (location := _changed(mutant, own)):
        return location
    paths = SOURCES.rglob("*.py") if mutant.function else ()
    places = [location for path in paths if (location := _changed(mutant, path))]
    return places[0] if len(places) == 1 else None


def _changed(mutant: Mutant, path: Path) -> CodeLocation | None:
    source = path.read_text(encoding="utf-8")
    node = find(mutant, source)
    if node is None:
        return None
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return CodeLocation(path, replaced(source, node, mutant.replacement), lines)


def _drawn(package: str, seed: int) -> Iterator[Mutant]:
    """Yield as many mutants of a package as are wanted, no two at the same code."""
    chance = random.Random(f"{package} {seed}")
    by_kind: dict[str, list[Mutant]] = {kind: [] for kind in WEIGHTS}
    for path in sorted((ROOT / "src" / "wheelyard" / package).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        source = path.read_text(encoding="utf-8")
        for each in mutants(module.removesuffix(".__init__"), source):
            by_kind[each.kind].append(each)
    taken = set[Mutant]()
    while len(taken) < WANTED:
        kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        each = chance.choice(by_kind[kind])
        location = replace(each, kind="", replacement="")
        if location not in taken:
            taken.add(location)
            yield each


def _table(mutant: Mutant) -> str:
    """Return a mutant as TOML, whose strings are JSON's."""
    values = {name: value for name, value in asdict(mutant).items() if value or name == "function"}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
    return f"[[mutant]]\n{text}\n"


def _measured(jobs: int) -> MutantRunner:
    """Return what the tests are like, each folder measured once for the code as it is."""
    folders = [each.name for each in sorted((ROOT / "tests").iterdir()) if each.is_dir()]
    folders = [each for each in folders if each not in FOLDERS]
    places = [CACHE / f"{each}-{_digest('src', f'tests/{each}')}.json" for each in folders]
    options = [[f"tests/{each}", *([] if each in SERVING else ["--fast"])] for each in folders]
    with ProcessPoolExecutor(jobs, FORK) as pool:
        found = list(pool.map(measured, places, options))
    for failed in (test for each in found for test in each.failed):
        print(f"left out, as it fails without any change: {failed}", flush=True)
    for library in {name for each in found for name in each.libraries}:
        with warnings.catch_warnings(action="ignore"), suppress(ImportError):
            importlib.import_module(library)
    return MutantRunner(dict(zip(places, found, strict=True)))


def _digest(*folders: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for top in folders for path in (ROOT / top).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _contexts(location: Path, path: Path) -> dict[int, list[str]]:
    """Return the tests of one folder that run each line of a module."""
    found = CoverageData(str(data(location)))
    found.read()
    return found.contexts_by_lineno(str(path))


def _file(test: str) -> str:
    return test.partition("::")[0]


def _turns(tests: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Number the tests of each function: so the many parameters of one do not crowd out others."""
    turns = defaultdict[str, Iterator[int]](count)
    for test in tests:
        yield test, next(turns[test.partition("[")[0]])


def _was_killed(before: Mapping[str, Verdict], mutant: str) -> bool:
    return mutant in before and before[mutant].state == "killed"


def _summary(verification_cache: Collection[Verdict]) -> Iterator[str]:
    yield from (
        "| package | killed | survived | elsewhere | equivalent | gone |",
        "|---|---|---|---|---|---|",
    )
    for package in (*sorted({each.package for each in verification_cache}), "all"):
        states = Counter(
            each.state for each in verification_cache if package in {"all", each.package}
        )
        yield f"| {package} | " + " | ".join(str(states[state]) for state in STATES) + " |"


if __name__ == "__main__":
    main()
