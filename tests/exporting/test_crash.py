"""An export is killed at every step: what is there works, and the next one finishes it."""

import os
from collections.abc import Callable
from itertools import count
from shutil import copytree

import pytest

from tests.cli.conftest import Typed
from tests.exporting.export_fixture import ExportHarness, delete, observed_export, set_status, yank
from tests.exporting.sites import WRITES, ExportKilled, broken, pages_of, reader, tree
from tests.http.packages import sdist, wheel
from wheelyard.model.project import Status

pytestmark = pytest.mark.integration


def changed(harness: ExportHarness) -> None:
    """Change what there is in every way."""
    harness.publish(sdist("demo", "1.1"), wheel("newcomer", "1.0"))
    delete(harness.index, "demo", "1.0")
    delete(harness.index, "gone", "1.0")
    yank(harness.index, "demo", "1.1")
    set_status(harness.index, "hidden", Status.QUARANTINED)
    set_status(harness.index, "old", Status.ARCHIVED)


@pytest.fixture
def begun(harness: ExportHarness) -> ExportHarness:
    """An index with some projects, which have been exported."""
    names = ("gone", "hidden", "old")
    harness.publish(wheel("demo", "1.0"), wheel("demo", "1.1"), *(wheel(each) for each in names))
    harness.export()
    return harness


def killer(left: int) -> Callable[[str, str], None]:
    """Return what ends an export before it has written so many times."""
    steps = iter(range(left))

    def on_call(verb: str, _path: str) -> None:
        if verb in WRITES and next(steps, None) is None:
            raise ExportKilled

    return on_call


@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_killed_before_every_write(begun: ExportHarness, is_first: bool) -> None:  # noqa: FBT001
    """Wherever it ends, every link leads to what it promises, and the next export finishes it."""
    changed(begun)
    fresh = begun.folder / "fresh"
    begun.export(fresh)
    for left in count():
        site = begun.folder / f"site-{left}"
        if not is_first:
            copytree(begun.site, site)
        try:
            observed_export(begun.exports(site), killer(left))
        except ExportKilled:
            assert broken(reader(site), pages_of(site), is_begun=is_first) == [], left
            begun.export(site)
            assert tree(site) == tree(fresh), left
        else:
            assert left > 20
            return


def test_what_a_killed_export_left(begun: ExportHarness) -> None:
    """A scratch file of an export that was killed goes a day later, that of a living one stays."""
    spool = begun.site / ".spool"
    spool.joinpath("upload-old").write_bytes(b"half")
    spool.joinpath("upload-new").write_bytes(b"half")
    os.utime(spool / "upload-old", (0, 0))

    begun.export()

    assert [path.name for path in spool.iterdir()] == ["upload-new"]


def test_interrupted(begun: ExportHarness, wheelyard: Typed) -> None:
    """Other options half-way: the same command again makes every page as it was asked."""
    base = "https://elsewhere.example.com"
    changed(begun)
    asked = begun.exports().requested
    with pytest.raises(ExportKilled):
        observed_export(begun.exports(asked=type(asked)(base_url=base)), killer(9))

    done = wheelyard("export", begun.site, "--store", begun.store, "--base-url", base)

    assert done.returncode == 0
    fresh = begun.folder / "fresh"
    assert wheelyard("export", fresh, "--store", begun.store, "--base-url", base).returncode == 0
    assert tree(begun.site) == tree(fresh)
