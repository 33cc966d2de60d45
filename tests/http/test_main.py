"""The index main while it is changed: who may read it, what it takes and what it hides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.json import decode, encode

from tests.advice import texts_of
from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_wheel
from tests.http.browser import Browser
from tests.http.in_process import InProcessServer, in_process
from tests.http.index_pages import JSON, versions
from tests.http.remote_store import RemoteStore
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.api.health_operations import show_health
from wheelyard.api.operation import Call
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Forbidden, Invalid, TooLarge
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexList, MainChanged
from wheelyard.settings.sections import AccessSettings, HttpSettings, ServerSettings, Settings
from wheelyard.storage.base import Stored
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.warnings import server_warnings

HTML: Final = ("Accept", "text/html")
OLD, NEW = make_wheel("demo", "1.0"), make_wheel("demo", "2.0rc1")
PATHS: Final = (
    *("/", "/-/projects/1/", "/simple/", "/simple/demo/", "/search.json", "/project/demo/"),
    *(f"/files/demo/{OLD.sha256}/{OLD.filename}", "/pypi/demo/json", "/as-of-2026-01-01/simple/"),
)
OVER: Final = {"name": "over", "layers": ["over", "main"], "read": "anyone"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Yield a server with a package in main, whose pages a shared cache may keep."""
    settings = Settings(http=HttpSettings(public_max_age=60))
    with in_process(tmp_path, settings) as running:
        running.publish(OLD)
        yield running


def change(server: InProcessServer, **table: Any) -> None:  # noqa: ANN401 - values of keys
    """Change main, as a command or another server does."""
    administration = server.index.server.index_administration
    administration.change(MAIN, table, "local:test", even_if_open=True)


def statuses(server: InProcessServer, *headers: tuple[str, str]) -> list[int]:
    """Return the status of each kind of page, asked for as by an installer or a browser."""
    return [server.get(path, HTML if path[-1] == "/" else JSON, *headers).status for path in PATHS]


def bearer(server: InProcessServer) -> tuple[str, str]:
    """Return the header of a token that may read main."""
    token = server.index.tokens.create(TokenRequest(name="ci"), "local:test")[0]
    return ("Authorization", f"Bearer {token.text}")


def test_main_is_closed_and_opened_at_once(server: InProcessServer) -> None:
    """What anybody has read and caches, needs a right from the next request on, and back."""
    reader = bearer(server)
    for _ in range(2):
        assert set(statuses(server)) == {200}
    server.get("/simple/demo/", JSON)
    assert server.get("/simple/demo/", JSON).was_quick
    assert server.get("/simple/demo/", JSON).headers["cache-control"].startswith("public")

    change(server, read="granted")

    assert set(statuses(server)) == {401}
    assert set(statuses(server, reader)) == {200}
    assert server.get("/simple/demo/", JSON, reader).headers["cache-control"].startswith("private")
    assert server.get("/health").status == 200
    for open_again in ("anyone", None):
        change(server, read=open_again)
        assert set(statuses(server)) == {200}
        change(server, read="granted")


@pytest.mark.parametrize("body", [b"{}", b'{"revision":99,"indexes":[]}'])
def test_a_list_that_nobody_has_written_opens_nothing(server: InProcessServer, body: bytes) -> None:
    """A list of indexes that is no commit's is damaged: nobody reads main, and check says so."""
    change(server, read="granted")
    server.index.stores.documents.put(keys.INDEX_LIST, body, None)

    assert set(statuses(server)) == {503}

    problems = server.index.server.check.run(rebuild=False).problems
    assert any(f"{keys.INDEX_LIST} is missing or damaged" in problem for problem in problems)


@pytest.mark.parametrize("near", [True, False])
def test_an_earlier_list_opens_nothing(tmp_path: Path, *, near: bool) -> None:
    """An earlier list that somebody put back opens nothing, also where a server starts with it."""
    store = RemoteStore()
    with in_process(tmp_path, store=store, near=near) as server:
        server.publish(OLD)
        change(server, read="anyone")
        opened = store.get(keys.INDEX_LIST)
        assert isinstance(opened, Stored)
        change(server, read="granted")
        assert set(statuses(server)) == {401}
        closed = store.get(keys.INDEX_LIST)
        assert isinstance(closed, Stored)

        store.put(keys.INDEX_LIST, opened.body, None)
        server.clock.advance(seconds=15)
        assert set(statuses(server)) == {503}
        with in_process(tmp_path, store=store, near=near) as started:
            assert set(statuses(started)) == {503}

        assert server.index.server.check.run(rebuild=True).repaired
        mended = store.get(keys.INDEX_LIST)
        assert isinstance(mended, Stored)
        assert mended.body == closed.body
        server.clock.advance(seconds=15)
        assert set(statuses(server)) == {401}


