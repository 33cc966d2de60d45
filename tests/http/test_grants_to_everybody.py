"""Grants to everybody: what they open, who may keep it, and that their end closes it at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from msgspec import structs

from tests.access.principals import basic, bearer
from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_wheel
from tests.fake_time import START
from tests.http.in_process import InProcessServer, in_process
from tests.http.remote_store import RemoteStore
from tests.http.servers import token_of
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from wheelyard.authentication.rights import explain, parse_subject
from wheelyard.catalog import keys
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import Granted, GrantFields, Revoked
from wheelyard.settings.sections import AccessSettings, HttpSettings, Settings

FOR_ALL: Final = GrantFields(who=("anonymous",), projects=("open-*",), actions=("read",))
CLOSED: Final = {**OPEN_MAIN, "read": "granted"}
TABLES: Final = toml_of(main=CLOSED, grant=[structs.asdict(FOR_ALL)])
HTML: Final = ("accept", "text/html")
OPEN, SHUT = make_wheel("open-lib"), make_wheel("shut-lib")
PATHS: Final = (
    "/simple/open-lib/",
    "/pypi/open-lib/json",
    f"/files/open-lib/{OPEN.filename}",
    f"/files/open-lib/{OPEN.filename}.metadata",
)
BY: Final = "local:test"


def settings_in(folder: Path, *, private: bool = False) -> Settings:
    """Return the settings of an index before which there is a CDN, and where ana has a password."""
    (folder / "htpasswd").write_text(f"ana:{SHA}\n")
    access = AccessSettings(
        private=private, htpasswd_file=str(folder / "htpasswd"), htpasswd_may=()
    )
    return Settings(access=access, http=HttpSettings(public_max_age=60))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """An index in which only grants open something, and anybody may read `open-*`."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as opened:
        opened.publish(OPEN, SHUT)
        yield opened


def status_and_caching(
    server: InProcessServer, path: str, *headers: tuple[str, str]
) -> tuple[int, str]:
    """Return the status of an answer, and which caches may keep it."""
    answer = server.get(path, *headers)
    return answer.status, answer.headers["cache-control"]


def grant_id(server: InProcessServer) -> str:
    """Return the id of the only grant."""
    (grant,) = server.index.server.access.show().grants
    return grant.id


@pytest.mark.parametrize("path", PATHS)
def test_what_a_grant_opens_is_closed_with_it(server: InProcessServer, path: str) -> None:
    """Anybody gets what a grant opens, shared caches ask each time, and its end closes it."""
    reader = bearer(token_of(server.index, can="read"))
    shared = (200, "public, no-cache")
    for _ in range(3):
        assert (
            status_and_caching(server, path) == status_and_caching(server, path, *reader) == shared
        )
    assert server.get(path.replace("open", "shut")).status == 401

    server.index.server.access.revoke(grant_id(server), BY)

    for _ in range(3):
        assert server.get(path).status == 401
        status, caching = status_and_caching(server, path, *reader)
        assert (status, caching.partition(",")[0]) == (200, "private")
    server.index.server.access.grant(FOR_ALL, BY)
    for _ in range(3):
        assert (
            status_and_caching(server, path) == status_and_caching(server, path, *reader) == shared
        )


def test_pages_are_repeated_while_no_grant_changes(server: InProcessServer) -> None:
    """Equal requests get the same page again without waiting, until there is another grant."""
    reader = bearer(token_of(server.index, can="read"))
    for headers in ((), reader):
        server.get("/simple/open-lib/", *headers)
        assert server.get("/simple/open-lib/", *headers).was_quick

    server.index.server.access.edit_group("set", "team", [], BY)

    for headers in ((), reader):
        assert not server.get("/simple/open-lib/", *headers).was_quick
        assert server.get("/simple/open-lib/", *headers).was_quick


@pytest.mark.parametrize("path", PATHS)
def test_a_grant_that_is_for_less_people_now(server: InProcessServer, path: str) -> None:
    """Where a change takes a right from all but who has it otherwise, no page stays public."""
    ana = basic("ana", "s3cret")
    assert {status_and_caching(server, path, *ana) for _ in range(3)} == {(200, "public, no-cache")}
    access = server.index.server.access
    fields = structs.replace(FOR_ALL, who=("allAuthenticated",))
    events = (
        Granted(at=START, by=BY, id="g1", grant=fields),
        Revoked(at=START, by=BY, id=grant_id(server)),
    )

    access.records.change(lambda _: events)

    for _ in range(3):  # within the second in which a caller is remembered
        status, caching = status_and_caching(server, path, *ana)
        assert (status, caching.partition(",")[0]) == (200, "private")
        assert server.get(path).status == 401


