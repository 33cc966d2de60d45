"""Imports of sdists whose version has a hyphen: under which project."""

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist
from tests.operations.fake_sources import DEMO, FakeFiles, FakeSource, counted, importer, taken
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.old_sdists import REAL, old_sdist, sdist_without_metadata
from tests.operations.upstream_names import GuardedHarness, PublicNames
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.operations.importing.project_import import FileStatus
from wheelyard.sources.file_tree import FileTreeSource, FolderTree

SHORT, LONG = old_sdist("demo", "1.0-1"), old_sdist("demo-1.0", "1")
DEMO_1_0 = NormalizedName("demo-1-0")
BARE = sdist_without_metadata(SHORT.filename)


@pytest.fixture
def files() -> FakeFiles:
    """The files of a source."""
    return FakeFiles()


def test_a_folder_with_real_filenames(harness: IndexHarness, tmp_path: Path) -> None:
    """Each file of a folder is imported under the project and version that PKG-INFO names."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for filename, (project, _) in REAL.items():
        version = filename.removeprefix(f"{project}-").removesuffix(".tar.gz")
        old_sdist(project, version).write(folder)
    source = FileTreeSource(FolderTree(folder))

    report = importer(harness).run(source, ALICE)

    assert report.counts == counted(new=len(REAL))
    for filename, (project, version) in REAL.items():
        (file,) = harness.index.projects.get(NormalizedName(project)).files
        assert (file.filename, file.version) == (filename, version)
    assert importer(harness).run(source, ALICE).counts == counted(there=len(REAL))
    assert harness.check().problems == []


def test_two_files_of_one_name(harness: IndexHarness, files: FakeFiles) -> None:
    """Two files of one name in two folders go to their own projects, also in a dry run."""
    offers = [files.offer(made, location=f"{made.sha256}/x") for made in (SHORT, LONG)]
    before = harness.snapshot()

    dry = importer(harness).run(FakeSource(offers), ALICE, dry_run=True)
    assert (dry.counts, harness.snapshot()) == (counted(new=2), before)
    assert taken(harness, *offers).counts == counted(new=2)

    assert harness.index.projects.get(DEMO).files[0].sha256 == SHORT.sha256
    assert harness.index.projects.get(DEMO_1_0).files[0].sha256 == LONG.sha256


def test_the_first_spelling_of_a_version_wins(harness: IndexHarness, files: FakeFiles) -> None:
    """Of two spellings of one version the first of the source is taken."""
    other = make_sdist(version="1.0.post1")

    report = taken(harness, files.offer(SHORT), files.offer(other))

    assert report.counts == counted(new=1, refused=1)
    assert [file.filename for file in harness.index.projects.get(DEMO).files] == [SHORT.filename]


@pytest.mark.parametrize("is_lenient", [False, True])
def test_what_nothing_decides_is_refused(
    harness: IndexHarness, files: FakeFiles, *, is_lenient: bool
) -> None:
    """A file without metadata is refused by its name, unless the source names its project."""
    uploads = harness.index.uploads
    lenient = Importer(uploads.with_waivers if is_lenient else uploads)
    offer, before = files.offer(BARE), harness.snapshot()

    (refusal,) = lenient.run(FakeSource([offer]), ALICE).refused

    assert (refusal.code, "'demo-1.0-1.tar.gz' may be" in refusal.why) == (
        "ambiguous_filename",
        True,
    )
    assert harness.snapshot() == before
    report = lenient.run(FakeSource([replace(offer, project="demo")]), ALICE)
    assert report.counts == (counted(new=1) if is_lenient else counted(refused=1))
    if is_lenient:
        assert harness.index.projects.get(DEMO).files[0].version == "1.0.post1"


@pytest.mark.parametrize(
    ("name", "refusals"),
    [("my.demo", []), ("mydemo", []), ("mydemos", ["name_mismatch"])],
    ids=["exact", "without punctuation", "other letters"],
)
def test_waived_punctuation_decides(
    harness: IndexHarness, files: FakeFiles, name: str, refusals: list[str]
) -> None:
    """Where rules are waived, a name decides that differs from a reading in punctuation alone."""
    metadata = f"Metadata-Version: 1.1\nName: {name}\nVersion: 1.0.post1\n".encode()
    made = make_sdist("my-demo", "1.0-1", metadata=metadata)
    lenient = Importer(harness.index.uploads.with_waivers)

    report = lenient.run(FakeSource([files.offer(made)]), ALICE)

    assert [outcome.code for outcome in report.refused] == refusals
    listed = harness.index.projects.load(NormalizedName("my-demo")).value
    assert (listed is None) == bool(refusals)


def test_a_source_that_names_the_project(harness: IndexHarness, files: FakeFiles) -> None:
    """A file whose source names its project is read once; what the file says has to agree."""
    right, wrong = (replace(files.offer(SHORT), project=name) for name in ("demo", "demo-1-0"))

    (refusal,) = taken(harness, wrong).refused
    assert refusal.code == "name_mismatch"
    files.read.clear()
    assert taken(harness, right).counts == counted(new=1)
    assert files.read == [SHORT.filename]


def test_chosen_projects(harness: IndexHarness, files: FakeFiles) -> None:
    """Where projects are chosen, a file that turns out to be of another one is left out."""
    source = FakeSource([files.offer(SHORT), files.offer(LONG)])

    report = importer(harness).run(source, ALICE, projects=("demo-1*",))

    assert report.counts == counted(new=1)
    assert harness.index.projects.get(DEMO_1_0).files[0].sha256 == LONG.sha256
    assert harness.index.projects.load(DEMO).value is None


def test_a_public_name_is_refused(tmp_path: Path, files: FakeFiles) -> None:
    """An import asks the upstream index for the project that gets the file."""
    guarded = GuardedHarness(tmp_path, public=PublicNames({DEMO}))

    report = taken(guarded, files.offer(SHORT), files.offer(LONG))

    assert report.counts == counted(new=1, refused=1)
    assert [outcome.code for outcome in report.refused] == ["public_name"]
    assert not guarded.is_private(DEMO)
    assert guarded.is_private(DEMO_1_0)


def test_a_damaged_file_is_refused_alone(harness: IndexHarness, files: FakeFiles) -> None:
    """A file that cannot be read to learn its project is refused, and the others are imported."""
    damaged = Distribution("other-1.0-1.tar.gz", b"no archive")

    report = taken(harness, files.offer(damaged), files.offer(SHORT))

    assert report.counts == counted(new=1, refused=1)
    assert report.refused[0].code == "invalid_archive"
    assert report.counts[FileStatus.NEW] == 1


def test_an_old_format_is_skipped_unread(harness: IndexHarness, files: FakeFiles) -> None:
    """A format that no index takes any more is skipped, without a look into the file."""
    report = taken(harness, files.offer(Distribution("demo-1.0-1.tar.bz2", b"x")))

    assert (report.counts, files.read) == (counted(skipped=1), [])
