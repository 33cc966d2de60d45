"""A kind of table that wheelyard does not have gets its document, operations, pages and lines."""

import re
from collections.abc import Iterator
from typing import Annotated, Final

import pytest
from msgspec import Meta, Struct

from tests.fake_time import START
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in, text_of
from tests.http.in_process import InProcessServer, in_process
from wheelyard.api import local_api, table
from wheelyard.api.operation import Call
from wheelyard.api.project_operations import WHOLE_HISTORY
from wheelyard.api.table_operations import (
    NewTable,
    TableAnswer,
    TableEdit,
    TableHistory,
    TableJson,
    TableOperations,
    TableRemoval,
    TableTexts,
)
from wheelyard.catalog.commits import Commits
from wheelyard.catalog.document_cache import DocumentCache
from wheelyard.catalog.journaled_documents import JournaledDocument, table_journal
from wheelyard.errors import Conflict, Invalid, NotFound
from wheelyard.http import routes
from wheelyard.http.handlers.admin.table_pages import TablePages
from wheelyard.model.project import EventCommit
from wheelyard.model.stored_tables import (
    ListedTable,
    StoredTable,
    TableAdded,
    TableChanged,
    TableKind,
    TableList,
    TableRemoved,
)
from wheelyard.operations.table_changes import StoredTables
from wheelyard.storage.base import Key

Line = Annotated[str, Meta(min_length=1, title="a line of text")]


