"""Uploads of sdists whose version has a hyphen: under which project, and who may do that."""

import pytest
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness, remove_now
from tests.operations.old_sdists import old_sdist, sdist_without_metadata
from tests.operations.two_indexes import DEMO, TwoIndexes
from tests.operations.upstream_names import GuardedHarness, PublicNames
from tests.refused import refused
from wheelyard.errors import (
    Conflict,
    Forbidden,
    Invalid,
    TooLarge,
    Unavailable,
    WheelyardError,
)
from wheelyard.model.access import Action, Caller, Scope, parse_pattern
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.uploads import PublishedFile
from wheelyard.wiring.index import Index

SHORT = old_sdist("demo", "1.0-1")
"""Version 1.0-1 of demo."""
LONG = old_sdist("demo-1.0", "1")
"""Version 1 of demo-1.0, under the same filename."""
DEMO_1_0 = NormalizedName("demo-1-0")
OF_DEMO, OF_DEMO_1_0 = (
    Caller(f"token:{name}", (Scope(Action.UPLOAD.with_implied, (parse_pattern(name),), (MAIN,)),))
    for name in (DEMO, DEMO_1_0)
)


def upload(
    index: Index, harness: IndexHarness, made: Distribution, caller: Caller = ALICE, name: str = ""
) -> PublishedFile:
    """Upload a distribution as the form does if it has its name, or none, behind the file."""
    index.uploads.authorize(made.filename, caller)
    return index.uploads.accept(made.arrival(harness.folder, name=name), caller)


def test_the_same_filename_is_of_the_project_that_its_metadata_names(
    harness: IndexHarness,
) -> None:
    """Two projects can have a file of one name, and each is where its PKG-INFO belongs."""
    assert SHORT.filename == LONG.filename

    assert [upload(harness.index, harness, made).project for made in (SHORT, LONG)] == [
        DEMO,
        DEMO_1_0,
    ]

    (short,) = harness.index.projects.get(DEMO).files
    (long,) = harness.index.projects.get(DEMO_1_0).files
    assert (short.version, short.sha256) == ("1.0.post1", SHORT.sha256)
    assert (long.version, long.sha256) == ("1", LONG.sha256)
    assert harness.check().problems == []


@pytest.mark.parametrize(
    ("name", "of_demo", "of_demo_1_0"),
    [
        ("", Forbidden, Forbidden),
        ("demo", Forbidden, Invalid),
        ("Demo_1.0", Invalid, Forbidden),
    ],
)
def test_a_right_counts_for_the_project_that_gets_the_file(
    harness: IndexHarness,
    name: str,
    of_demo: type[WheelyardError],
    of_demo_1_0: type[WheelyardError],
) -> None:
    """Who may upload to one of both projects cannot publish to the other one, whatever is sent."""
    before = harness.snapshot()
    with pytest.raises(of_demo):
        upload(harness.index, harness, SHORT, OF_DEMO_1_0, name)
    with pytest.raises(of_demo_1_0):
        upload(harness.index, harness, LONG, OF_DEMO, name)

    assert harness.snapshot() == before
    assert upload(harness.index, harness, SHORT, OF_DEMO).project == DEMO
    assert upload(harness.index, harness, LONG, OF_DEMO_1_0).project == DEMO_1_0


def test_nobody_needs_a_right_to_a_project_that_the_form_does_not_name(
    harness: IndexHarness,
) -> None:
    """The name in the form decides before the file has come, and must be one of the filename."""
    authorize = harness.index.uploads.authorize
    (reading,) = authorize(SHORT.filename, OF_DEMO, form_name="DEMO")
    assert (reading.project, str(reading.version)) == (DEMO, "1.0.post1")
    with refused(Invalid, "name_mismatch"):
        authorize(SHORT.filename, OF_DEMO, form_name="other")
    with pytest.raises(Forbidden):
        authorize(SHORT.filename, OF_DEMO, form_name="demo-1-0")
    nobody = Caller("token:nobody", ())
    with pytest.raises(Forbidden):
        authorize(SHORT.filename, nobody)