def test_a_private_server_opens_no_main(tmp_path: Path) -> None:
    """`[access] private` closes main, whatever the store says of it."""
    settings = Settings(access=AccessSettings(private=True))
    with in_process(tmp_path, settings, tables=toml_of(main={"read": "anyone"})) as server:
        server.publish(OLD)
        assert set(statuses(server)) == {401}
        change(server, read=None)
        assert set(statuses(server)) == {401}


def test_other_servers_close_main_within_fifteen_seconds(tmp_path: Path) -> None:
    """On a bucket, another server closes main within 15 s of the change, and asks no more."""
    store = RemoteStore()
    with (
        in_process(tmp_path, store=store, near=False) as here,
        in_process(tmp_path, store=store, near=False) as there,
    ):
        here.publish(OLD)
        there.clock.advance(seconds=15)
        for _ in range(2):
            assert set(statuses(there)) == {200}
        change(here, read="granted")
        assert set(statuses(here)) == {401}
        there.clock.advance(seconds=15)
        assert set(statuses(there)) == {401}
        asked = store.asked("get", keys.INDEX_LIST)
        assert set(statuses(there)) == {401}
        assert store.asked("get", keys.INDEX_LIST) == asked


def test_the_first_page_on_a_bucket_asks_for_no_definitions(tmp_path: Path) -> None:
    """What a server with a bucket has read at its start is enough for its first page of main."""
    store = RemoteStore()
    with in_process(tmp_path, store=store, near=False) as server:
        server.publish(OLD)
    with in_process(tmp_path, store=store, near=False) as server:
        asked = store.asked("get", keys.INDEX_LIST)

        assert server.get("/simple/demo/", JSON).status == 200

        assert store.asked("get", keys.INDEX_LIST) == asked


def test_a_session_is_one_of_main_as_it_is_now(tmp_path: Path) -> None:
    """Who is signed in while main is closed stays so, and has their own rights alone."""
    (tmp_path / "htpasswd").write_text(f"ana:{SHA}\n")
    access = AccessSettings(
        cookie_login=True, htpasswd_file=str(tmp_path / "htpasswd"), htpasswd_may=()
    )
    settings = Settings(access=access, server=ServerSettings(public_url="http://index"))
    with in_process(tmp_path, settings) as server:
        server.publish(OLD)
        ana = Browser(server)
        assert ana.sign_in("ana", "s3cret").status == 303
        assert ana.open("/project/demo/").status == 200

        change(server, read="granted")

        assert ana.open("/project/demo/").status == 404
        assert ana.open("/-/account/").status == 200
        assert Browser(server).open("/project/demo/").status == 401


def test_rules_of_main_count_at_once(server: InProcessServer) -> None:
    """A rule that main gets hides files there and in an index that shows main, until it goes."""
    server.index.server.index_administration.add(OVER, "local:test")
    server.publish(NEW)
    places = ("/simple/demo/", "/over/simple/demo/")
    before = [versions(server, path) for path in places]

    change(server, prereleases=False)

    assert before == [["1.0", "2.0rc1"]] * 2
    assert [versions(server, path) for path in places] == [["1.0"]] * 2
    assert server.get(f"/files/demo/{NEW.sha256}/{NEW.filename}").status == 404
    change(server, prereleases=None)
    assert [versions(server, path) for path in places] == before


def test_main_takes_uploads_as_it_says_now(server: InProcessServer) -> None:
    """`promote_only` and quotas of main count for the next upload, also where none has its own."""
    administration = server.index.server.index_administration
    administration.add({"name": "dev"}, "local:test")
    administration.add({"name": "prod", "index_files": 0}, "local:test")
    main = server.index.server.indexes.main

    change(server, promote_only=True)
    with pytest.raises(Forbidden, match="The index main takes no uploads"):
        main().uploads.accept(NEW.arrival(server.folder), ALICE)
    assert server.get("/legacy/").status == 403
    change(server, promote_only=None, index_files=1)
    assert server.get("/legacy/").status == 200
    server.publish_to("dev", OLD)
    for name in (MAIN, "dev"):
        uploads = server.index.server.indexes.get(name).uploads
        with pytest.raises(TooLarge, match="quota of 1 file"):
            uploads.accept(NEW.arrival(server.folder), ALICE)
    server.publish_to("prod", OLD, NEW)


def test_what_belongs_to_the_process_stays(server: InProcessServer) -> None:
    """A change of main keeps its catalog, its table for searches and the counts of downloads."""
    before = server.index.server.indexes.main()
    server.get(f"/files/demo/{OLD.sha256}/{OLD.filename}")

    change(server, read="granted", prereleases=False)

    after = server.index.server.indexes.main()
    assert after is not before
    assert after.catalog is before.catalog
    assert after.search is before.search
    assert after.downloads is before.downloads
    change(server, read=None)
    counted = decode(server.get("/api/v1/projects/demo/downloads").body)
    assert counted["downloads"] == 1


