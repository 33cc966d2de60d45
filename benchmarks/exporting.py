"""
Costs of static exports: all pages, and one more file.

Contenders are command lines alone, so that another commit of wheelyard can be one. dumb-pypi makes
its site from a list of the same files; of a release, it has the JSON and no web page.

The stores are made once, in `wheelyard-benchmarks` below the folder for temporary files, from 1 GB
of small files each. Remove that folder to have them made anew.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir

from benchmarks.processes import Spent, run
from benchmarks.report import Figure
from benchmarks.servers import checked_out, environment, installed, settle
from benchmarks.stores import Sdist, Wheel, fill_with_files
from tests.clients.harness import REPOSITORY, program

ROUNDS = 3
MORE = 7
"""How often one more file is exported."""
SHAPES = {
    "1,300 projects of 20 releases": (1300, 20, 2),
    "5,200 projects of 5 releases": (5200, 5, 2),
    "1,300 projects of 1 release": (1300, 1, 40),
}
"""Projects, their releases, and their files: 52,000 files. The last has few releases."""
STORES = Path(gettempdir()) / "wheelyard-benchmarks"
STORE, LISTED = "store", "packages.json"
URL = "https://files.example.com"
SITE = "https://packages.example.com"
DESCRIBED = """# Something

Measures *one* thing; see [the site](https://example.com).

| option | what it does |
|---|---|
| `--all` | all of it |

```python
measure("everything")
```
"""
AFTER_IMPORTS = """
import resource, sys, time
from wheelyard.cli import export, main
def used():
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in each)
begun, before = time.perf_counter(), used()
try: main.main()
finally: print("\\n", time.perf_counter() - begun, used() - before, file=sys.stderr)
"""
"""Runs the command line; its last line has the seconds since its imports: all, and those worked."""


WHOLE = (
    ("processor time", "s", "<= 1.3x the older commit", lambda spent, _: spent.worked),
    ("time", "s", "", lambda spent, _: spent.seconds),
    ("most memory", "MiB", "", lambda spent, _: spent.memory),
    ("files of the site", "", "", lambda _, files: files),
    ("processor time of a file", "ms", "", lambda spent, files: 1000 * spent.worked / files),
)
"""What an export of everything takes: name, unit, target beside an older commit, and value."""
ONE_MORE = (
    ("time after imports", "ms", "<= 150 ms"),
    ("processor time after imports", "ms", ""),
    ("time", "ms", ""),
    ("processor time", "ms", ""),
    ("files written", "", ""),
)
"""What an export of one more file takes: name, unit and target of what `one_more` returns."""


@dataclass(frozen=True, slots=True)
class Exporter:
    """A commit of wheelyard that exports a store to a site of its own."""

    python: Path
    variables: Mapping[str, str]
    store: Path
    site: Path

    def everything(self) -> Spent:
        """Export to a new site."""
        return self._run("-m", "wheelyard", "export", *self._options)

    def one_more(self) -> list[float]:
        """Export what has changed; return the values of `ONE_MORE`."""
        self.site.touch()
        before = self.site.stat().st_ctime_ns
        spent = self._run("-c", AFTER_IMPORTS, "export", *self._options)
        seconds, worked = map(float, spent.errors.split()[-2:])
        written = sum(path.stat().st_ctime_ns > before for path in _files(self.site))
        times = (seconds, worked, spent.seconds, spent.worked)
        return [*(1000 * value for value in times), written]

    def upload(self, version: str, *options: object) -> Spent:
        """Upload a wheel of one project into the store."""
        wheel = Wheel("project-00007", version, ("project-00021", "project-00049"))
        place = self.site.with_name(wheel.filename)
        place.write_bytes(wheel.body)
        return self._run("-m", "wheelyard", "upload", "--store", self.store, *options, place)

    @property
    def _options(self) -> tuple[object, ...]:
        return ("--store", self.store, "--files", URL, "--base-url", SITE, self.site)

    def _run(self, *arguments: object) -> Spent:
        settle()
        return run([self.python, *arguments], self.variables)


def measure(folder: Path, older: str = "") -> list[Figure]:
    """Measure exports of 52,000 files, beside those by an `older` commit: all, and one more."""
    trees = {"wheelyard": REPOSITORY} | ({older: checked_out(folder, older)} if older else {})
    figures = list[Figure]()
    for shape in SHAPES:
        made, place = collection(shape), folder / shape.replace(" ", "-").replace(",", "")
        store = place / STORE
        # linked, as the objects of a store are replaced whole: the one that was made stays
        shutil.copytree(made / STORE, store, copy_function=os.link)
        exporters = {
            name: Exporter(installed(tree=tree), environment(place, tree), store, place / name)
            for name, tree in trees.items()
        }
        figures += [*_whole(shape, exporters, made / LISTED), *_more(shape, exporters)]
        shutil.rmtree(place)
    return figures


def collection(shape: str) -> Path:
    """Return the folder of a store of 52,000 files, and of the package list of the same files."""
    folder = STORES / shape.replace(" ", "-").replace(",", "")
    if not (folder / LISTED).exists():
        shutil.rmtree(folder, ignore_errors=True)
        projects, releases, files = SHAPES[shape]
        lines = list[str]()

        def listed() -> Iterator[Sequence[Wheel]]:
            for number in range(projects):
                distributions = [*_distributions(number, projects, releases, files)]
                lines.extend(map(_line, distributions))
                yield distributions

        fill_with_files(folder / STORE, listed())
        (folder / LISTED).write_text("\n".join(lines))
    return folder


def _distributions(number: int, projects: int, releases: int, files: int) -> Iterator[Wheel]:
    """Yield the files of a project: some have a description, others require other projects."""
    name, described = f"project-{number:05}", number % 10 == 0
    others = () if described else tuple(f"project-{number * by % projects:05}" for by in (3, 7))
    description = DESCRIBED if described else ""
    for minor in range(releases):
        version = f"1.{minor}"
        yield Sdist(name, version, others, description)
        for build in range(1, files):
            yield Wheel(name, version, others, description, build=f"-{build}")


def _line(file: Wheel) -> str:
    """Return the line of a file in the package list that dumb-pypi makes its pages of."""
    line = {
        "filename": file.filename,
        "hash": f"sha256={sha256(file.body).hexdigest()}",
        "requires_python": ">=3.9",
        "requires_dist": file.requires,
        "upload_timestamp": 1767268800,
        "uploaded_by": "benchmark",
        "core_metadata": f"sha256={sha256(file.metadata).hexdigest()}",
    }
    return json.dumps(line)


def _files(folder: Path) -> Iterator[Path]:
    return (Path(place, name) for place, _, names in os.walk(folder) for name in names)


def _whole(shape: str, exporters: Mapping[str, Exporter], listed: Path) -> Iterator[Figure]:
    """Yield the figures of exports of everything."""
    place = exporters["wheelyard"].site.parent
    command = [program("dumb-pypi", "dumb-pypi"), "--package-list-json", listed]
    command += ["--packages-url", URL, "--output-dir", place / "dumb-pypi"]
    contenders = {name: each.everything for name, each in exporters.items()}
    contenders["dumb-pypi"] = lambda: run(command, environment(place))
    values: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, export in contenders.items():
            shutil.rmtree(place / name, ignore_errors=True)
            settle()
            spent = export()
            files = sum(1 for _ in _files(place / name))
            values[name].append([value(spent, files) for *_, value in WHOLE])
    for row, (what, unit, target, _) in enumerate(WHOLE):
        yield _figure(f"export, {shape}, {what}", unit, target, row, values)


def _more(shape: str, exporters: Mapping[str, Exporter]) -> Iterator[Figure]:
    """Yield the figures of exports of one more file, and of uploads that export it."""
    ours = exporters["wheelyard"]
    values: dict[str, list[list[float]]] = {name: [] for name in exporters}
    for number in range(MORE):
        ours.upload(f"2.{number}")
        for name, exporter in exporters.items():
            values[name].append(exporter.one_more())
    for row, (what, unit, target) in enumerate(ONE_MORE):
        yield _figure(f"export of one more file, {shape}, {what}", unit, target, row, values)
    pairs = [
        (ours.upload(f"3.{each}", "--export", ours.site), ours.upload(f"4.{each}"))
        for each in range(MORE)
    ]
    yield Figure(
        name=f"upload --export of a file, {shape}, processor time",
        unit="ms",
        ours=[1000 * exported.worked for exported, _ in pairs],
        theirs=[1000 * alone.worked for _, alone in pairs],
        versus="upload",
        target="< 100 ms more",
    )


def _figure(
    name: str, unit: str, target: str, row: int, values: Mapping[str, Sequence[Sequence[float]]]
) -> Figure:
    """Return the figure of one value of all contenders; the ratio is to the second of them."""
    columns = {contender: [each[row] for each in rounds] for contender, rounds in values.items()}
    ours, versus = columns.pop("wheelyard"), next(iter(columns), "")
    theirs = columns.pop(versus, [])
    return Figure(
        name=name, unit=unit, ours=ours, theirs=theirs, versus=versus, target=target, others=columns
    )
