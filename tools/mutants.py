"""
Would the tests notice a mistake? Single changes to the code (mutants), each run against the tests.

    python -m tools.mutants sample --seed 14   # draw another sample into tools/mutants.toml
    python -m tools.mutants run [--jobs 2] [--only storage]

The tests run in copies of the repository under `.cache/mutants`, so that several run at once, and
the servers that tests start run the changed code too. All tests of the folders that are named here
for its package are run until one fails; those that run the changed line come first. A test that
hangs has noticed the change.

Two libraries of PyPI's do this, and neither keeps a sample while code moves: mutmut numbers the
changes within each function and makes none outside functions, and Cosmic Ray knows a change by its
line and edits the working files.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryFile
from typing import Final, TextIO

import msgspec
from coverage import CoverageData

from tools.mutations import Mutant, find, mutants, replaced

ROOT: Final = Path(__file__).resolve().parents[1]
SAMPLE: Final = ROOT / "tools" / "mutants.toml"
CACHE: Final = ROOT / ".cache" / "mutants"
PACKAGES: Final = ("archive", "catalog", "http", "model", "operations", "storage", "trust")
WANTED: Final = 23
"""How many mutants are drawn in each of these packages."""
WEIGHTS: Final = dict.fromkeys(("guard", "raise", "comparison", "boolean"), 4) | dict.fromkeys(
    ("call", "branch", "return", "number"), 2
)
"""How often each kind is drawn, next to the others."""
FOLDERS: Final = {
    "archive": ("archive", "operations"),
    "catalog": ("catalog", "operations"),
    "http": ("http", "access"),
    "model": ("model", "archive", "operations"),
    "operations.exporting": ("exporting", "operations"),
    "operations": ("operations",),
    "rendering": ("rendering", "http"),
    "sources": ("sources",),
    "storage": ("storage",),
    "trust": ("trust",),
}
"""
The folders whose tests have to notice a change, the nearest first, by the beginning of the module's
name; the first that fits counts.
"""
LONGEST_TEST: Final = 120
LONGEST_RUN: Final = 1800
"""Seconds after which a test, or pytest, hangs."""
PASSED: Final = (0, 5)
"""The status of pytest when no test failed; 5 is that none was collected."""
PYTEST: Final = (
    *("-m", "pytest", "-q", "--tb=no", "-m", "not clients and not downloads"),
    *("-p", "tools.covering", "-p", "no:cacheprovider", "-p", "no:randomly"),
    *(("-n0",) if importlib.util.find_spec("xdist") else ()),
    *("-o", f"faulthandler_timeout={LONGEST_TEST}", "-o", "faulthandler_exit_on_timeout=true"),
)
NOT_COPIED: Final = (".git", ".venv", ".cache", ".*_cache", ".nox", "__pycache__")
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: killed (and by what), survived, gone or equivalent."""

    mutant: Mutant
    state: str
    by: str = ""

    def __str__(self) -> str:
        gap = f" [gap: {self.mutant.gap}]" if self.mutant.gap else ""
        return f"{self.state:10} {self.mutant}{gap}  {self.by}".rstrip()


@dataclass(frozen=True, slots=True)
class Runner:
    """
    Where mutants are run.

    Args:
        trees: Copies of the repository that nobody uses now.
        lines: Which tests run which line, as coverage tells it, for each folder of tests.
    """

    trees: SimpleQueue[Path]
    lines: dict[str, CoverageData]

    def judge(self, mutant: Mutant) -> Verdict:
        """Make one change in a copy, and run the tests until one fails."""
        if mutant.equivalent:
            return Verdict(mutant, "equivalent")
        path = _path(mutant.module)
        source = path.read_text(encoding="utf-8") if path.exists() else ""
        node = find(mutant, source)
        if node is None:
            return Verdict(mutant, "gone")
        tree = self.trees.get()
        changed = tree / path.relative_to(ROOT)
        folders = _folders(mutant.module)
        first = self._running(path, range(node.lineno, (node.end_lineno or 0) + 1), folders)
        try:
            _write(changed, replaced(source, node, mutant.replacement))
            by = _run(tree, *PYTEST, "-x", *first, *(f"tests/{folder}" for folder in folders))
            return Verdict(mutant, "killed" if by else "survived", by)
        finally:
            _write(changed, source)
            self.trees.put(tree)

    def _running(self, path: Path, span: range, folders: Sequence[str]) -> Iterator[str]:
        """Yield an option of `tools/covering.py` for each test function that runs some lines."""
        for folder in folders:
            contexts = self.lines[folder].contexts_by_lineno(str(path))
            for test in sorted({test for line in span for test in contexts.get(line, ())} - {""}):
                yield f"--first={test}"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants")
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("sample").add_argument("--seed", type=int, required=True)
    running = commands.add_parser("run")
    running.add_argument("--jobs", type=int, default=2)
    running.add_argument("--only", default="", metavar="PACKAGE")
    given = parser.parse_args()
    if given.command == "sample":
        write_sample(given.seed)
    else:
        run(given.jobs, [each for each in read_sample() if given.only in {"", each.package}])