def test_a_name_of_the_form_that_the_metadata_contradicts(harness: IndexHarness) -> None:
    """The form chooses a reading, and the file must then be what the form says."""
    before = harness.snapshot()
    with refused(Invalid, "name_mismatch"):
        upload(harness.index, harness, SHORT, name="demo-1.0")
    with refused(Invalid, "name_mismatch"):
        upload(harness.index, harness, SHORT, name="dem")
    other = Distribution("made-1.0-1.tar.gz", SHORT.body)
    with refused(Invalid, "name_mismatch", "may be of, made or made-1-0 "):
        upload(harness.index, harness, other)
    with refused(Invalid, "name_mismatch", "with a version by PEP 440"):
        upload(harness.index, harness, Distribution("demo-2026-01-02.tar.gz", SHORT.body))
    assert harness.snapshot() == before


@pytest.mark.parametrize("is_lenient", [False, True])
def test_what_nothing_decides_is_refused(harness: IndexHarness, *, is_lenient: bool) -> None:
    """A file whose hyphen nothing decides is refused by its name, also where rules are waived."""
    uploads, made = harness.index.uploads, sdist_without_metadata(SHORT.filename)
    uploads = uploads.with_waivers if is_lenient else uploads
    before = harness.snapshot()

    with refused(Invalid, "ambiguous_filename", "Build it again"):
        uploads.accept(made.arrival(harness.folder), ALICE)

    assert harness.snapshot() == before
    if is_lenient:
        assert uploads.accept(made.arrival(harness.folder, name="demo"), ALICE).project == DEMO


def test_an_upstream_index_is_asked_for_the_project_that_gets_the_file(
    guarded: GuardedHarness,
) -> None:
    """A public name cannot be taken by a filename that may be of another project."""
    guarded.public.names.add(DEMO)
    before = guarded.snapshot()

    with refused(Forbidden, "public_name"):
        upload(guarded.index, guarded, SHORT)

    assert guarded.snapshot() == before
    assert not guarded.is_private(DEMO)
    assert not guarded.is_private(DEMO_1_0)
    assert upload(guarded.index, guarded, LONG).project == DEMO_1_0
    assert guarded.is_private(DEMO_1_0)
    assert not guarded.is_private(DEMO)


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> GuardedHarness:
    """An index beside an upstream index that has no name yet."""
    return GuardedHarness(tmp_path_factory.mktemp("guarded"), public=PublicNames(set()))


@pytest.mark.parametrize("name", ["", "demo"])
def test_a_quota_is_that_of_the_project_that_gets_the_file(
    harness: IndexHarness, name: str
) -> None:
    """A full project takes no file because another reading of its filename has room."""
    index = harness.opened(5, tables=toml_of(main={"project_files": 1}))
    upload(index, harness, make_wheel())
    before = harness.snapshot()

    with refused(TooLarge, "quota_exceeded"):
        upload(index, harness, SHORT, name=name)

    assert harness.snapshot() == before
    assert upload(index, harness, LONG).project == DEMO_1_0


def test_a_name_that_no_project_can_have(harness: IndexHarness) -> None:
    """A name that is a path of the server is refused, though another reading is not one."""
    with refused(Invalid, "invalid_name"):
        upload(harness.index, harness, old_sdist("simple", "1-2"))


@pytest.mark.parametrize("caller", [ALICE, OF_DEMO_1_0], ids=["of-both", "of-one"])
def test_a_refusal_that_may_pass_is_not_one_for_good(
    guarded: GuardedHarness, caller: Caller
) -> None:
    """While nobody can say whether a name is public, what holds for the other one is no answer."""
    upload(guarded.index, guarded, make_wheel())
    guarded.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")
    guarded.public.is_down = True

    with refused(Unavailable, "upstream_unavailable"):
        guarded.index.uploads.authorize(LONG.filename, caller)


