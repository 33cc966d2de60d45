"""What becomes of a folder of packages that is imported."""

import os
from pathlib import Path

import pytest

from tests.operations.making import make_sdist, make_wheel
from wheelyard.errors import Unavailable
from wheelyard.index import Index, open_index
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.distribution import parse_name, parse_version
from wheelyard.operations.intake import Fate, Intake, Report, distributions_in
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import Settings, StoreSettings

ANA = Caller("local:ana", (Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,)),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a wheel, an sdist in a folder within, and what is neither."""
    folder = tmp_path / "packages"
    (folder / "old" / "older").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    make_wheel("demo", "1.0").write(folder)
    make_sdist("demo", "1.0").write(folder / "old" / "older")
    make_wheel("hidden", "1.0").write(folder / ".hidden")
    make_wheel("demo", "3.0").write(folder).rename(folder / ".demo-3.0-py3-none-any.whl")
    (folder / "demo-1.0-py3-none-any.whl.asc").touch()
    (folder / "README.txt").touch()
    return folder


@pytest.fixture
def index(folder: Path) -> Index:
    """An index whose store lies in the folder, and is not hidden."""
    return open_index(Settings(store=StoreSettings(location=str(folder / "store"))))


def taken(index: Index, folder: Path) -> tuple[Report, int]:
    """Import a folder; return the report, and how many bytes were read for it."""
    read = list[int]()
    intake = Intake(index.uploads, index.projects)
    report = intake.run(folder, ANA, read.append, leave_out=(folder / "store",))
    return report, sum(read)


def test_import(index: Index, folder: Path) -> None:
    """Wheels and sdists are imported, from folders within as well; nothing hidden, nothing else."""
    report, _ = taken(index, folder)

    assert report == Report(report.fates)
    assert report.fates == {Fate.IMPORTED: 2}
    assert set(index.projects.get(parse_name("demo")).by_filename) == {
        "demo-1.0-py3-none-any.whl",
        "demo-1.0.tar.gz",
    }


def test_again(index: Index, folder: Path) -> None:
    """The next time nothing is read of what has not been touched since."""
    taken(index, folder)

    report, size = taken(index, folder)

    assert report.fates == {Fate.UNCHANGED: 2}
    assert size == 0


def test_touched(index: Index, folder: Path) -> None:
    """A file that was touched, and is the same still, is read and found to be listed."""
    taken(index, folder)
    wheel = folder / "demo-1.0-py3-none-any.whl"
    os.utime(wheel)

    report, size = taken(index, folder)

    assert report.fates == {Fate.UNCHANGED: 2}
    assert size == wheel.stat().st_size


def test_changed(index: Index, folder: Path) -> None:
    """Other bytes of the same size and the same date under a known name are found out."""
    taken(index, folder)
    wheel = folder / "demo-1.0-py3-none-any.whl"
    before, made = wheel.stat(), folder / "made"
    made.mkdir()
    other = make_wheel("demo", "1.0", content=b"x").write(made)
    with other.open("ab") as file:
        file.truncate(before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(wheel)

    report, _ = taken(index, folder)

    assert [path for path, _ in report.refused] == [wheel]
    assert "different content" in report.refused[0][1]


def test_refusals_stop_nothing(index: Index, folder: Path) -> None:
    """What cannot be listed is told, each with why, and keeps nothing else out."""
    for name in ("a-1.0.tar.gz", "b-1.0.egg", "demo-zero.zip", "z z-1.0.tar.gz"):
        (folder / name).write_bytes(b"nothing of the kind")
    (folder / "lost-1.0.tar.gz").symlink_to("nowhere")

    report, _ = taken(index, folder)

    assert report.fates == {Fate.IMPORTED: 2}
    assert {path.name: why.split(".")[0] for path, why in report.refused}.keys() == {
        "a-1.0.tar.gz",
        "b-1.0.egg",
        "demo-zero.zip",
        "lost-1.0.tar.gz",
        "z z-1.0.tar.gz",
    }


def test_deleted_stays_deleted(index: Index, folder: Path) -> None:
    """A file that was deleted from the index does not come back from the folder."""
    taken(index, folder)
    name, version = parse_name("demo"), parse_version("1.0")
    index.lifecycle.delete(ANA, name, Selection(version, "demo-1.0.tar.gz"), "")

    report, _ = taken(index, folder)

    assert report.fates == {Fate.UNCHANGED: 1, Fate.DELETED: 1}
    assert report.refused == []


def test_a_damaged_project(index: Index, folder: Path) -> None:
    """A project whose document is damaged is told of, and the others are imported."""
    taken(index, folder)
    (folder / "store" / "projects" / "demo.json").write_bytes(b"{")
    make_wheel("other", "1.0").write(folder)

    report, _ = taken(open_index(index.settings), folder)

    assert report.fates == {Fate.IMPORTED: 1}
    assert len(report.refused) == 2


def test_no_store(index: Index, folder: Path) -> None:
    """Where the store takes nothing the import ends, and says so."""
    (folder / "store" / "files").write_text("in the way")

    with pytest.raises(Unavailable):
        taken(index, folder)


def test_the_store_is_no_package(index: Index, folder: Path) -> None:
    """What the index keeps in a store within the folder is not imported from there."""
    taken(index, folder)

    inside = [path for path in distributions_in(folder) if "store" in path.parts]

    assert inside
    assert taken(index, folder)[0].fates == {Fate.UNCHANGED: 2}
