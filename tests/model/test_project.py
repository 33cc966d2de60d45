"""Projects and their events: what this version folds, and what it keeps of newer ones."""

from datetime import UTC, datetime

from packaging.utils import NormalizedName

from wheelyard.catalog.journaled_documents import CommitCodec, ProjectCodec, project_journal
from wheelyard.model.project import Commit, Event, EventKind, File, Project, Status
from wheelyard.model.project_changes import apply
from wheelyard.storage.base import Key

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEMO = NormalizedName("demo")
JOURNAL = project_journal(DEMO)
FILE = (
    b'{"filename":"demo-1.0-py3-none-any.whl","version":"1.0","sha256":"' + b"a" * 64 + b'",'
    b'"size":1337,"uploaded_at":"2026-01-01T12:00:00Z","uploaded_by":"local:ann",'
    b'"sidecars":{"metadata":"' + b"b" * 64 + b'"},"requires_python":">=3.9"}'
)
COMMIT = (
    b'{"number":1,"id":"00","previous":"","events":[{"what":"uploaded",'
    b'"at":"2026-01-01T12:00:00Z","by":"local:ann","files":["demo-1.0-py3-none-any.whl"],'
    b'"data":{"file":' + FILE + b"}}]}"
)
DOCUMENT = b'{"name":"demo","revision":1,"files":[' + FILE + b'],"commit":' + COMMIT + b"}"


def test_the_stored_form() -> None:
    """What is stored today is read by later versions, and written again byte for byte."""
    project = ProjectCodec().decode(Key("x"), DOCUMENT)
    commit = CommitCodec().decode(Key("x"), COMMIT + b"\n")

    assert project.files[0].core_metadata == "b" * 64
    assert ProjectCodec().encode(project) == DOCUMENT + b"\n"
    assert CommitCodec().encode(commit) == COMMIT + b"\n"
    assert ProjectCodec().encode(JOURNAL.fold(Project(name=DEMO), commit)) == DOCUMENT + b"\n"


def uploaded(*files: tuple[str, str]) -> Project:
    """Return a project to which files of these versions and summaries were uploaded."""
    project = Project(name=DEMO)
    for number, (version, summary) in enumerate(files):
        file = File(
            filename=f"demo-{version}.tar.gz",
            version=version,
            sha256="a" * 64,
            size=1,
            uploaded_at=NOON,
            uploaded_by="x",
        )
        event = Event.uploaded(file, summary, at=NOON, by="x")
        project = JOURNAL.fold(
            project, Commit(number=number + 1, id="", previous="", events=(event,))
        )
    return project


def test_files_are_listed_by_filename() -> None:
    """Files are listed by filename; the summary is that of the last file that has one."""
    project = uploaded(("2.0", "First"), ("10.0", "Second"), ("1.0", ""), ("3.0", ""))

    assert [file.version for file in project.files] == ["1.0", "10.0", "2.0", "3.0"]
    assert project.summary == "Second"
    assert b'"summary":"Second"' in ProjectCodec().encode(project)


def test_a_name_that_is_given_up_and_taken_again() -> None:
    """A released project is none, with no status, until its name is reserved or used again."""
    project = JOURNAL.fold(
        Project(name=DEMO),
        Commit(
            number=1,
            id="",
            previous="",
            events=(
                Event.status_set(Status.ARCHIVED, "old", at=NOON, by="x"),
                Event(what=EventKind.RELEASED, at=NOON, by="x", reason="nobody needs it"),
            ),
        ),
    )

    assert not project.exists
    assert (project.status, project.reason) == (Status.ACTIVE, "")
    assert apply(project, Event(what=EventKind.RESERVED, at=NOON, by="x")).exists
    assert apply(project, Event(what="promoted", at=NOON, by="x")) == project
    (file,) = uploaded(("1.0", "")).files
    assert apply(project, Event.uploaded(file, at=NOON, by="x")).exists