def test_nobody_closes_main_below_an_open_index_by_mistake(server: InProcessServer) -> None:
    """Who closes main while an open index shows it has to say that it may go on showing it."""
    administration = server.index.server.index_administration
    administration.add(OVER, "local:test")

    with pytest.raises(Conflict, match="may read the index over, which would show") as refused:
        administration.change(MAIN, {"read": "granted"}, "local:test")

    assert refused.value.code == "opens_index"
    assert server.get("/simple/", JSON).status == 200
    listed = administration.change(MAIN, {"read": "granted"}, "local:test", even_if_open=True)
    assert any("Anybody may read the index over" in text for text in texts_of(listed.warnings))
    assert server.get("/simple/", JSON).status == 401


@pytest.mark.parametrize(
    "table", [{"layers": ["main"]}, {"name": "top"}, {"read": "all"}, {"colour": "red"}]
)
def test_what_main_cannot_be_is_not_stored(server: InProcessServer, table: dict[str, Any]) -> None:
    """A key or a value that main cannot have is refused, and nothing is stored."""
    administration = server.index.server.index_administration

    with pytest.raises(Invalid, match="The index 'main' is wrong"):
        administration.change(MAIN, table, "local:test")

    assert server.index.server.definitions.stored() == IndexList()
    with pytest.raises(Invalid, match="always there"):
        administration.remove(MAIN, "local:test")


def test_main_of_a_newer_version_is_not_open(tmp_path: Path) -> None:
    """With a key that this version does not know, main answers 503, and Health says why."""
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, store=store) as server:
        server.publish(OLD)
        assert set(statuses(server)) == {200}
        server.index.server.index_administration.add(OVER, "local:test")
        newer = MainChanged(at=server.clock.now, by="local:new", keys={"mirror": True})
        server.index.server.definitions.records.change(lambda _: (newer,))

        assert set(statuses(server)) == {503}
        assert server.get("/over/simple/demo/", JSON).status == 503
        parts = show_health(Call(index=server.index, caller=ALICE)).parts
        assert {part.name: part.state for part in parts}["index main"] == "failed"
    with in_process(tmp_path, store=store) as server:
        assert set(statuses(server)) == {503}
        said = texts_of(server_warnings(server.index))
        assert any(
            "The index 'main' is wrong: mirror: there is no such key" in text for text in said
        )
        change(server, mirror=None)
        assert set(statuses(server)) == {200}


def test_main_is_listed_first_with_who_has_changed_it(server: InProcessServer) -> None:
    """The list of indexes begins with main, with who has changed it last, and from which file."""
    administration = server.index.server.index_administration
    administration.add({"name": "dev"}, "local:test")
    untouched = administration.show()[0]

    administration.change(MAIN, {"read": "granted"}, "user:ana@acme.dev", "TEAM-1")
    keys = {"read": "granted", "project_files": 3}
    source = MainChanged(at=server.clock.now, by="local:bo", keys=keys, source="index.toml")
    server.index.server.definitions.records.change(lambda _: (source,))
    main, dev = administration.show()

    assert (untouched.name, untouched.keys, untouched.created) == (MAIN, {}, None)
    assert (main.name, main.created_by, main.changed_by) == (MAIN, "user:ana@acme.dev", "local:bo")
    assert (main.source, main.keys, dev.name) == ("index.toml", keys, "dev")


def test_two_changes_of_main_do_not_overwrite_each_other(server: InProcessServer) -> None:
    """A change by what somebody saw before another change is a conflict, also of the first one."""
    token = ("Authorization", f"Bearer {_administrator(server)}")

    def sent(as_of: str, **table: object) -> tuple[int, Any]:
        body = encode({"name": MAIN, "index": table, "as_of": as_of})
        kind = ("Content-Type", "application/json")
        answer = server.get("/api/v1/indexes/change", token, kind, method="POST", body=(body,))
        return answer.status, decode(answer.body)

    first = sent("1970-01-01T00:00:00Z", read="granted")
    late = sent("1970-01-01T00:00:00Z", read="anyone")
    server.clock.advance(seconds=2)
    second = sent(first[1]["created"], promote_only=True)

    assert (first[0], first[1]["index"]) == (200, {"read": "granted"})
    assert (late[0], late[1]["error"]) == (409, "index_changed")
    assert (second[0], second[1]["index"]) == (200, {"read": "granted", "promote_only": True})


def _administrator(server: InProcessServer) -> str:
    request = TokenRequest(name="admin", actions=ALICE.scopes[0].actions, indexes=("*",))
    return server.index.tokens.create(request, "local:test")[0].text


def test_main_is_no_index_of_the_list(server: InProcessServer) -> None:
    """Main is kept beside the indexes, so that one of an earlier version may have its name."""
    change(server, read="granted")

    stored = server.index.server.definitions.stored()

    assert stored.tables == ()
    assert stored.find(MAIN) is None
    assert stored.main is not None
    assert stored.main.keys == {"read": "granted"}