@pytest.mark.parametrize("path", ["/project/open-lib/", "/"])
def test_web_pages_follow(server: InProcessServer, path: str) -> None:
    """Pages for people are for anybody while a grant says so, and nobody else keeps them."""
    assert {status_and_caching(server, path, HTML)[0] for _ in range(3)} == {200}
    assert b"shut-lib" not in server.get(path, HTML).body

    server.index.server.access.revoke(grant_id(server), BY)

    assert {status_and_caching(server, path, HTML)[0] for _ in range(3)} == {401}


def test_pages_say_whether_a_credential_is_needed(server: InProcessServer) -> None:
    """A page says that installing needs a credential once no grant lets everybody read."""
    ana = basic("ana", "s3cret")
    fields = GrantFields(who=("htpasswd:ana",), projects=("*",), actions=("read",))
    server.index.server.access.grant(fields, BY)
    first = next(
        grant for grant in server.index.server.access.show().grants if grant.who == ("anonymous",)
    )

    def needs_credential() -> bool:
        pages = [server.get("/project/open-lib/", HTML, *ana).body for _ in range(3)]
        assert len({*pages}) == 1
        return b"credential" in pages[0].partition(b'id="install')[2].partition(b"</section>")[0]

    before = needs_credential()
    server.index.server.access.revoke(first.id, BY)

    assert (before, needs_credential()) == (False, True)


@pytest.mark.parametrize("path", PATHS)
def test_where_all_is_private_a_grant_to_everybody_opens_nothing(tmp_path: Path, path: str) -> None:
    """`access.private` closes what grants to everybody would open, for callers of all kinds."""
    with in_process(tmp_path, settings_in(tmp_path, private=True), tables=TABLES) as server:
        server.publish(OPEN)
        other = bearer(token_of(server.index, "other", can="read"))
        assert server.get(path).status == 401
        assert {server.get(path, *who).status for who in (other, basic("ana", "s3cret"))} == {404}
        authenticator = server.index.authenticator
        name = parse_name("open-lib")
        subject = parse_subject("anonymous", authenticator)
        assert not explain(subject, Action.READ, name, authenticator, ()).allowed
        assert grant_id(server)


@pytest.mark.parametrize(("private", "read"), [(True, "granted"), (False, "anyone")])
def test_grants_are_not_read_where_they_change_nothing(
    tmp_path: Path, read: str, *, private: bool
) -> None:
    """Where all is private, or all is open, no request without a credential reads the grants."""
    store = RemoteStore()
    settings = settings_in(tmp_path, private=private)
    tables = toml_of(main={**CLOSED, "read": read}, grant=[structs.asdict(FOR_ALL)])
    with in_process(tmp_path, settings, store=store, near=False, tables=tables) as server:
        server.publish(OPEN)
        token = bearer(token_of(server.index, can="read"))
        server.clock.advance(seconds=20)
        store.calls.clear()
        assert server.get(PATHS[0]).status == (401 if private else 200)
        assert server.get(PATHS[0], *token).status == 200
        assert store.asked("get", keys.ACCESS) == 0


def test_other_servers_obey_within_fifteen_seconds(tmp_path: Path) -> None:
    """What a grant opens, or its end closes, is so on every server on a bucket within 15 s."""
    store, settings = RemoteStore(), settings_in(tmp_path)
    with (
        in_process(tmp_path, settings, store=store, near=False, tables=TABLES) as here,
        in_process(tmp_path, settings, store=store, near=False) as there,
    ):
        here.publish(OPEN)
        assert [there.get(PATHS[0]).status for _ in range(3)] == [200] * 3
        here.index.server.access.revoke(grant_id(here), BY)
        there.clock.advance(seconds=15)
        assert [there.get(PATHS[0]).status for _ in range(3)] == [401] * 3
        here.clock.advance(seconds=15)
        here.index.server.access.grant(FOR_ALL, BY)
        there.clock.advance(seconds=15)
        assert [there.get(PATHS[0]).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("near", [True, False])
def test_while_grants_are_not_known_nobody_is_let_in(tmp_path: Path, *, near: bool) -> None:
    """While the grants are damaged, who sends no credential is told to come back, on any path."""
    store = RemoteStore()
    with in_process(
        tmp_path, settings_in(tmp_path), store=store, near=near, tables=TABLES
    ) as server:
        server.publish(OPEN)
        assert server.get(PATHS[0]).status == 200
        store.put(keys.ACCESS, b"?", None)
        server.clock.advance(seconds=15)
        assert {server.get(path).status for path in (*PATHS, "/", "/nothing/")} == {503}
        page = server.get("/", HTML)
        assert (page.status, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert server.get("/health").status == 200
