"""Views of one server: by rules, and as of a day."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from msgspec.json import decode
from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import Distribution, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer, in_process
from tests.http.index_pages import JSON, versions
from tests.index_tables import toml_of
from tests.operations.fake_sources import LONG_AGO
from tests.operations.in_memory_index import ALICE, OPEN_MAIN
from tests.operations.old_files import EGG, list_old_file
from wheelyard.catalog import keys
from wheelyard.errors import first_sentence
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.promotion import IndexSide, Promotion
from wheelyard.operations.spooled_upload import SourceMetadata
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.base import Key, Stored
from wheelyard.storage.memory import MemoryStore

HTML: Final = ("Accept", "text/html")
INDEXES: Final = (
    {"name": "dev"},
    {"name": "prod", "promote_from": ["dev"]},
    {"name": "stable", "layers": ["dev"], "prereleases": False},
    {"name": "free", "layers": ["dev"], "allowed_licenses": ["MIT"]},
    {"name": "aged", "layers": ["stable"], "cooldown_days": 7},
    {"name": "over", "layers": ["over", "stable"]},
)
TABLES: Final = toml_of(main=OPEN_MAIN, index=[{**table, "read": "anyone"} for table in INDEXES])
OLD, NEW = make_wheel("demo", "1.0"), make_wheel("demo", "2.0rc1")
FREE = make_wheel(
    "demo",
    "3.0",
    metadata=b"Metadata-Version: 2.4\nName: demo\nVersion: 3.0\nLicense-Expression: MIT\n",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Yield a server with an index and views of it, which anybody may read."""
    with in_process(tmp_path, Settings(), tables=TABLES) as running:
        yield running


def _file(server: InProcessServer, prefix: str, made: Distribution) -> tuple[int, str]:
    answer = server.get(f"{prefix}/files/demo/{made.sha256}/{made.filename}")
    message = "" if answer.status == 200 else str(decode(answer.body)["message"])
    return answer.status, message


def test_a_view_shows_what_its_rules_leave(server: InProcessServer) -> None:
    """A page of a view has the files that fit, and a file that does not is not served there."""
    server.publish_to("dev", OLD, NEW, FREE)

    status, why = _file(server, "/stable", NEW)

    assert versions(server, "/dev/simple/demo/") == ["1.0", "2.0rc1", "3.0"]
    assert versions(server, "/stable/simple/demo/") == ["1.0", "3.0"]
    assert versions(server, "/free/simple/demo/") == ["3.0"]
    assert _file(server, "/stable", OLD)[0] == 200
    assert status == 404
    assert "by the rules of the index stable: demo 2.0rc1 is a pre-release" in why
    assert _file(server, "/dev", NEW)[0] == 200


def test_a_file_without_metadata_costs_no_read(tmp_path: Path) -> None:
    """A view by licences asks the store for no metadata of an egg, which has none."""
    store = FakeStore(MemoryStore(Clock().seconds))
    with in_process(tmp_path, store=store, tables=TABLES) as server:
        list_old_file(server.index.named("dev").uploads, EGG, tmp_path, LONG_AGO)
        store.calls.clear()

        assert versions(server, "/dev/simple/demo/") == ["1.0"]
        assert versions(server, "/free/simple/demo/") == []

    assert store.count("get", f"{keys.FILES}*") == 0


def test_a_view_that_hides_nothing_keeps_the_summary(
    server: InProcessServer, tmp_path: Path
) -> None:
    """A latest release without metadata has the summary of the last upload, also in a view."""
    list_old_file(server.index.named("dev").uploads, EGG, tmp_path, LONG_AGO)
    server.publish_to("dev", make_wheel("demo", "0.5", "Summary: fine"))

    for base in ("/dev", "/stable"):
        assert decode(server.get(f"{base}/api/v1/projects/demo").body)["summary"] == "fine"


def test_a_view_of_a_view_shows_what_fits_both(server: InProcessServer) -> None:
    """A view whose layer is a view shows what both show, and more as time goes by."""
    server.publish_to("dev", OLD, NEW)
    early = versions(server, "/aged/simple/demo/")
    server.clock.advance(days=7)

    assert early == []
    assert versions(server, "/aged/simple/demo/") == ["1.0"]


