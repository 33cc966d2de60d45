"""Dry runs of uploads: what they say is what the upload says, and the store stays as it was."""

from collections.abc import Callable

import pytest
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of
from tests.operations.two_indexes import TwoIndexes
from tests.operations.upstream_names import GuardedHarness
from wheelyard.catalog import keys
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Action, Caller, Scope, parse_pattern
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Status
from wheelyard.model.quotas import MIB
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.upload_dry_run import CandidateFile, PreviewedUpload, UploadDryRun
from wheelyard.settings.sections import Settings, UploadSettings

DEMO = NormalizedName("demo")
BOB = Caller("token:bob", (Scope(Action.READ | Action.UPLOAD, (parse_pattern("demo*"),), (MAIN,)),))


def candidate(made: Distribution, *, has_digest: bool = True) -> CandidateFile:
    """Return what is known of a file that is not uploaded yet."""
    return CandidateFile(made.filename, len(made.body), made.sha256 if has_digest else "")


def preview(
    harness: IndexHarness, made: Distribution, caller: Caller = ALICE, *, has_digest: bool = True
) -> PreviewedUpload:
    """Return what a dry run says of a file, which leaves the store as it was."""
    before = harness.snapshot()
    dry_run = UploadDryRun(harness.index.uploads, caller)
    said = dry_run.preview(candidate(made, has_digest=has_digest))
    assert harness.snapshot() == before
    return said


def delete(harness: IndexHarness) -> None:
    """Delete a file that can be restored."""
    harness.upload(make_wheel())
    harness.index.lifecycle.change("delete", ALICE, DEMO, Selection(parse_version("1.0")), "")


def archive(harness: IndexHarness) -> None:
    """Archive a project with a file."""
    harness.upload(make_wheel(version="0.9"))
    harness.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")


def limit(harness: IndexHarness) -> None:
    """Let each project have one file, of which there is one."""
    harness.index = harness.opened(5, tables=toml_of(main={"project_files": 1}))
    harness.upload(make_wheel(version="0.9"))


def take_no_uploads(harness: IndexHarness) -> None:
    """Let the index take promoted releases alone."""
    indexes = TwoIndexes(harness, {"promote_only": True, "promote_from": ["dev"]})
    harness.index = indexes.prod


def keep(harness: IndexHarness) -> None:
    """Leave the index as it is."""


def upload(harness: IndexHarness) -> None:
    """Upload a file."""
    harness.upload(make_wheel())


OTHER_BYTES = make_wheel(content=b"other")


@pytest.mark.parametrize(
    ("prepare", "made", "caller"),
    [
        (keep, make_wheel("foreign"), BOB),
        (keep, Distribution("notes.txt", b"x"), ALICE),
        (keep, Distribution("demo-1.0x-py3-none-any.whl", b"x"), ALICE),
        (keep, make_wheel("simple"), ALICE),
        (upload, OTHER_BYTES, ALICE),
        (delete, make_wheel(), ALICE),
        (delete, OTHER_BYTES, ALICE),
        (archive, make_wheel(), ALICE),
        (limit, make_wheel(), ALICE),
        (take_no_uploads, make_wheel(), ALICE),
    ],
    ids=[
        *("no right", "no package", "no version", "no name", "other bytes", "deleted"),
        *("deleted, other bytes", "archived", "quota", "promotions only"),
    ],
)
def test_a_dry_run_refuses_as_the_upload_does(
    harness: IndexHarness,
    prepare: Callable[[IndexHarness], None],
    made: Distribution,
    caller: Caller,
) -> None:
    """A dry run refuses a file by the very error with which the upload refuses it."""
    prepare(harness)

    said = preview(harness, made, caller)

    with pytest.raises(WheelyardError) as refused:
        harness.upload(made, caller)
    assert said.refusal is not None
    assert (code_of(said.refusal), said.refusal.message) == (
        code_of(refused.value),
        refused.value.message,
    )
    assert said.refusal.advice == refused.value.advice


def test_a_file_that_would_be_taken_is_taken(harness: IndexHarness) -> None:
    """What a dry run does not refuse is uploaded, and it says whether the project is new."""
    for made, is_first in ((make_wheel(), True), (make_sdist(), False)):
        said = preview(harness, made, BOB)
        assert (said.refusal, said.is_first, said.is_listed) == (None, is_first, False)
        assert said.distribution is not None
        assert said.distribution.project == harness.index.projects.get_for_update(DEMO).name
        harness.upload(made, BOB)


def test_a_file_that_is_there_is_known_by_its_digest(harness: IndexHarness) -> None:
    """A listed file is there, and without its digest only its name is."""
    harness.upload(make_wheel())

    assert preview(harness, make_wheel()).is_listed
    said = preview(harness, make_wheel(), has_digest=False)
    assert (said.is_listed, said.refusal) == (True, None)


def test_another_size_is_another_content(harness: IndexHarness) -> None:
    """A file whose name is listed with another size is refused without a digest, too."""
    harness.upload(make_wheel())
    said = preview(harness, make_wheel(content=b"a longer one" * 9), has_digest=False)

    assert said.refusal is not None
    assert "with different content" in said.refusal.message


