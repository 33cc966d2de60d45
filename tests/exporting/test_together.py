"""Two exports at once, with uploads and deletes in between, in many orders."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.catalog.scheduler import Fate, Stage
from tests.exporting.export_fixture import Yard, delete, set_status, watched_export, yank
from tests.exporting.sites import BASE, MANIFEST, WRITES, broken, pages_of, reader, tree
from tests.http.packages import sdist, wheel
from wheelyard.model.project import Status
from wheelyard.operations.exporting.manifest import FileMode, RequestedOptions
from wheelyard.storage.memory import MemoryStore

SEEDS = 10
EXPORTS = ("first", "second")


def changes(yard: Yard) -> Iterator[None]:
    """Publish, delete and the like, one after the other."""
    index = yard.index
    yard.publish(wheel("demo", "2.0"))
    yield
    delete(index, "demo", "1.0")
    yield
    set_status(index, "other", Status.QUARANTINED)
    yield
    yard.publish(wheel("newcomer", "1.0"))
    yield
    yank(index, "demo", "2.0")
    yield
    set_status(index, "other", Status.ACTIVE)
    yield
    delete(index, "demo", "2.0")
    yield
    yard.publish(sdist("other", "1.1"), wheel("last", "1.0"))


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_two_exports_and_a_publisher(tmp_path: Path, is_first: bool) -> None:  # noqa: FBT001
    """In whatever order, no page ever links to what is not there, and the next export is right."""
    for seed in range(SEEDS):
        yard = Yard(tmp_path / f"{seed}")
        yard.folder.mkdir()
        yard.publish(wheel("demo", "1.0"), wheel("demo", "1.5"), wheel("other", "1.0"))
        if not is_first:
            yard.export()
            yard.publish(sdist("demo", "1.5"))
        random, stage = Random(seed), Stage(MemoryStore(lambda: 0.0), sociable=False)

        def told(verb: str, path: str, stage: Stage = stage) -> None:
            stage.gate(verb, path, lambda: None)

        for name in EXPORTS:
            stage.add(name, name, partial(watched_export, Yard(yard.folder).exports(), told))
        between, is_left = changes(yard), True
        while players := [*sorted(stage.waiting()), *(["between"] if is_left else [])]:
            chosen = random.choice(players)
            if chosen == "between":
                is_left = next(between, "over") != "over"
                continue
            verb = stage.waiting()[chosen].verb
            stage.let(chosen, Fate.DONE)
            if verb in WRITES:
                found = broken(reader(yard.site), pages_of(yard.site), is_begun=True)
                assert found == [], f"with seed {seed}"

        assert stage.answers() == dict.fromkeys(EXPORTS, "ok"), f"with seed {seed}"
        yard.export()
        yard.export(yard.folder / "fresh")
        assert tree(yard.site) == tree(yard.folder / "fresh"), f"with seed {seed}"


@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
@pytest.mark.parametrize(
    "path",
    [
        *("simple/demo/index.html", "simple/demo/index.json", "pypi/demo/json"),
        *("project/demo/index.html", "simple/index.html", "search.json", MANIFEST),
    ],
)
def test_overtaken(yard: Yard, path: str, is_first: bool) -> None:  # noqa: FBT001
    """An export that another one overtakes puts no page of what it has read before."""
    yard.publish(wheel("demo", "1.0"))
    if not is_first:
        yard.export()
    yard.publish(wheel("demo", "2.0"), wheel("other", "1.0"))
    calls = list[str]()

    def told(verb: str, each: str) -> None:
        if (verb, each) == ("put", path) and not calls:
            calls.append(each)
            yank(yard.index, "demo", "2.0")
            yard.publish(wheel("newcomer", "1.0"))
            Yard(yard.folder).export()

    watched_export(yard.exports(), told)

    assert calls == [path]
    yard.export(yard.folder / "fresh")
    assert tree(yard.site) == tree(yard.folder / "fresh")
    assert yard.log_of().writes == []


@pytest.mark.parametrize("verb", ["put", "list", "delete"])
def test_a_quarantine_that_ends(yard: Yard, verb: str) -> None:
    """Files that one export takes away and another one needs again are there in the end."""
    yard.publish(wheel("demo", "1.0"), wheel("demo", "1.5"))
    yard.export()
    set_status(yard.index, "demo", Status.QUARANTINED)
    calls = list[str]()

    def told(each: str, path: str) -> None:
        if each == verb and "demo" in path and not calls:
            calls.append(each)
            set_status(yard.index, "demo", Status.ACTIVE)
            Yard(yard.folder).export()

    watched_export(yard.exports(), told)

    assert calls == [verb]
    assert broken(reader(yard.site), pages_of(yard.site)) == []
    yard.export()
    yard.export(yard.folder / "fresh")
    assert tree(yard.site) == tree(yard.folder / "fresh")


@pytest.mark.parametrize("placing", [FileMode.COPY, FileMode.LINK])
@pytest.mark.parametrize("verb", ["list", "file", "put"])
def test_deleted_meanwhile(yard: Yard, placing: FileMode, verb: str) -> None:
    """A file that is deleted while it is being exported is no fault: the export looks again."""
    asked = RequestedOptions(base_url=BASE, files=placing)
    yard.publish(wheel("demo", "1.0"), wheel("demo", "1.5"))
    calls = list[str]()

    def told(each: str, path: str) -> None:
        if each == verb and "demo" in path and not calls:
            calls.append(each)
            delete(yard.index, "demo", "1.0")

    watched_export(yard.exports(asked=asked), told)

    assert calls == [verb]
    yard.export(asked=asked)
    yard.export(yard.folder / "fresh", asked)
    assert tree(yard.site) == tree(yard.folder / "fresh")
    assert broken(reader(yard.site), pages_of(yard.site)) == []