def test_an_answer_of_a_view_is_repeated_until_time_changes_it(server: InProcessServer) -> None:
    """A page of a view comes from memory until the first file is old enough."""
    server.publish_to("dev", OLD)
    path = "/aged/simple/demo/"
    versions(server, path)
    versions(server, path)
    repeated = server.get(path, JSON)
    server.clock.advance(days=7)
    later = server.get(path, JSON)

    assert repeated.was_quick
    assert not later.was_quick
    assert decode(later.body)["versions"] == ["1.0"]


@pytest.mark.parametrize("base", ["", "/dev"])
def test_a_day_shows_what_was_there_at_its_end(server: InProcessServer, base: str) -> None:
    """The view of a day has what was uploaded up to its end in UTC, and says so of the rest."""
    server.clock.now = datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)
    server.publish_to(base.strip("/") or MAIN, OLD)
    server.clock.advance(seconds=1)
    server.publish_to(base.strip("/") or MAIN, FREE)

    assert versions(server, f"{base}/as-of-2025-12-31/simple/demo/") == []
    assert versions(server, f"{base}/as-of-2026-01-01/simple/demo/") == ["1.0"]
    assert versions(server, f"{base}/as-of-2026-01-02/simple/demo/") == ["1.0", "3.0"]
    assert _file(server, f"{base}/as-of-2026-01-01", OLD)[0] == 200
    status, why = _file(server, f"{base}/as-of-2026-01-01", FREE)
    assert status == 404
    assert "demo 3.0 appeared on 2026-01-02 00:00 UTC, and this index shows" in why
    assert f"the rules of the index {base.strip('/') or MAIN}/as-of-2026-01-01: " in why
    assert versions(server, f"{base}/simple/demo/") == ["1.0", "3.0"]


@pytest.mark.parametrize(
    "path",
    [
        "/as-of-2026-02-30/simple/demo/",
        "/as-of-2026-13-01/simple/",
        "/as-of-0000-01-01/simple/",
        "/dev/as-of-2026-02-30/simple/demo/",
        "/other/as-of-2026-01-01/simple/demo/",
        "/dev/as-of-2026-01-01/as-of-2026-01-01/simple/demo/",
        "/as-of-today/simple/demo/",
    ],
)
def test_there_is_no_view_of_a_day_that_does_not_exist(server: InProcessServer, path: str) -> None:
    """A day that does not exist, and one of an index that does not, is not found."""
    server.publish_to(MAIN, OLD)

    assert versions(server, path) == 404


@pytest.mark.parametrize("base", ["", "/dev"])
def test_there_is_no_view_of_a_day_to_come(server: InProcessServer, base: str) -> None:
    """A day that has not begun in UTC is not found, and is there as soon as it begins."""
    server.publish_to(base.strip("/") or MAIN, OLD)
    path = f"{base}/as-of-2026-01-02/simple/demo/"
    question = f"{base}/api/v1/upstream/why?project=demo&as_of=2026-01-02"

    assert versions(server, path) == 404
    assert server.get(question).status == 404
    server.clock.advance(days=1)
    assert versions(server, path) == ["1.0"]
    assert server.get(question).status == 200


def test_a_day_has_the_yanks_of_that_day(server: InProcessServer) -> None:
    """What is yanked later is not yanked on a day before, and the other way round."""
    server.publish_to("dev", OLD)
    lifecycle, name = server.index.named("dev").lifecycle, NormalizedName("demo")
    for action in ("yank", "unyank"):
        server.clock.advance(days=2)
        lifecycle.change(action, ALICE, name, Selection(Version("1.0")), "broken")

    pages = {
        day: decode(server.get(f"/dev/as-of-2026-01-0{day}/simple/demo/", JSON).body)
        for day in (1, 2, 3, 4, 5)
    }
    yanked = {day: page["files"][0].get("yanked", False) for day, page in pages.items()}

    assert yanked == {1: False, 2: False, 3: "broken", 4: "broken", 5: False}