def test_a_refusal_is_that_of_a_project_that_the_caller_may_upload_to(
    harness: IndexHarness,
) -> None:
    """Who may upload to one of both projects reads why that one takes no file."""
    upload(harness.index, harness, LONG)
    harness.index.lifecycle.set_status(ALICE, DEMO_1_0, Status.ARCHIVED, "")

    with pytest.raises(Forbidden, match=r"demo-1-0.* is archived"):
        harness.index.uploads.authorize("demo-1.0-2.tar.gz", OF_DEMO_1_0)


def test_an_archived_project(harness: IndexHarness) -> None:
    """A project that takes no uploads takes none, though another reading does."""
    upload(harness.index, harness, make_wheel())
    harness.index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "")

    with pytest.raises(Forbidden, match="is archived"):
        upload(harness.index, harness, SHORT)


def test_a_version_is_used_once(harness: IndexHarness) -> None:
    """Both spellings of a version are one, before and after it was deleted and restored."""
    index, other = harness.index, make_sdist(version="1.0.post1")
    upload(index, harness, SHORT)
    with refused(Invalid, "file_exists", "differs only in spelling"):
        upload(index, harness, other)
    selection = Selection(parse_version("1.0-1"))

    index.lifecycle.change("delete", ALICE, DEMO, selection, "")
    with refused(Invalid, "file_exists", "has been deleted"):
        upload(index, harness, other)
    upload(index, harness, old_sdist("demo-1.0", "2"))
    assert index.lifecycle.change("restore", ALICE, DEMO, selection, "").files

    (file,) = harness.opened(seed=7).projects.get(DEMO).files
    assert file.filename == SHORT.filename
    assert harness.check().problems == []


def test_a_deleted_version_of_the_other_project_is_free(harness: IndexHarness) -> None:
    """What was deleted from one project says nothing about the other project of its filename."""
    upload(harness.index, harness, LONG)
    selection = Selection(parse_version("1"))
    harness.index.lifecycle.change("delete", ALICE, DEMO_1_0, selection, "")

    assert upload(harness.index, harness, SHORT).status == "uploaded"
    with refused(Invalid, "file_exists"):
        upload(harness.index, harness, old_sdist("demo-1.0", "1.0"))


def test_bytes_are_removed_at_once(harness: IndexHarness) -> None:
    """A delete that removes bytes at once finds the core metadata by the project's reading."""
    upload(harness.index, harness, SHORT)
    upload(harness.index, harness, LONG)

    remove_now(harness.index, SHORT.sha256)

    assert harness.index.projects.get(DEMO).files == ()
    assert SHORT.body not in harness.snapshot().values()
    assert LONG.body in harness.snapshot().values()


def test_a_release_is_promoted(harness: IndexHarness) -> None:
    """A release is promoted by the version that its project reads, and clashes by it."""
    indexes = TwoIndexes(harness)
    indexes.upload(SHORT)

    assert [file.filename for file in indexes.promote("1.0.post1").new] == [SHORT.filename]

    again = TwoIndexes(harness, seed=40)
    again.upload(make_sdist(version="2-1"))
    again.upload(make_sdist(version="2.post1", content=b"other"), again.prod)
    with pytest.raises(Conflict):
        again.promote("2.post1")


def test_a_file_on_this_machine(harness: IndexHarness) -> None:
    """The command that uploads a file into a store decides by its metadata, too."""
    accept = harness.index.uploads.accept_path
    assert accept(LONG.write(harness.folder), OF_DEMO_1_0, lambda _: None).project == DEMO_1_0
    with pytest.raises(Forbidden):
        accept(SHORT.write(harness.folder), OF_DEMO_1_0, lambda _: None)
    assert accept(SHORT.write(harness.folder), OF_DEMO, lambda _: None).project == DEMO
