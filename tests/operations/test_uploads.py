"""Uploads: the outcome for valid and refused files."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import chain, repeat
from threading import Barrier
from types import FrameType

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.fake_store import Before, FakeStore
from tests.operations.in_memory_index import ALICE, IndexHarness, code_of, history
from tests.refused import refused
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Forbidden, Invalid, WheelyardError
from wheelyard.model.access import Action, Caller, Scope, parse_pattern
from wheelyard.model.distribution_filename import parse_known_filename, parse_version
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Event, Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.uploads import find_identical

DEMO = NormalizedName("demo")


def caller(action: Action, *patterns: str) -> Caller:
    """Return a caller with these rights."""
    scope = Scope(
        action.with_implied, tuple(parse_pattern(pattern) for pattern in patterns), (MAIN,)
    )
    return Caller("token:bob", (scope,))


def refusal(harness: IndexHarness, made: Distribution, **claims: str) -> str:
    """Return the code with which an upload is refused, which leaves the store as it was."""
    before = harness.snapshot()
    with pytest.raises(WheelyardError) as caught:
        harness.upload(made, ALICE, **claims)
    assert harness.snapshot() == before
    return " ".join(code_of(caught.value))


@pytest.mark.parametrize("made", [make_wheel(), make_sdist()], ids=["wheel", "sdist"])
def test_an_upload_is_listed_and_kept(harness: IndexHarness, made: Distribution) -> None:
    """What was accepted is listed with its facts, and its bytes and its metadata are kept."""
    file = harness.upload(made)

    project = harness.index.projects.get(DEMO)
    assert project.files == (file,)
    assert (file.filename, file.sha256, file.size) == (made.filename, made.sha256, len(made.body))
    assert (file.version, file.uploaded_by) == ("1.0", "local:alice")
    assert file.uploaded_at == harness.clock.now
    assert harness.bytes_at(keys.distribution(DEMO, made.sha256, made.filename)) == made.body
    assert harness.index.files.core_metadata(DEMO, file).startswith(b"Metadata-Version")
    assert harness.opened(3).projects.get(DEMO) == project


def test_a_project_has_the_summary_that_was_uploaded_last(harness: IndexHarness) -> None:
    """A project has the summary of the last upload, and keeps it after one without a summary."""
    summaries = list[str]()
    for version, lines in (("1.0", ["Summary: First"]), ("2.0", ["Summary: Next"]), ("3.0", [])):
        harness.upload(make_wheel("demo", version, *lines))
        summaries.append(harness.index.projects.get(DEMO).summary)

    assert summaries == ["First", "Next", "Next"]


def calls(harness: IndexHarness, version: str) -> int:
    """Upload a version of the project, and return how many functions were called for that."""
    made, found = make_wheel(version=version), Counter[str]()

    def count(_: FrameType, event: str, __: object) -> None:
        found[event] += 1

    sys.setprofile(count)
    try:
        harness.upload(made)
    finally:
        sys.setprofile(None)
    return found["call"] + found["c_call"]


def test_an_upload_to_a_large_project_takes_no_more_work(harness: IndexHarness) -> None:
    """An upload takes no more steps for a large project than for a small one."""
    first = harness.upload(make_wheel())
    few = [calls(harness, version) for version in ("1.1", "1.2")]
    versions = [f"0.{number}" for number in range(1000)]
    files = [
        replace(first, filename=f"demo-{version}.tar.gz", version=version) for version in versions
    ]
    events = tuple(Event.uploaded(file, at=first.uploaded_at, by="local:alice") for file in files)
    harness.index.projects.change(DEMO, lambda _: events)

    many = [calls(harness, version) for version in ("1.3", "1.4")]

    # one step for each of a thousand files would be far more than a hundred
    assert min(many) <= min(few) + 100, (few, many)


def test_the_same_bytes_again_change_nothing(harness: IndexHarness) -> None:
    """A second upload of the same bytes succeeds, changes nothing and keeps the upload time."""
    first = harness.upload(make_wheel())
    before = harness.snapshot()
    harness.clock.advance(days=3)

    again = harness.upload(make_wheel(), caller(Action.UPLOAD, "demo"))

    assert again == first
    assert harness.snapshot() == before


def test_a_file_with_waived_rules_may_come_again(harness: IndexHarness) -> None:
    """A listed file is not judged again, so an upload of its bytes succeeds as if it kept rules."""
    made = make_sdist(metadata=b"Metadata-Version: 1.1\nName: demo\n")
    assert refusal(harness, made) == "Invalid invalid_metadata"
    lenient = harness.index.uploads.with_waivers
    lenient.accept(made.arrival(harness.folder), ALICE)
    before = harness.snapshot()

    again = harness.upload(made)

    assert again.waived_rules
    assert harness.snapshot() == before


def test_a_filename_never_changes_content(harness: IndexHarness) -> None:
    """An upload of other bytes under a listed filename is refused."""
    harness.upload(make_wheel())

    assert refusal(harness, make_wheel(content=b"other")) == "Conflict file_exists"


def test_a_filename_that_was_taken_meanwhile(harness: IndexHarness) -> None:
    """Of two uploads at once under one filename, the later one is refused, and the first stays."""
    first, other = make_wheel(), make_wheel(content=b"other")
    overtaken = Before(lambda: harness.upload(first), "put", keys.project(DEMO))
    later = harness.opened(3, FakeStore(harness.store, overtaken))
    with refused(Conflict, "file_exists"):
        later.uploads.accept(other.arrival(harness.folder), ALICE)
    assert [file.sha256 for file in harness.opened(4).projects.get(DEMO).files] == [first.sha256]


@pytest.mark.parametrize("content", [b"", b"other"])
def test_a_deleted_filename_never_comes_back(harness: IndexHarness, content: bytes) -> None:
    """The filename of a deleted file is refused, with the same bytes and with others."""
    harness.upload(make_wheel())
    harness.index.lifecycle.change("delete", ALICE, DEMO, Selection(parse_version("1.0")), "")

    assert refusal(harness, make_wheel(content=content)) == "Invalid file_exists"


@pytest.mark.parametrize(
    ("listed", "respelled"),
    [
        (make_wheel("foo_bar"), make_wheel("Foo_Bar")),
        (make_wheel("foo_bar"), make_wheel("foo_bar", "1.0.0")),
        (make_wheel("foo_bar", "1.0.0"), make_wheel("foo_bar", "1")),
        (make_sdist("foo_bar"), make_sdist("foo_bar", "1.0.0")),
        (make_wheel(tag="py2.py3-none-any"), make_wheel(tag="py3.py2-none-any")),
    ],
    ids=["name", "zeros", "fewer zeros", "sdist", "tags"],
)
@pytest.mark.parametrize("deleted", [False, True])
def test_another_spelling_of_a_filename_is_refused(
    harness: IndexHarness, listed: Distribution, respelled: Distribution, *, deleted: bool
) -> None:
    """A file that differs from a listed or a deleted one only in spelling is refused."""
    file = harness.upload(listed)
    if deleted:
        (name,) = harness.index.projects.names.get().value.names  # type: ignore[union-attr]
        selection = Selection(parse_version(file.version))
        harness.index.lifecycle.change("delete", ALICE, name, selection, "")

    assert refusal(harness, respelled) == "Invalid file_exists"


def test_old_formats_of_one_version_are_told_apart(harness: IndexHarness) -> None:
    """From an old index, sdists of one version come in several formats, each spelled in one way."""
    harness.upload(make_sdist())
    project = harness.index.projects.get(DEMO)

    archive = parse_known_filename("demo-1.0.zip")

    now = harness.index.server.runtime.now()
    assert find_identical(project, archive, "0" * 64, now, is_lenient=True) is None
    for filename, lenient in (("demo-1.0.zip", False), ("demo-1.0.0.tar.gz", True)):
        with pytest.raises(Invalid, match="differs only in spelling"):
            find_identical(
                project, parse_known_filename(filename), "0" * 64, now, is_lenient=lenient
            )


def test_one_release_has_many_files(harness: IndexHarness) -> None:
    """One release has an sdist and wheels of several tags, with any spelling of the version."""
    distributions = [
        make_sdist(),
        make_wheel(),
        make_wheel(tag="cp312-cp312-linux_x86_64"),
        make_wheel(version="1.0.0", tag="cp313-cp313-linux_x86_64"),
    ]
    for made in distributions:
        harness.upload(made)

    listed = harness.index.projects.get(DEMO).files
    assert [file.filename for file in listed] == sorted(made.filename for made in distributions)


def test_a_version_is_listed_as_the_metadata_spell_it(harness: IndexHarness) -> None:
    """A file is listed with the version of its metadata, also if its name has fewer zeros."""
    metadata = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0.0\n"

    assert harness.upload(make_wheel(version="1.0", metadata=metadata)).version == "1.0.0"


@pytest.mark.parametrize("name", ["simple", "Legacy"])
def test_no_project_has_the_name_of_a_route(harness: IndexHarness, name: str) -> None:
    """No project can have the name of a route."""
    assert refusal(harness, make_wheel(name)) == "Invalid invalid_name"


@pytest.mark.parametrize(
    ("status", "taken"),
    [
        (Status.ACTIVE, True),
        (Status.DEPRECATED, True),
        (Status.ARCHIVED, False),
        (Status.QUARANTINED, False),
    ],
)
def test_archived_takes_no_files(harness: IndexHarness, status: Status, *, taken: bool) -> None:
    """An archived or quarantined project takes no files; an active or deprecated one does."""
    harness.upload(make_wheel())
    harness.index.lifecycle.set_status(ALICE, DEMO, status, "")
    before = harness.snapshot()

    with nullcontext() if taken else pytest.raises(Forbidden):
        harness.upload(make_wheel(version="2.0"))

    assert (harness.snapshot() == before) is not taken


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"name": "other"}, "name_mismatch"),
        ({"version": "2.0"}, "version_mismatch"),
        ({"name": "not a name!"}, "invalid_name"),
        ({"version": "not a version"}, "invalid_version"),
    ],
)
def test_form_has_to_agree(harness: IndexHarness, claims: dict[str, str], code: str) -> None:
    """A form that speaks of another project or version than the file is refused."""
    assert refusal(harness, make_wheel(), **claims) == f"Invalid {code}"


def test_a_form_may_spell_name_and_version_differently(harness: IndexHarness) -> None:
    """A form may spell the name and the version in its own way."""
    file = harness.upload(make_wheel("foo_bar"), ALICE, name="Foo.Bar", version="1.0.0")

    assert file.filename == "foo_bar-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (caller(Action.UPLOAD, "demo"), True),
        (caller(Action.MANAGE, "*"), True),
        (caller(Action.READ, "*"), False),
        (caller(Action.UPLOAD, "demo-2", "dem"), False),
        (caller(Action.ADMIN, "other"), False),
        (Caller("anonymous", ()), False),
    ],
)
def test_uploads_need_the_right(harness: IndexHarness, who: Caller, *, may: bool) -> None:
    """Uploading needs the right to upload to that very project, whatever was checked before."""
    uploads, arrival = harness.index.uploads, make_wheel().arrival(harness.folder)

    with nullcontext() if may else pytest.raises(Forbidden):
        uploads.authorize(make_wheel().filename, who)
    with nullcontext() if may else pytest.raises(Forbidden):
        uploads.accept(arrival, who)

    assert bool(harness.snapshot("files/")) is may


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04", make_sdist().body, make_wheel("other").body])
def test_an_invalid_archive_is_refused(harness: IndexHarness, body: bytes) -> None:
    """A file that is not the archive of its name is refused, and nothing is stored."""
    assert refusal(harness, Distribution("demo-1.0-py3-none-any.whl", body)).startswith("Invalid ")


def test_a_stopped_machine_refuses_no_file(harness: IndexHarness) -> None:
    """While a file is read the machine may stand still for 14 seconds."""
    moments, uploads = chain((0.0,), repeat(14.0)), harness.index.uploads
    stopping = replace(uploads.runtime, monotonic=lambda: next(moments))
    arrival = make_wheel().arrival(harness.folder)

    published = replace(uploads, runtime=stopping).accept(arrival, ALICE)

    assert published.status == "uploaded"


def test_a_file_that_is_not_there_is_refused(harness: IndexHarness) -> None:
    """The path of an upload that cannot be opened is refused by name, and nothing is stored."""
    before, path = harness.snapshot(), harness.folder / make_wheel().filename

    with pytest.raises(Invalid, match="cannot be read") as caught:
        harness.index.uploads.accept_path(path, ALICE, lambda _: None)

    assert (caught.value.code, str(path) in caught.value.message) == ("invalid_filename", True)
    assert harness.snapshot() == before


def test_uploads_at_once_share_commits(harness: IndexHarness) -> None:
    """Uploads to one project that meet are all listed, by one commit or by several."""
    made = [make_wheel(version=f"{number}.0") for number in range(16)]
    barrier = Barrier(len(made))

    def upload(each: Distribution) -> None:
        barrier.wait(30)
        harness.upload(each)

    with ThreadPoolExecutor(len(made)) as pool:
        list(pool.map(upload, made))

    project = harness.index.projects.get(DEMO)
    assert {file.filename for file in project.files} == {
        distribution.filename for distribution in made
    }
    events = [event for commit in history(harness.index, DEMO) for event in commit.events]
    assert len(events) == 16
    assert project.revision <= 16
    assert harness.check().problems == []


def test_of_many_uploads_of_one_filename_one_succeeds(harness: IndexHarness) -> None:
    """Of many who upload other bytes under one filename, exactly one succeeds."""

    def upload(number: int) -> str | None:
        made = make_wheel(content=b"%d" % number)
        try:
            return harness.upload(made).sha256
        except WheelyardError as fault:
            assert code_of(fault) == ("Conflict", "file_exists")  # noqa: PT017
            return None

    with ThreadPoolExecutor(20) as pool:
        accepted = [number for number in pool.map(upload, range(20)) if number is not None]

    assert accepted == [file.sha256 for file in harness.index.projects.get(DEMO).files]