def test_a_list_of_a_day_has_the_releases_and_the_status_of_that_day(
    server: InProcessServer,
) -> None:
    """A search of a day has the latest release of then, whatever is yanked or archived since."""
    server.publish_to("dev", OLD, FREE)
    lifecycle, name = server.index.named("dev").lifecycle, NormalizedName("demo")
    server.clock.advance(days=1)
    lifecycle.change("yank", ALICE, name, Selection(Version("3.0")), "broken")

    listed = {
        day: decode(server.get(f"/dev/as-of-2026-01-0{day}/search.json?q=demo").body)
        for day in (1, 2)
    }

    assert {day: found["projects"][0][1] for day, found in listed.items()} == {1: "3.0", 2: "1.0"}


def test_a_day_has_the_status_of_that_day(server: InProcessServer) -> None:
    """A project that is deprecated later is active on a day before."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=1)
    lifecycle, name = server.index.named("dev").lifecycle, NormalizedName("demo")
    lifecycle.set_status(ALICE, name, Status.DEPRECATED, "use other")

    before, after = (
        decode(server.get(f"/dev/as-of-2026-01-0{day}/simple/demo/", JSON).body) for day in (1, 2)
    )

    assert before.get("project-status", {"status": "active"})["status"] == "active"
    assert after["project-status"] == {"status": "deprecated", "reason": "use other"}


def test_a_quarantine_holds_on_each_day(server: InProcessServer) -> None:
    """What is in quarantine now is served on no day, as nobody may install it any more."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=1)
    lifecycle, name = server.index.named("dev").lifecycle, NormalizedName("demo")
    lifecycle.set_status(ALICE, name, Status.QUARANTINED, "malware")

    assert versions(server, "/dev/as-of-2026-01-01/simple/demo/") == []
    assert _file(server, "/dev/as-of-2026-01-01", OLD)[0] == 404
    lifecycle.set_status(ALICE, name, Status.ACTIVE, "")
    assert versions(server, "/dev/as-of-2026-01-01/simple/demo/") == ["1.0"]


def test_a_day_lacks_what_was_deleted_then_and_what_is_deleted_now(
    server: InProcessServer,
) -> None:
    """A file is missing while it was deleted, and on each day once it is deleted now."""
    server.publish_to("dev", OLD)
    server.publish_to("dev", FREE)
    lifecycle, name = server.index.named("dev").lifecycle, NormalizedName("demo")
    server.clock.advance(days=1)
    lifecycle.change("delete", ALICE, name, Selection(Version("1.0")), "")
    server.clock.advance(days=1)
    lifecycle.change("restore", ALICE, name, Selection(Version("1.0")), "")
    days = [f"/dev/as-of-2026-01-0{day}/simple/demo/" for day in (1, 2, 3)]

    assert [versions(server, day) for day in days] == [["1.0", "3.0"], ["3.0"], ["1.0", "3.0"]]
    why = server.get("/dev/api/v1/upstream/why?project=demo&version=1.0&as_of=2026-01-02").body
    assert b"was deleted at the end of 2026-01-02, and restored later" in why
    lifecycle.change("delete", ALICE, name, Selection(Version("3.0")), "")
    assert [versions(server, day) for day in days] == [["1.0"], [], ["1.0"]]


def test_an_imported_file_counts_from_its_upload_at_the_source(server: InProcessServer) -> None:
    """A day before an import has what was there then, as far as its source says when it came."""
    server.publish_to("dev", FREE)
    server.clock.advance(days=30)
    dev = server.index.named("dev")
    old = datetime(2025, 12, 1, tzinfo=UTC)
    source = SourceMetadata(uploaded_at=old)
    arrival = replace(OLD.arrival(server.folder), source_metadata=source)
    dev.uploads.accept(arrival, ALICE)

    assert versions(server, "/dev/as-of-2025-11-30/simple/demo/") == []
    assert versions(server, "/dev/as-of-2025-12-01/simple/demo/") == ["1.0"]
    assert versions(server, "/dev/as-of-2026-01-01/simple/demo/") == ["1.0", "3.0"]