class Announcement(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an announcement says."""

    name: Line
    text: Line
    end: str = ""
    index: str = "main"


class AnnouncementAdded(TableAdded, frozen=True, kw_only=True, tag="announcement-added"):
    """An announcement was added."""


class AnnouncementChanged(TableChanged, frozen=True, kw_only=True, tag="announcement-changed"):
    """An announcement was changed."""


class AnnouncementRemoved(TableRemoved, frozen=True, kw_only=True, tag="announcement-removed"):
    """An announcement was removed."""


AnyEvent = AnnouncementAdded | AnnouncementChanged | AnnouncementRemoved


class AnnouncementCommit(EventCommit[AnyEvent], frozen=True, kw_only=True):
    """A write of the document."""


class AnnouncementList(TableList[StoredTable], frozen=True, kw_only=True, omit_defaults=True):
    """The announcements in the store."""

    commit: AnnouncementCommit | None = None


KIND: Final = TableKind[AnnouncementList, AnyEvent, ListedTable](
    noun="announcement",
    plural="announcements",
    title="announcements",
    article="an",
    titles=("Announcement", "Text", "Added"),
    fields=Announcement,
    added_word="added",
    document=AnnouncementList,
    commit=AnnouncementCommit,
    stored=StoredTable,
    added=AnnouncementAdded,
    changed=AnnouncementChanged,
    removed=AnnouncementRemoved,
    listed=ListedTable,
    exists_code="announcement_exists",
    changed_code="announcement_changed",
    events={
        AnnouncementAdded: "Added announcements",
        AnnouncementChanged: "Changed announcements",
        AnnouncementRemoved: "Removed announcements",
    },
)
JOURNAL: Final = table_journal(
    KIND, Key("announcements.json"), "announcements/", "pages may lack one"
)


def announcements(call: Call) -> StoredTables:  # type: ignore[type-arg]
    """Return the announcements in the store of an index."""
    retries = call.index.server.retries
    store = call.index.stores.documents
    documents = DocumentCache(store, JOURNAL.documents, retries.runtime, call.index.server.caching)
    commits = Commits[AnnouncementList, AnnouncementCommit, AnyEvent](store, documents, retries, 1)
    records = JournaledDocument(JOURNAL, commits)
    return StoredTables(KIND, records, call.index.server.runtime)


ANNOUNCEMENTS: Final = TableOperations(
    KIND,
    TableJson(
        answer=TableAnswer[ListedTable],
        listed=ListedTable,
        history=TableHistory[AnnouncementCommit],
    ),
    TableTexts(
        list="List the announcements.",
        history="Show the changes of announcements.",
        add="Add an announcement.",
        change="Change an announcement.",
        remove="Remove an announcement.",
        right_to_see="see announcements",
        right_to_change="change announcements",
    ),
    announcements,
)
HELLO: Final = {"name": "hello", "text": "Welcome", "end": "2026-12-01"}


@pytest.fixture
def server(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InProcessServer]:
    """A server that has announcements as well."""
    operations = {row.run: row for row in ANNOUNCEMENTS.rows}
    pages = (*routes.TABLE_PAGES, (TablePages, ANNOUNCEMENTS))
    monkeypatch.setattr(routes, "TABLE_PAGES", pages)
    monkeypatch.setattr(routes, "OPERATIONS", (*table.OPERATIONS, *ANNOUNCEMENTS.rows))
    monkeypatch.setattr(local_api, "ROWS", {**table.ROWS, **operations})
    folder = tmp_path_factory.mktemp("server")
    with in_process(folder, settings_in(folder), tables=TABLES) as opened:
        yield opened


def test_its_operations_check_and_keep_the_keys(server: InProcessServer) -> None:
    """A new kind of table has operations, which refuse unknown keys, names and old states."""
    api = Administrator.of(server).api
    added = api.call(ANNOUNCEMENTS.add, NewTable(HELLO, "TEAM-1"))
    edit = TableEdit("hello", {"text": "Bye", "end": None}, as_of=added.created)
    changed = api.call(ANNOUNCEMENTS.change, edit)

    assert (changed.name, changed.keys) == ("hello", {"name": "hello", "text": "Bye"})
    for error, operation, body in (
        (Conflict, ANNOUNCEMENTS.add, NewTable(HELLO)),
        (Conflict, ANNOUNCEMENTS.change, TableEdit("hello", {"text": "x"}, as_of=START)),
        (Invalid, ANNOUNCEMENTS.add, NewTable({"name": "x"})),
        (Invalid, ANNOUNCEMENTS.change, TableEdit("hello", {"colour": "red"})),
        (NotFound, ANNOUNCEMENTS.remove, TableRemoval("nobody")),
    ):
        with pytest.raises(error):
            api.call(operation, body)
    api.call(ANNOUNCEMENTS.remove, TableRemoval("hello"))
    commits = api.call(ANNOUNCEMENTS.history, WHOLE_HISTORY).commits
    assert [KIND.describe_event(event) for commit in commits for event in commit.events] == [
        "announcement hello: added, text Welcome, end 2026-12-01 (TEAM-1)",
        "announcement hello: changed, text Bye",
        "announcement hello: removed",
    ]
    assert api.call(ANNOUNCEMENTS.list).tables == ()


def test_it_has_pages(server: InProcessServer) -> None:
    """A new kind of table has a list, a form, a question and a history of its own fields."""
    admin = Administrator.of(server)
    form = admin.open("announcements/?add=announcement").body.decode()
    done = admin.done("announcements/", action="add", **HELLO, note="TEAM-1")
    refused = admin.send("announcements/", action="add", name="x", text="")
    change = admin.open("announcements/?change=hello").body.decode()
    (as_of,) = re.findall('name="as_of" value="([^"]+)"', change)

    assert re.findall('<label for="([^"]+)"', form) == ["name", "text", "end", "index", "note"]
    assert "The announcement is added: hello" in done
    assert "text Welcome, end 2026-12-01" in done
    assert (refused.status, "text" in text_of(refused)) == (400, True)
    fields = {"name": "hello", "as_of": as_of, "text": "Bye", "end": ""}
    assert "text Bye" in admin.done("announcements/", action="change", **fields)
    assert "No announcement fits." in admin.read("announcements/?search=zzz")
    assert "Remove hello" in admin.read("announcements/?remove=hello")
    removed = admin.done("announcements/", action="remove", name="hello")
    assert "There is none." in removed
    assert "announcement hello: removed" in admin.read("announcements/history/")


def test_it_is_in_the_api(server: InProcessServer) -> None:
    """A new kind of table has its paths in the API, which are refused without a credential."""
    assert server.get("/api/v1/announcements").status == 401
    assert [row.path for row in ANNOUNCEMENTS.rows] == [
        "announcements",
        *(f"announcements/{end}" for end in ("history", "add", "change", "remove")),
    ]
