"""Quotas of an index in memory: uploads at the limits, and usage across processes."""

import pytest
from packaging.utils import NormalizedName

from tests.distributions import make_sdist, make_wheel
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.two_indexes import TwoIndexes
from wheelyard.errors import TooLarge
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.project import File
from wheelyard.model.quotas import MIB, size_of_file
from wheelyard.operations.lifecycle import Selection
from wheelyard.wiring.index import Index

DEMO = NormalizedName("demo")


def limited(harness: IndexHarness, seed: int = 5, **limits: int) -> Index:
    """Return an index over the same store, as another process has it, with quotas."""
    return harness.opened(seed, tables=toml_of(main=limits))


def upload(harness: IndexHarness, version: str, name: str = "demo") -> File:
    """Upload a version of a project."""
    return harness.upload(make_wheel(name, version))


def test_an_index_without_quotas_looks_at_none(harness: IndexHarness) -> None:
    """Without a quota nothing is checked, and zero is none."""
    assert harness.index.uploads.quota_check is None
    assert limited(harness, index_size=0, project_files=0).uploads.quota_check is None


def test_restoring_needs_room(harness: IndexHarness) -> None:
    """Who deletes to make room cannot restore files above the quota, as a dry run says, too."""
    harness.index = limited(harness, project_files=1)
    upload(harness, "1")
    change, selection = harness.index.lifecycle.change, Selection(parse_version("1"))
    change("delete", ALICE, DEMO, selection, "to make room")
    upload(harness, "2")

    for dry_run in (True, False):
        with pytest.raises(TooLarge):
            change("restore", ALICE, DEMO, selection, "", dry_run=dry_run)


def test_a_release_is_promoted_as_a_whole_or_not_at_all(harness: IndexHarness) -> None:
    """A release that does not fit into the quota of the other index leaves both as they were."""
    indexes = TwoIndexes(harness, {"project_files": 1})
    indexes.upload(make_wheel())
    indexes.upload(make_sdist())
    before = harness.snapshot()

    with pytest.raises(TooLarge, match="has 0 files of its quota of 1 file, and these are 2 more"):
        indexes.promote()

    assert harness.snapshot() == before


@pytest.mark.parametrize("limit", ["project_files", "index_files"])
def test_files_over_a_quota_leave_nothing_behind(harness: IndexHarness, limit: str) -> None:
    """A file over the quota is refused and leaves nothing, and a listed one can be sent again."""
    harness.index = limited(harness, **{limit: 2})
    upload(harness, "1")
    listed = upload(harness, "2")
    before = harness.snapshot()

    with pytest.raises(TooLarge, match="has 2 files of its quota of 2 files"):
        upload(harness, "3")

    assert harness.snapshot() == before
    assert upload(harness, "2") == listed


def test_a_quota_of_bytes_counts_what_is_listed(harness: IndexHarness) -> None:
    """The bytes of listed files and of the new one together are compared with the quota."""
    file = upload(harness, "1")
    harness.index = limited(harness, project_size=1)
    quotas = harness.index.uploads.quota_check
    assert quotas is not None

    (room,) = quotas.for_files().rooms(harness.index.projects.get(DEMO))

    # only an index can be too full for a form whose project nobody knows yet
    assert quotas.index_refusal(size_of_file(2 * MIB)) is None
    assert room.refusal(size_of_file(MIB - file.size)) is None
    assert room.refusal(size_of_file(MIB - file.size + 1)) is not None


def test_deleting_makes_room(harness: IndexHarness) -> None:
    """After a release is deleted, another one of the same size fits into a full index at once."""
    harness.index = limited(harness, index_files=1, project_files=1)
    upload(harness, "1")
    with pytest.raises(TooLarge):
        upload(harness, "2")

    selection = Selection(parse_version("1"))
    harness.index.lifecycle.change("delete", ALICE, DEMO, selection, "to make room")

    upload(harness, "2")


def test_writers_of_other_processes_cannot_pass_the_quota_of_a_project(
    harness: IndexHarness,
) -> None:
    """A file that fitted when it was validated is refused if another process was faster."""
    harness.index = limited(harness, project_files=1)
    uploads, made = harness.index.uploads, make_wheel(version="1")
    before = uploads.projects.get_for_update(DEMO)
    validated = uploads.validate(made.arrival(harness.folder), ALICE, before)
    intent = uploads.add_files(before, [validated], ALICE)
    harness.index = limited(harness, seed=6, project_files=1)
    upload(harness, "2")

    committed = uploads.projects.change(DEMO, intent)

    (decision,) = intent.decide(committed.before)
    assert decision.refusal is not None
    assert decision.refusal.code == "quota_exceeded"
    assert len(harness.index.projects.get(DEMO).files) == 1


def test_the_quota_of_an_index_counts_uploads_of_other_processes(harness: IndexHarness) -> None:
    """An index with files of several processes is full for each of them after some seconds."""
    first, second = limited(harness, index_files=2), limited(harness, seed=6, index_files=2)
    harness.index = first
    upload(harness, "1", "one")
    harness.index = second
    upload(harness, "1", "two")
    harness.clock.advance(seconds=6)
    harness.index = first

    with pytest.raises(TooLarge, match="The index 'main' has 2 files"):
        upload(harness, "1", "three")


def test_files_of_one_commit_count_together(harness: IndexHarness) -> None:
    """Of files that one commit adds, as an import does, only those that fit are taken."""
    harness.index = limited(harness, index_files=5, project_files=2)
    uploads, before = harness.index.uploads, harness.index.projects.get_for_update(DEMO)
    arrivals = [make_wheel(version=version).arrival(harness.folder) for version in "123"]
    files = [uploads.validate(arrival, ALICE, before) for arrival in arrivals]

    intent = uploads.add_files(before, files, ALICE)

    assert [decision.refusal is None for decision in intent.decide(before)] == [True, True, False]