def test_an_imported_file_is_yanked_on_no_day_before_its_yank(server: InProcessServer) -> None:
    """A file that was imported later has the yank that its source said, until it is changed."""
    server.publish_to("dev", FREE)
    server.clock.advance(days=9)
    dev, name = server.index.named("dev"), NormalizedName("demo")
    source = SourceMetadata(uploaded_at=datetime(2026, 1, 2, tzinfo=UTC))
    dev.uploads.accept(replace(OLD.arrival(server.folder), source_metadata=source), ALICE)
    server.clock.advance(days=2)
    dev.lifecycle.change("yank", ALICE, name, Selection(Version("1.0")), "broken")

    pages = {
        day: decode(server.get(f"/dev/as-of-2026-01-{day}/simple/demo/", JSON).body)
        for day in ("05", "11", "12")
    }

    assert {day: page["files"][0].get("yanked", False) for day, page in pages.items()} == {
        "05": False,
        "11": False,
        "12": "broken",
    }


def test_another_day_reads_no_commit_again(tmp_path: Path) -> None:
    """The commits of a project are read once for all days, and later only newer ones."""
    store = FakeStore(MemoryStore(Clock().seconds))
    commit_reads = list[int]()
    with in_process(tmp_path, Settings(), store=store, tables=TABLES) as server:
        for made in (OLD, NEW, FREE):
            server.publish_to("dev", made)
            server.clock.advance(days=1)
        for day, listed in (("01", ["1.0"]), ("02", ["1.0", "2.0rc1"])):
            store.calls.clear()
            assert versions(server, f"/dev/as-of-2026-01-{day}/simple/demo/") == listed
            commit_reads.append(sum("/journal/" in key for _, key in store.calls))

    # the document of the project has the last of the three commits itself
    assert commit_reads == [2, 0]


@pytest.mark.parametrize(
    "base", ["/dev/as-of-2026-01-01", "/over"], ids=["of a day", "of a layer that hides nothing"]
)
def test_a_list_of_a_view_reads_no_core_metadata(tmp_path: Path, base: str) -> None:
    """A list of a view has the summaries that are known, and asks the store for none of them."""
    core_metadata = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nSummary: Hi\n"
    store = FakeStore(MemoryStore(Clock().seconds))
    with in_process(tmp_path, Settings(), store=store, tables=TABLES) as server:
        server.publish_to("dev", make_wheel(metadata=core_metadata))
        server.clock.advance(days=1)
        server.get("/dev/search.json")
        store.calls.clear()

        found = decode(server.get(f"{base}/search.json").body)

    assert found == [["demo", "1.0", "Hi"]]
    assert store.count("get|read", "*.metadata") == 0


def test_a_day_whose_journal_is_damaged_is_not_guessed(server: InProcessServer) -> None:
    """If the journal has lost a commit of that time, the page of the day is an error."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=1)
    server.publish_to("dev", FREE)
    documents = server.index.named("dev").stores.documents
    for entry in list(documents.list(keys.journal(NormalizedName("demo")))):
        documents.delete(entry.key)

    assert versions(server, "/dev/as-of-2026-01-01/simple/demo/") == 503
    assert versions(server, "/dev/as-of-2026-01-02/simple/demo/") == ["1.0", "3.0"]
    assert versions(server, "/dev/simple/demo/") == ["1.0", "3.0"]


@pytest.mark.parametrize(
    ("base", "prefix"),
    [("/stable", keys.project), ("/dev/as-of-2026-01-01", keys.journal)],
)
def test_lists_have_a_project_again_that_could_not_be_read(
    server: InProcessServer, base: str, prefix: Callable[[NormalizedName], str]
) -> None:
    """What is repaired in the store is listed again, without a change of the project."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=1)
    server.publish_to("dev", FREE)
    documents, name = server.index.named("dev").stores.documents, NormalizedName("demo")
    whole = dict[Key, bytes]()
    for entry in list(documents.list(prefix(name))):
        stored = documents.get(entry.key)
        assert isinstance(stored, Stored)
        whole[entry.key] = stored.body
        documents.put(entry.key, b"{", stored.version)
    server.clock.advance(seconds=30)
    before = _names(server, f"{base}/simple/")
    for key, body in whole.items():
        stored = documents.get(key)
        assert isinstance(stored, Stored)
        documents.put(key, body, stored.version)
    server.clock.advance(seconds=30)

    assert before == []
    assert _names(server, f"{base}/simple/") == ["demo"]


