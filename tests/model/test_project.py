"""Stored projects: documents of older versions, and unknown fields of newer ones."""

from datetime import UTC, datetime

import pytest
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Codec
from wheelyard.model.project import Commit, File, Project, Uploaded, fold
from wheelyard.storage.base import Key

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FILE = (
    b'{"filename":"demo-1.0-py3-none-any.whl","version":"1.0","sha256":"' + b"a" * 64 + b'",'
    b'"size":1337,"uploaded_at":"2026-01-01T12:00:00Z","uploaded_by":"local:ann",'
    b'"core_metadata":"' + b"b" * 64 + b'","requires_python":">=3.9"}'
)
COMMIT = (
    b'{"number":1,"id":"00","previous":"","events":[{"what":"uploaded",'
    b'"at":"2026-01-01T12:00:00Z","by":"local:ann","file":' + FILE + b"}]}"
)
DOCUMENT = b'{"name":"demo","revision":1,"files":[' + FILE + b'],"commit":' + COMMIT + b"}"


@pytest.mark.parametrize(("kind", "body"), [(Project, DOCUMENT), (Commit, COMMIT)])
def test_old_documents(kind: type[Project | Commit], body: bytes) -> None:
    """What an older version has written is read, and written again byte for byte."""
    codec = Codec(kind)

    assert codec.encode(codec.decode(Key("x"), body)) == body + b"\n"


def test_old_commits_fold_as_ever() -> None:
    """Commits of an older version fold to the document that it has written."""
    commit = Codec(Commit).decode(Key("x"), COMMIT)

    assert Codec(Project).encode(fold(Project(name=NormalizedName("demo")), commit)) == (
        DOCUMENT + b"\n"
    )


def uploaded(*files: tuple[str, str]) -> Project:
    """Return a project to which files of these versions and summaries were uploaded."""
    project = Project(name=NormalizedName("demo"))
    for number, (version, summary) in enumerate(files):
        file = File(
            filename=f"demo-{version}.tar.gz",
            version=version,
            sha256="a" * 64,
            size=1,
            uploaded_at=NOON,
            uploaded_by="x",
            core_metadata="",
        )
        event = Uploaded(at=NOON, by="x", file=file, summary=summary)
        project = fold(project, Commit(number=number + 1, id="", previous="", events=(event,)))
    return project


def test_uploads() -> None:
    """Files are listed by filename; the summary is that of the last file that has one."""
    project = uploaded(("2.0", "First"), ("10.0", "Second"), ("1.0", ""), ("3.0", ""))

    assert [each.version for each in project.files] == ["1.0", "10.0", "2.0", "3.0"]
    assert project.summary == "Second"
    assert b'"summary":"Second"' in Codec(Project).encode(project)