def read_sample() -> list[Mutant]:
    """Return the mutants of the committed sample."""
    table = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
    return msgspec.convert(table["mutant"], list[Mutant])


def write_sample(seed: int) -> None:
    """Draw another sample. Known gaps stay in it, and so does what is known of a mutant."""
    old = read_sample()
    gaps = [each for each in old if each.gap]
    known = {replace(each, gap="", equivalent=""): each for each in old}
    drawn = (known.get(each, each) for package in PACKAGES for each in _drawn(package, seed))
    head = f"# Written by `python -m tools.mutants sample --seed {seed}`.\n"
    tables = map(_table, dict.fromkeys((*gaps, *drawn)))
    SAMPLE.write_text("\n".join((head, *tables)), encoding="utf-8")


def run(jobs: int, chosen: Sequence[Mutant]) -> None:
    """Run mutants against the tests; print what became of each, and how many of each package."""
    CACHE.mkdir(parents=True, exist_ok=True)
    lines = _measured(jobs, dict.fromkeys(f for each in chosen for f in _folders(each.module)))
    trees = SimpleQueue[Path]()
    for number in range(jobs):
        trees.put(_copied(number))
    verdicts = list[Verdict]()
    with ThreadPoolExecutor(jobs) as pool, (CACHE / "results.txt").open("w") as results:
        for verdict in pool.map(Runner(trees, lines).judge, chosen):
            verdicts.append(verdict)
            _say(str(verdict), results)
        _say("\n".join(_summary(verdicts)), results)


def _say(text: str, results: TextIO) -> None:
    """Print, and write down at once: a run that is stopped keeps what it has found out."""
    print(text, flush=True)
    print(text, file=results, flush=True)


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
        place = replace(each, kind="", replacement="")
        if place not in taken:
            taken.add(place)
            yield each


def _table(mutant: Mutant) -> str:
    """Return a mutant as TOML, whose strings are JSON's."""
    values = {name: value for name, value in asdict(mutant).items() if value or name == "function"}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
    return f"[[mutant]]\n{text}\n"


def _measured(jobs: int, folders: Collection[str]) -> dict[str, CoverageData]:
    """Return which tests of some folders run which line, measured once for the code as it is."""
    digest = hashlib.sha256()
    for path in sorted(path for top in ("src", "tests") for path in (ROOT / top).rglob("*.py")):
        digest.update(path.read_bytes())
    with ThreadPoolExecutor(jobs) as pool:
        data = pool.map(partial(_coverage, digest.hexdigest()), folders)
        return dict(zip(folders, data, strict=True))


def _coverage(digest: str, folder: str) -> CoverageData:
    file = CACHE / f"{folder}-{digest[:16]}.coverage"
    if not file.exists():
        for old in CACHE.glob(f"{folder}-*.coverage*"):
            old.unlink()
        unfinished = file.with_suffix(".coverage-unfinished")
        print(f"measuring which lines tests/{folder} runs", flush=True)
        options = ("--rcfile=/dev/null", "--source=wheelyard", f"--data-file={unfinished}")
        by = _run(ROOT, "-m", "coverage", "run", *options, *PYTEST, f"tests/{folder}")
        if by:
            sys.exit(f"tests/{folder} fails without any change: {by}")
        unfinished.rename(file)
    data = CoverageData(str(file))
    data.read()
    return data


def _copied(number: int) -> Path:
    """Return a fresh copy of the repository, without what tools leave behind."""
    tree = CACHE / f"tree-{number}"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return tree


def _folders(module: str) -> tuple[str, ...]:
    return next(FOLDERS[each] for each in FOLDERS if f"{module}.".startswith(f"wheelyard.{each}."))


def _path(module: str) -> Path:
    path = ROOT / "src" / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _write(path: Path, source: str) -> None:
    """Write a module, and forget what is compiled of it: Python compares seconds and sizes."""
    path.write_text(source, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _run(folder: Path, *command: str) -> str:
    """Run Python in a folder, with the code that is in it; return what failed, or nothing."""
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            (sys.executable, *command),
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder / "src")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(LONGEST_RUN)
        except subprocess.TimeoutExpired:
            status = -1
        with suppress(ProcessLookupError):  # what a test has started and left behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        failed = FAILED.search(output.read())
    if status in PASSED:
        return ""
    return failed[1] if failed else f"a test that hung, or pytest's status {status}"


def _summary(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield from ("", "| package | killed | survived | gone |", "|---|---|---|---|")
    for package in (*sorted({each.mutant.package for each in verdicts}), "all"):
        states = Counter(each.state for each in verdicts if package in {"all", each.mutant.package})
        yield f"| {package} | {states['killed']} | {states['survived']} | {states['gone']} |"
    yield from map(str, (each for each in verdicts if each.state == "survived"))


if __name__ == "__main__":
    main()