def test_a_list_is_not_guessed_while_the_store_does_not_answer(tmp_path: Path) -> None:
    """While the store does not answer, a list is an error, and then it has all that is shown."""
    store = FakeStore(MemoryStore(Clock().seconds))
    with in_process(tmp_path, Settings(), store=store, tables=TABLES) as server:
        server.publish_to("dev", OLD)
        server.get("/dev/search.json")
        store.follow(Fault(FaultKind.NOT_DONE, "get", "*/projects/demo.json", times=ALWAYS))
        meanwhile = server.get("/stable/simple/", JSON).status
        store.follow()

        assert meanwhile == 503
        assert _names(server, "/stable/simple/") == ["demo"]


def test_a_search_finds_no_text_of_what_is_hidden(server: InProcessServer) -> None:
    """Summary and keywords are those of the latest release that is shown."""
    head = b"Metadata-Version: 2.4\nName: demo\nVersion: "
    described = make_wheel("demo", "1.0", metadata=head + b"1.0\nSummary: fine\n")
    secret = head + b"9.0rc1\nSummary: codename falcon\nKeywords: zeus\n"
    hidden = make_wheel("demo", "9.0rc1", metadata=secret)
    server.publish_to("dev", described)
    server.clock.advance(days=1)
    server.publish_to("dev", hidden)

    for base in ("/stable", "/dev/as-of-2026-01-01"):
        assert decode(server.get(f"{base}/search.json?q=falcon").body)["total"] == 0
        assert decode(server.get(f"{base}/search.json?q=zeus").body)["total"] == 0
        assert decode(server.get(f"{base}/search.json?q=fine").body)["total"] == 1
    answer = decode(server.get("/stable/api/v1/projects/demo").body)
    assert answer["summary"] == "fine"


def test_the_view_of_a_day_takes_no_changes(server: InProcessServer) -> None:
    """Nothing can be changed through the view of a day, and the first sentence says where."""
    for base in ("", "/dev"):
        answer = server.get(f"{base}/as-of-2026-01-01/legacy/", method="POST")
        error = decode(answer.body)

        assert (answer.status, error["error"]) == (403, "read_only")
        assert first_sentence(error["message"]) == (
            "This is the view of a day, which takes no uploads and no changes: upload to "
            f"{base}/legacy/, and change things below {base}/."
        )


def test_a_promoted_file_counts_from_its_promotion_on(server: InProcessServer) -> None:
    """A day of an index has a promoted file if it was promoted up to then."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=2)
    dev, prod = (server.index.named(name) for name in ("dev", "prod"))
    Promotion(
        IndexSide(uploads=dev.uploads, caller=ALICE),
        IndexSide(uploads=prod.uploads, caller=ALICE),
        dev.server.runtime,
    ).promote(NormalizedName("demo"), Version("1.0"))

    assert versions(server, "/prod/as-of-2026-01-02/simple/demo/") == []
    assert versions(server, "/prod/as-of-2026-01-03/simple/demo/") == ["1.0"]
    assert versions(server, "/dev/as-of-2026-01-01/simple/demo/") == ["1.0"]


def test_a_layer_has_no_name_before_its_first_file(server: InProcessServer) -> None:
    """An upload to an upper layer changes no day before it, and later days show that layer."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=2)
    server.publish_to("over", make_wheel("demo", "9.0"))

    assert versions(server, "/over/as-of-2026-01-01/simple/demo/") == ["1.0"]
    assert _file(server, "/over/as-of-2026-01-01", OLD)[0] == 200
    assert "1.0" in server.get("/over/as-of-2026-01-01/search.json").body.decode()
    assert versions(server, "/over/as-of-2026-01-03/simple/demo/") == ["9.0"]
    assert versions(server, "/over/simple/demo/") == ["9.0"]
    assert versions(server, "/over/as-of-2025-12-31/simple/demo/") == []


