"""Formats that only older versions have taken: what a store has stays, and nothing is added."""

from pathlib import Path

import pytest

from tests.distributions import Distribution, make_wheel
from tests.operations.fake_sources import DEMO, LONG_AGO, FakeFiles, counted, taken
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.old_files import EGG, INSTALLER, list_old_file
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_version
from wheelyard.operations.lifecycle import Selection

FIRST = Selection(parse_version("1.0"))


@pytest.fixture
def index_of_old_files(harness: IndexHarness, tmp_path: Path) -> IndexHarness:
    """An index whose document lists a wheel, an egg and an installer for Windows."""
    harness.upload(make_wheel())
    for made in (EGG, INSTALLER):
        list_old_file(harness.index.uploads, made, tmp_path, LONG_AGO)
    return harness


def listed(index: IndexHarness) -> dict[str, str | None]:
    """Return the files of the project, and why each is yanked."""
    project = index.opened(7).projects.get(DEMO)
    return {file.filename: file.yanked for file in project.files}


def test_it_is_yanked_and_deleted(index_of_old_files: IndexHarness) -> None:
    """An egg that a store has is yanked and deleted, and its name is listed as a deleted one."""
    marked = index_of_old_files.index.lifecycle.change("yank", ALICE, DEMO, FIRST, "old")
    assert {file.yanked for file in marked.project.files} == {"old"}

    one = Selection(parse_version("1.0"), frozenset({EGG.filename}))
    gone = index_of_old_files.index.lifecycle.change("delete", ALICE, DEMO, one, "")
    assert gone.project.deleted_filenames == (EGG.filename,)
    assert sorted(listed(index_of_old_files)) == [make_wheel().filename, INSTALLER.filename]
    assert index_of_old_files.check().problems == []


def test_an_import_names_new_ones(index_of_old_files: IndexHarness, files: FakeFiles) -> None:
    """An import skips and names new files of these formats; those that it has are there already."""
    report = taken(
        index_of_old_files,
        files.offer(EGG, algorithms=("sha256",)),
        files.offer(Distribution("demo-2.0.egg", EGG.body)),
        files.offer(Distribution("demo-2.0.tar.bz2", b"BZh")),
        files.offer(make_wheel(version="2.0")),
    )

    assert report.counts == counted(there=1, skipped=2, new=1)
    assert {each.location: each.why for each in report.skipped} == dict.fromkeys(
        ["there/demo-2.0.egg", "there/demo-2.0.tar.bz2"],
        "wheelyard takes wheels, .tar.gz and .zip.",
    )
    assert len(files.read) == 1


@pytest.mark.parametrize("filename", [EGG.filename, "demo-2.0.egg", "demo-2.0.tar.xz"])
def test_an_upload_is_refused(index_of_old_files: IndexHarness, filename: str) -> None:
    """An upload of such a file is refused by its name, also where the store lists it."""
    for uploads in (
        index_of_old_files.index.uploads,
        index_of_old_files.index.uploads.with_waivers,
    ):
        with pytest.raises(Invalid) as raised:
            uploads.authorize(filename, ALICE)
        assert raised.value.code == "invalid_filename"
