"""What newer versions of wheelyard write, and this one does not know: it is kept, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import decode, encode

from tests.catalog.invariants import DEMO
from tests.rendering.examples import FILES, NOON, TEXT, file
from wheelyard.catalog import keys
from wheelyard.catalog.journaled_documents import CommitCodec, ProjectCodec, project_journal
from wheelyard.errors import Unavailable
from wheelyard.model.project import Commit, Event, File, Project
from wheelyard.storage.base import Key

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
"""Any JSON."""
FIELDS = st.dictionaries(TEXT.map("new {}".format), VALUES, max_size=3)
"""Fields that this version does not know."""
CODEC = ProjectCodec()
KEY = keys.project(DEMO)


def newer_event(fields: dict[str, object], needs: str = "") -> dict[str, object]:
    """Return an event of a kind that this version does not know, in its stored form."""
    event = {"new": fields, "at": NOON, "what": "promoted", "by": "x", "data": fields}
    return {**event, "needs": needs} if needs else event


def newer_commit(fields: dict[str, object], added: File, needs: str = "") -> bytes:
    """Return a commit with such an event, an upload, and fields that this version lacks."""
    upload = decode(encode(Event.uploaded(added, at=NOON, by="x")))
    upload["data"]["file"] |= fields
    events = [newer_event(fields, needs), {**fields, **upload}]
    return encode({**fields, "number": 1, "id": "a", "previous": "", "events": events})


def newer_document(
    fields: dict[str, object], listed: list[File], commit: bytes, **known: object
) -> bytes:
    """Return a document with such fields in it and in its files, and that commit."""
    files = [{**fields, **decode(encode(listed_file))} for listed_file in listed]
    trash = [decode(encode(file("9.0"))) | fields]
    document = {"name": DEMO, "revision": 1, **fields, "files": files, "trash": trash, **known}
    return encode({**document, "commit": Raw(commit)})


@given(FIELDS, st.lists(FILES, max_size=3, unique_by=lambda value: value.filename), FILES)
def test_a_commit_over_a_newer_document(
    fields: dict[str, object], listed: list[File], added: File
) -> None:
    """An older version that adds a file drops nothing of what a newer one has written."""
    listed = sorted(
        (listed_file for listed_file in listed if listed_file.filename != added.filename),
        key=lambda value: value.filename,
    )
    first = newer_commit(fields, file("8.0"))
    before = CODEC.decode(KEY, newer_document(fields, listed, first))
    assert before.commit is not None
    assert CommitCodec().encode(before.commit) == first + b"\n"

    event = Event.uploaded(added, at=NOON, by="y")
    after = project_journal(DEMO).fold(
        before, Commit(number=2, id="b", previous="c", events=(event,))
    )
    body = CODEC.encode(after)

    table = decode(body)
    assert [*table][len(table) - len(fields) :] == [*fields]
    assert {name: table[name] for name in fields} == fields
    for each in (*table["files"], *table["trash"]):
        is_new = each["filename"] == added.filename
        assert {name: each[name] for name in each if name in fields} == ({} if is_new else fields)
    assert len(table["files"]) == len(listed) + 1
    assert CODEC.decode(KEY, body) == after


@given(FIELDS, FILES)
def test_a_newer_commit_is_folded(fields: dict[str, object], added: File) -> None:
    """A commit of a newer version is folded, and keeps the fields that are unknown here."""
    body = newer_commit(fields, added) + b"\n"
    commit = CommitCodec().decode(Key("x"), body)
    project = project_journal(DEMO).fold(Project(name=DEMO), commit)

    assert CommitCodec().encode(commit) == body
    assert [name for name, _ in project.files[0].other_fields] == [*fields]
    assert project.needs == {}
    assert CODEC.decode(KEY, CODEC.encode(project)) == project


@pytest.mark.parametrize("status", ["active", "a status to come"])
def test_a_document_that_needs_a_newer_reader(status: str) -> None:
    """A document that needs a newer reader is refused, with the version to upgrade to."""
    commit = newer_commit({}, file("8.0"), needs="7.5")
    folded = project_journal(DEMO).fold(Project(name=DEMO), CommitCodec().decode(Key("x"), commit))
    assert folded.needs == {"promoted": "7.5"}
    body = newer_document({}, [], commit, needs=folded.needs, status=status)

    with pytest.raises(Unavailable, match=r"does not know \(promoted\). Upgrade .* 7.5") as caught:
        CODEC.decode(KEY, body)

    assert caught.value.code == "newer_document"