@pytest.mark.parametrize("action", ["delete", "reserve"])
def test_a_layer_that_hides_a_name_later_changes_no_day_before(
    server: InProcessServer, action: str
) -> None:
    """What is deleted, or reserved, in an upper layer later is no matter of a day before."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=2)
    over, name = server.index.named("over"), NormalizedName("demo")
    if action == "delete":
        server.publish_to("over", NEW)
        over.lifecycle.change("delete", ALICE, name, Selection(Version("2.0rc1")), "")
    else:
        over.names.reserve(ALICE, name, "")

    assert versions(server, "/over/as-of-2026-01-02/simple/demo/") == ["1.0"]
    assert versions(server, "/over/as-of-2026-01-03/simple/demo/") == []
    assert versions(server, "/over/simple/demo/") == []


def test_the_history_of_a_day_ends_with_it(server: InProcessServer) -> None:
    """The pages and the feed of a project on a day have what happened until its last instant."""
    server.clock.advance(days=1, microseconds=-1)
    server.publish_to("dev", OLD)
    server.clock.advance(microseconds=1)
    dev, selection = server.index.named("dev").lifecycle, Selection(Version("1.0"))
    for action in ("yank", "unyank"):
        dev.change(action, ALICE, NormalizedName("demo"), selection, "broken")
    html = ("Accept", "text/html")
    pages = ("project/demo/history/", "project/demo/feed.xml")

    then, now = (
        [server.get(f"/dev/{day}{page}", html).body.decode() for page in pages]
        for day in ("as-of-2026-01-01/", "")
    )

    assert [OLD.filename in text for text in then] == [True, True]
    assert ["broken" in text for text in then] == [False, False]
    assert ["broken" in text for text in now] == [True, True]


def test_a_day_of_a_view_has_the_ages_of_that_day(server: InProcessServer) -> None:
    """What was too new at the end of a day is never on the page of that day."""
    server.publish_to("dev", OLD)
    today = versions(server, "/aged/as-of-2026-01-01/simple/demo/")
    server.clock.advance(days=30)

    assert today == []
    assert versions(server, "/aged/simple/demo/") == ["1.0"]
    assert versions(server, "/aged/as-of-2026-01-07/simple/demo/") == []
    assert versions(server, "/aged/as-of-2026-01-08/simple/demo/") == ["1.0"]
    assert _names(server, "/aged/as-of-2026-01-07/simple/") == []
    assert _names(server, "/aged/as-of-2026-01-08/simple/") == ["demo"]


def _names(server: InProcessServer, path: str) -> list[str]:
    page = decode(server.get(path, JSON).body)
    return [project["name"] for project in page["projects"]]


def test_today_is_shown_as_it_is_now(server: InProcessServer) -> None:
    """What gets old enough in the course of a day is on its page from then on, and not before."""
    server.clock.advance(hours=12)
    server.publish_to("dev", OLD)
    server.clock.advance(days=7, hours=-1)
    path = "/aged/as-of-2026-01-08/simple/demo/"

    too_new = versions(server, path)
    server.clock.advance(hours=1)

    assert too_new == []
    assert versions(server, path) == ["1.0"]


def test_a_project_of_which_nothing_is_shown_is_not_listed(server: InProcessServer) -> None:
    """Lists and searches of a view have the projects of which it shows a file."""
    early = make_wheel("early", "1.0rc1")
    server.publish_to("dev", OLD, NEW, early)
    before = _names(server, "/stable/simple/")
    server.publish_to("dev", make_wheel("early", "1.0"))

    assert _names(server, "/dev/simple/") == ["demo", "early"]
    assert before == ["demo"]
    assert _names(server, "/stable/simple/") == ["demo", "early"]
    assert _names(server, "/over/simple/") == ["demo", "early"]
    assert _names(server, "/aged/simple/") == []
    assert _names(server, "/dev/as-of-2025-01-01/simple/") == []
    server.clock.advance(days=7)
    assert _names(server, "/aged/simple/") == ["demo", "early"]


def test_a_search_finds_the_newest_release_that_is_shown(server: InProcessServer) -> None:
    """What a search says of a project is about what the view shows of it."""
    server.publish_to("dev", make_wheel("demo", "2.0b1"), make_wheel("pre", "1.0rc1"))
    server.publish_to("dev", OLD)

    found = decode(server.get("/stable/search.json").body)

    assert "pre" not in str(found)
    assert "1.0" in str(found)


def test_the_page_of_a_project_says_what_the_view_hides(server: InProcessServer) -> None:
    """The page of a project names the releases that are hidden, and which rule hides them."""
    server.publish_to("dev", OLD, NEW)

    page = server.get("/stable/project/demo/", HTML).body.decode()
    releases = server.get("/stable/project/demo/releases/", HTML).body.decode()
    missing = server.get("/stable/project/demo/2.0rc1/", HTML)

    assert "1 release is hidden by this index" in page
    assert "by the rules of the index stable: demo 2.0rc1 is a pre-release" in releases
    assert missing.status == 404
    assert "demo 2.0rc1 is a pre-release" in missing.body.decode()
    assert "hidden by this index" not in server.get("/dev/project/demo/", HTML).body.decode()


def test_why_names_the_layer_and_the_rule(server: InProcessServer) -> None:
    """What clients get of a private project through a view is explained file by file."""
    server.publish_to("dev", OLD, NEW)

    answer = decode(server.get("/stable/api/v1/upstream/why?project=demo").body)
    of_day = decode(
        server.get("/stable/api/v1/upstream/why?project=demo&version=1.0&as_of=2025-12-31").body
    )
    unknown = server.get("/stable/api/v1/upstream/why?project=nothing")

    assert answer["reasons"][0]["text"] == "It is from the index dev, a layer of stable."
    assert [(file["version"], file["shown"]) for file in answer["files"]] == [
        ("1.0", True),
        ("2.0rc1", False),
    ]
    assert "demo 2.0rc1 is a pre-release" in answer["files"][1]["reasons"][0]["text"]
    assert [file["shown"] for file in of_day["files"]] == [False]
    assert unknown.status == 404


@pytest.mark.parametrize(
    ("version", "others"),
    [("1.0", []), ("3.0", [table["name"] for table in INDEXES])],
    ids=["shown", "missing"],
)
def test_why_names_other_indexes_to_who_gets_nothing(
    server: InProcessServer, version: str, others: list[str]
) -> None:
    """Whoever gets nothing of a project from main reads which other indexes there are."""
    server.publish(OLD)

    answer = decode(server.get(f"/api/v1/upstream/why?project=demo&version={version}").body)

    assert answer.get("other_indexes", []) == sorted(others)


def test_why_names_a_layer_that_is_hidden(server: InProcessServer) -> None:
    """Whoever asks for a version of a lower layer reads which other layer hides it."""
    server.publish_to("dev", OLD)
    server.publish_to("over", make_wheel("demo", "9.0"), make_wheel("alone", "9.0"))

    answer = decode(server.get("/over/api/v1/upstream/why?project=demo&version=1.0").body)
    alone = decode(server.get("/over/api/v1/upstream/why?project=alone&version=1.0").body)

    assert not alone.get("reasons")
    assert "files" not in answer
    assert [reason["text"] for reason in answer["reasons"]] == [
        "The index dev has it, too. The first layer that has a name hides the others."
    ]


def test_the_api_of_a_view_lists_what_it_shows(server: InProcessServer) -> None:
    """A list of projects of a view, and the files of one, are those that it shows."""
    server.publish_to("dev", OLD, NEW, make_wheel("early", "1.0rc1"))

    listed = decode(server.get("/stable/api/v1/projects").body)["projects"]
    project = decode(server.get("/stable/api/v1/projects/demo").body)
    hidden = decode(server.get("/stable/api/v1/projects/early").body)

    assert [row["name"] for row in listed] == ["demo"]
    assert [file["filename"] for file in project["files"]] == [OLD.filename]
    assert project["commit"] is None
    assert (hidden["files"], hidden["summary"]) == ([], "")
    assert server.get("/stable/api/v1/projects/nothing").status == 404


def test_the_api_of_a_layered_index_lists_what_it_shows(server: InProcessServer) -> None:
    """An index with packages and layers lists those of its layers, too, without their journals."""
    own = make_wheel("own", "1.0")
    server.publish_to("dev", OLD)
    server.publish_to("over", own)
    path = "/over/api/v1/projects"

    listed = decode(server.get(path).body)["projects"]
    files = [
        [file["filename"] for file in decode(server.get(f"{path}/{name}").body)["files"]]
        for name in ("demo", "own")
    ]

    assert [row["name"] for row in listed] == ["demo", "own"]
    assert files == [[OLD.filename], [own.filename]]
    assert server.get(f"{path}/nothing").status == 404
    assert server.get(f"{path}/own/journal").status == 200
    assert server.get(f"{path}/demo/journal").status == 404
    assert server.get("/stable/api/v1/projects/demo/journal").status == 404


def test_a_licence_of_a_private_file_lasts(server: InProcessServer) -> None:
    """A page that a licence of private files decides comes from memory as long as they stay."""
    server.publish_to("dev", FREE)
    path = "/free/simple/demo/"
    server.get(path, JSON)
    server.get(path, JSON)
    server.clock.advance(seconds=60)
    server.get(path, JSON)

    assert server.get(path, JSON).was_quick


def test_a_day_has_the_rights_of_its_index(tmp_path: Path) -> None:
    """Who may not read an index may read no day of it."""
    settings = Settings(access=AccessSettings(private=True))
    with in_process(tmp_path, settings, tables=TABLES) as server:
        server.publish_to("dev", OLD)
        for path in ("/as-of-2026-01-01", "/dev/as-of-2026-01-01", "/stable"):
            assert server.get(f"{path}/simple/demo/", JSON).status == 401


def test_a_project_that_is_hidden_is_not_said_to_be_deleted(server: InProcessServer) -> None:
    """A view that hides all files which are left says so, although others were deleted."""
    server.publish_to("dev", OLD, NEW)
    server.index.named("dev").lifecycle.change(
        "delete", ALICE, NormalizedName("demo"), Selection(Version("1.0")), ""
    )

    page = server.get("/stable/project/demo/", HTML).body.decode()

    assert "There are no files to install: all of them are hidden." in page


@pytest.mark.parametrize("base", ["/stable", "/over", "/as-of-2026-01-01"])
def test_a_history_names_no_file_that_is_hidden(server: InProcessServer, base: str) -> None:
    """Histories and feeds of a view have each entry, without files that are hidden or deleted."""
    source = MAIN if base.startswith("/as-of") else "dev"
    segment = server.index.server.definitions.get(source).segment
    lifecycle = server.index.named(source).lifecycle
    server.publish_to(source, OLD)
    lifecycle.set_status(ALICE, NormalizedName("demo"), Status.DEPRECATED, "use other")
    server.clock.advance(days=1)
    server.publish_to(source, NEW, make_wheel("demo", "2.0rc2"))
    lifecycle.change("delete", ALICE, NormalizedName("demo"), Selection(Version("2.0rc2")), "")
    lifecycle.change("yank", ALICE, NormalizedName("demo"), Selection(SpecifierSet(">=0.dev0")), "")

    pages = [
        server.get(f"{base}/{path}", HTML).body.decode()
        for path in ("project/demo/history/", "project/demo/feed.xml", "feed.xml")
    ]

    assert "2.0rc2" in server.get(f"{segment}/project/demo/history/", HTML).body.decode()
    for page in pages:
        told = page.partition("<main")[2].partition("</h2>")[2] or page
        assert OLD.filename in told
        assert "2.0rc" not in told
    assert "use other" in pages[0].partition("<main")[2].partition("</h2>")[2]


@pytest.mark.parametrize("base", ["", "/dev", "/stable"])
def test_the_page_set_up_names_the_views_of_days(server: InProcessServer, base: str) -> None:
    """The page *Set up* says where a day of the index is, with a link to today's."""
    server.clock.now = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    first = server.get(f"{base}/setup/", HTML).body.decode()
    server.clock.advance(seconds=1)
    second = server.get(f"{base}/setup/", HTML).body.decode()

    assert f"<code>{base}/as-of-YYYY-MM-DD/simple/</code>" in first
    assert 'href="../as-of-2026-01-31/simple/"' in first
    assert 'href="../as-of-2026-02-01/simple/"' in second
    assert server.get(f"{base}/as-of-2026-02-01/simple/", HTML).status == 200
    of_day = server.get(f"{base}/as-of-2026-01-31/setup/", HTML)
    assert (of_day.status, b"YYYY-MM-DD" in of_day.body) == (200, False)