def test_a_file_that_the_store_has_lost_is_asked_for(harness: IndexHarness) -> None:
    """A listed file whose bytes are lost is to be uploaded again."""
    made = make_wheel()
    harness.upload(made)
    harness.store.delete(keys.distribution(DEMO, made.sha256, made.filename))

    assert not preview(harness, made).is_listed


def size_refusal(harness: IndexHarness, size: int) -> WheelyardError | None:
    """Return why a wheel of a size would be refused where one of 1 MiB just fits, or None."""
    index = harness.opened(5, settings=Settings(uploads=UploadSettings(max_file_size=1)))
    candidate = CandidateFile(make_wheel().filename, size)
    return UploadDryRun(index.uploads, ALICE).preview(candidate).refusal


@pytest.mark.parametrize(("size", "words"), [(0, "is empty"), (MIB + 1, "File too large")])
def test_a_size_is_refused(harness: IndexHarness, size: int, words: str) -> None:
    """An empty file is refused, and one that is larger than the limit."""
    refusal = size_refusal(harness, size)

    assert refusal is not None
    assert words in refusal.message


def test_a_size_that_just_fits_is_taken(harness: IndexHarness) -> None:
    """A file that is as large as the limit is not refused."""
    assert size_refusal(harness, MIB) is None


@pytest.mark.parametrize(
    ("limits", "name"), [({"project_files": 2}, "demo"), ({"index_files": 2}, "other")]
)
def test_files_of_a_dry_run_count_together(
    harness: IndexHarness, limits: dict[str, int], name: str
) -> None:
    """Files that fit into a quota one by one are refused from the first that does not any more."""
    harness.index = harness.opened(5, tables=toml_of(main=limits))
    dry_run = UploadDryRun(harness.index.uploads, ALICE)
    files = [make_wheel(), make_sdist(), make_wheel(name, "2.0"), make_wheel(version="3.0")]

    refusals = [dry_run.preview(candidate(made)).refusal for made in files]

    assert refusals[:2] == [None, None]
    assert all(refusal is not None for refusal in refusals[2:])
    assert "these are 3 more" in str(refusals[2])


def build(tag: str) -> Distribution:
    """Return a wheel with a build tag in its name."""
    made = make_wheel()
    return Distribution(made.filename.replace("1.0-", f"1.0-{tag}-"), made.body)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_wheel(), make_wheel()),
        (make_wheel(), OTHER_BYTES),
        (make_wheel(), make_wheel(version="1.0.0")),
        (make_sdist(), make_sdist(version="1.0.0")),
        (make_wheel(), build("1")),
        (build("1"), build("01")),
        (make_wheel(), make_sdist()),
    ],
    ids=["same", "other bytes", "spelling", "sdists", "build", "spelling of a build", "both kinds"],
)
def test_files_of_a_dry_run_clash_as_their_uploads_do(
    harness: IndexHarness, first: Distribution, second: Distribution
) -> None:
    """What becomes of the second of two files is what becomes of it if both are uploaded."""
    dry_run = UploadDryRun(harness.index.uploads, ALICE)
    said = [dry_run.preview(candidate(made)) for made in (first, second)]
    harness.upload(first)

    assert (said[0].refusal, said[0].is_listed) == (None, False)
    if said[1].refusal is None:
        harness.upload(second)
        files = harness.index.projects.get(DEMO).files
        assert (len(files) == 1) == said[1].is_listed
        return
    with pytest.raises(WheelyardError) as refused:
        harness.upload(second)
    assert said[1].refusal.message == refused.value.message


def test_only_the_metadata_decides_about_a_name_with_two_readings(harness: IndexHarness) -> None:
    """A filename that may be of two projects has no project before it is uploaded."""
    made = Distribution("demo-1.0-1.tar.gz", b"x")

    said = preview(harness, made)

    assert (said.refusal, said.distribution, len(said.readings)) == (None, None, 2)
    assert preview(harness, made, Caller("token:eve", ())).refusal is not None


def test_upstream_indexes_are_asked_once_for_a_new_name(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A dry run asks upstream indexes once for a new name, refuses public ones, and claims none."""
    harness = GuardedHarness(tmp_path_factory.mktemp("guarded"))
    before = harness.snapshot()
    dry_run = UploadDryRun(harness.index.uploads, ALICE)

    said = [dry_run.preview(candidate(made)) for made in (make_wheel(), make_sdist())]
    public = dry_run.preview(candidate(make_wheel("requests")))

    assert [each.refusal for each in said] == [None, None]
    assert public.refusal is not None
    assert public.refusal.code == "public_name"
    assert harness.public.asked == ["demo", "requests"]
    assert harness.snapshot() == before


def test_a_dry_run_shows_nothing_to_whoever_may_not_upload(harness: IndexHarness) -> None:
    """Who may not upload to a project gets the same answer whether it exists or not."""
    harness.upload(make_wheel("foreign"))
    answers = [preview(harness, make_wheel(name), BOB) for name in ("foreign", "nothere")]

    assert len({(each.is_first, each.is_listed) for each in answers}) == 1
    messages = [str(each.refusal) for each in answers]
    assert messages[0].replace("foreign", "nothere") == messages[1]
