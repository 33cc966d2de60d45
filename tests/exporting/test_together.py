"""Two exports at once, with uploads and deletes in between, in many orders."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.catalog.scheduler import CallOutcome, OrdinalStore, Scheduler
from tests.exporting.export_fixture import ExportHarness, delete, observed_export, set_status, yank
from tests.exporting.sites import BASE, MANIFEST, WRITES, broken, pages_of, reader
from tests.http.packages import sdist, wheel
from wheelyard.model.project import Status
from wheelyard.operations.exporting.manifest import FileMode, RequestedOptions
from wheelyard.wiring.site_export import SiteExporter

SEEDS = 4
EXPORTS = ("first", "second")


def changes(harness: ExportHarness) -> Iterator[None]:
    """Publish, delete and the like, one after the other."""
    index = harness.index
    harness.publish(wheel("demo", "2.0"))
    yield
    delete(index, "demo", "1.0")
    yield
    set_status(index, "other", Status.QUARANTINED)
    yield
    harness.publish(wheel("newcomer", "1.0"))
    yield
    yank(index, "demo", "2.0")
    yield
    set_status(index, "other", Status.ACTIVE)
    yield
    delete(index, "demo", "2.0")
    yield
    harness.publish(sdist("other", "1.1"), wheel("last", "1.0"))


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_two_exports_and_a_publisher(tmp_path: Path, is_first: bool) -> None:  # noqa: FBT001
    """In whatever order, no page ever links to what is not there, and the next export is right."""
    for seed in range(SEEDS):
        harness = ExportHarness(tmp_path / f"{seed}")
        harness.folder.mkdir()
        harness.publish(wheel("demo", "1.0"), wheel("demo", "1.5"), wheel("other", "1.0"))
        if not is_first:
            harness.export()
            harness.publish(sdist("demo", "1.5"))
        random, scheduler = Random(seed), Scheduler(OrdinalStore({}))

        def on_call(verb: str, path: str, scheduler: Scheduler = scheduler) -> None:
            scheduler.gate(verb, path, lambda: None)

        for name in EXPORTS:
            exports = ExportHarness(harness.folder).exports()
            scheduler.add(name, partial(observed_export, exports, on_call))
        between, is_left = changes(harness), True
        while players := [*sorted(scheduler.waiting()), *(["between"] if is_left else [])]:
            chosen = random.choice(players)
            if chosen == "between":
                is_left = next(between, "over") != "over"
                continue
            verb = scheduler.waiting()[chosen].verb
            scheduler.let(chosen, CallOutcome.DONE)
            if verb in WRITES:
                found = broken(reader(harness.site), pages_of(harness.site), is_begun=True)
                assert found == [], f"with seed {seed}"

        assert scheduler.answers() == dict.fromkeys(EXPORTS, "ok"), f"with seed {seed}"
        harness.export()
        harness.assert_fresh(told=f"with seed {seed}")


def export_while(exports: SiteExporter, verb: str, part: str, happens: Callable[[], None]) -> None:
    """Export, while something happens before the first call of a verb with a path like this."""
    calls = list[str]()

    def on_call(each: str, path: str) -> None:
        if each == verb and part in path and not calls:
            calls.append(path)
            happens()

    observed_export(exports, on_call)
    assert calls


@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
@pytest.mark.parametrize(
    "path",
    [
        *("simple/demo/index.html", "simple/demo/index.json", "pypi/demo/json"),
        *("project/demo/index.html", "simple/index.html", "search.json", MANIFEST),
    ],
)
def test_overtaken(harness: ExportHarness, path: str, is_first: bool) -> None:  # noqa: FBT001
    """An export that another one overtakes puts no page of what it has read before."""
    harness.publish(wheel("demo", "1.0"))
    if not is_first:
        harness.export()
    harness.publish(wheel("demo", "2.0"), wheel("other", "1.0"))

    def overtake() -> None:
        yank(harness.index, "demo", "2.0")
        harness.publish(wheel("newcomer", "1.0"))
        ExportHarness(harness.folder).export()

    export_while(harness.exports(), "put", path, overtake)

    harness.assert_fresh()
    assert harness.log_of().writes == []


@pytest.mark.parametrize("verb", ["put", "list", "delete"])
def test_a_quarantine_that_ends(harness: ExportHarness, verb: str) -> None:
    """Files that one export takes away and another one needs again are there in the end."""
    harness.publish(wheel("demo", "1.0"), wheel("demo", "1.5"))
    harness.export()
    set_status(harness.index, "demo", Status.QUARANTINED)

    def end() -> None:
        set_status(harness.index, "demo", Status.ACTIVE)
        ExportHarness(harness.folder).export()

    export_while(harness.exports(), verb, "demo", end)

    assert broken(reader(harness.site), pages_of(harness.site)) == []
    harness.export()
    harness.assert_fresh()


@pytest.mark.parametrize("placing", [FileMode.COPY, FileMode.LINK])
@pytest.mark.parametrize("verb", ["list", "file", "put"])
def test_deleted_meanwhile(harness: ExportHarness, placing: FileMode, verb: str) -> None:
    """A file that is deleted while it is being exported is no fault: the export looks again."""
    asked = RequestedOptions(base_url=BASE, files=placing)
    harness.publish(wheel("demo", "1.0"), wheel("demo", "1.5"))

    export_while(
        harness.exports(asked=asked), verb, "demo", lambda: delete(harness.index, "demo", "1.0")
    )

    harness.export(asked=asked)
    harness.assert_fresh(asked)
