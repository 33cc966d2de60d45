"""The marks of indexes on pages: what a viewer may read in others, and nothing else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import convert
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_requiring, make_sdist, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.http.browser import Browser
from tests.http.handlers.test_manage import PASSWORD
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.model.grants import GrantFields
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, HttpSettings, ServerSettings, Settings
from wheelyard.storage.memory import MemoryStore

HTML = ("Accept", "text/html")
DEV = "/dev/project/demo/"
PEOPLE = ("ana", "bo", "eve", "uma")
DEMO = NormalizedName("demo")
OF_AN_INDEX = (
    "",
    "?q=demo",
    "?q=nothing",
    "-/projects/1/",
    "-/projects/9/",
    "-/upload/",
    "setup/",
    "setup/?project=demo",
    "feed.xml",
    "search.json",
    "project/demo/",
    "project/demo/9.9/",
    "project/demo/feed.xml",
    "project/nothing/",
)
OF_A_PROJECT = (
    *(
        "files/",
        "releases/",
        "releases/?q=in",
        "compare/",
        "dependencies/",
        "history/",
        "history/1/",
        "downloads/",
    ),
    *("manage/", "access/", "manage/?version=1.0"),
    *("1.0/", "1.0/files/", "1.0/dependencies/", "1.0/promote/", "1.0/requirements.txt"),
)
PATHS = (
    *(f"/{path}" for path in OF_AN_INDEX),
    *(f"/dev/{path}" for path in OF_AN_INDEX),
    *(f"/dev/as-of-2026-01-01/{path}" for path in OF_AN_INDEX if path != "-/upload/"),
    *(f"{DEV}{path}" for path in OF_A_PROJECT),
    *("/-/account/", "/-/account/tokens/", "/-/sign-in/?again=1", "/-/admin/", "/-/docs/"),
)


def _grant(person: str, *actions: str, index: str) -> dict[str, object]:
    return {"who": [f"htpasswd:{person}"], "projects": ["*"], "actions": actions, "index": index}


@contextmanager
def _serving(folder: Path, *, has_prod: bool, main: str = "anyone") -> Iterator[InProcessServer]:
    """
    Serve `demo` 1.0 of `dev`, which ana has promoted to `prod` if there is one.

    ana may promote, bo reads another project of prod, eve manages dev alone, and uma reads it.
    """
    folder.mkdir()
    (folder / "htpasswd").write_text("".join(f"{who}:{SHA}\n" for who in PEOPLE))
    access = AccessSettings(
        cookie_login=True, htpasswd_file=str(folder / "htpasswd"), htpasswd_may=()
    )
    server = ServerSettings(public_url="http://index")
    indexes = [{"name": "dev"}]
    grants = [
        _grant("ana", "manage", index="dev"),
        _grant("ana", "read", index="main"),
        _grant("bo", "read", index="dev"),
        _grant("eve", "manage", index="dev"),
        _grant("eve", "read", index="main"),
        _grant("uma", "read", index="dev"),
    ]
    if has_prod:
        indexes.append({"name": "prod"})
        grants.append(_grant("ana", "upload", index="prod"))
        grants.append({**_grant("bo", "read", index="prod"), "projects": ["other"]})
    settings = Settings(server=server, access=access, http=HttpSettings(public_max_age=60))
    tables = toml_of(main={"read": main, "promote_only": False}, index=indexes, grant=grants)
    with in_process(folder, settings, tables=tables) as opened:
        opened.publish(make_wheel("base"))
        dev = opened.index.named("dev")
        for made in (make_wheel(), make_sdist(), make_requiring("user", "1.0", "demo", "base")):
            dev.uploads.accept(made.arrival(folder), ALICE)
        if has_prod:
            opened.clock.advance(days=2)
            _promote(opened)
        yield opened


def _promote(server: InProcessServer) -> None:
    ana = _signed_in(server, "ana")
    token = ana.form_token("/-/account/")
    fields = {"csrf_token": token, "to": "prod", "action": "promote"}
    assert ana.send(f"{DEV}1.0/promote/", fields).status == 303


def _signed_in(server: InProcessServer, name: str) -> Browser:
    browser = Browser(server)
    if name:
        assert browser.sign_in(name, PASSWORD).status == 303
    return browser


def _lasting_parts(response: InProcessResponse) -> tuple[object, ...]:
    """Return an answer without what is another one for each session, form or grant."""
    changing = {"set-cookie", "etag", "content-length"}
    headers = {name: text for name, text in response.headers.items() if name not in changing}
    body = re.sub(rb'name="csrf_token" value="[^"]*"|\bg[0-9a-f]{8}\b', b"", response.body)
    return response.status, headers, body.decode()


@pytest.fixture(scope="module")
def with_prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """A server with the index prod."""
    with _serving(tmp_path_factory.mktemp("marks") / "with", has_prod=True) as server:
        yield server


@pytest.fixture(scope="module")
def without_prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """A server without it, at the same time."""
    with _serving(tmp_path_factory.mktemp("marks") / "without", has_prod=False) as server:
        server.clock.advance(days=2)
        yield server


@pytest.mark.integration  # descriptions are rendered in a process
@pytest.mark.parametrize("person", ["", "eve", "uma"])
def test_an_index_that_one_may_not_read_is_on_no_page(
    with_prod: InProcessServer, without_prod: InProcessServer, person: str
) -> None:
    """Who may not read `prod` gets the pages of a server that has no such index."""
    viewer, other = _signed_in(with_prod, person), _signed_in(without_prod, person)
    for path in PATHS:
        assert _lasting_parts(viewer.open(path, HTML)) == _lasting_parts(other.open(path, HTML)), (
            path
        )


def _opened(browser: Browser, path: str) -> str:
    answer = browser.open(path)
    assert answer.status == 200
    return answer.body.decode()


def _places(browser: Browser, path: str) -> str:
    """Return what a page says of the indexes that have its project, or nothing."""
    match = re.search(r'<nav class="places".*?</nav>', _opened(browser, path), re.DOTALL)
    text = "" if match is None else re.sub("<[^>]*>", " ", match[0])
    return " ".join(text.split()).replace("\N{EN DASH} has", "has")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Serve a release that was promoted from dev to prod two days later."""
    with _serving(tmp_path / "server", has_prod=True) as opened:
        yield opened


def test_pages_of_a_project_say_which_indexes_have_it(server: InProcessServer) -> None:
    """A release links to itself in each index that has it, with since when, and so do projects."""
    ana, dev = _signed_in(server, "ana"), server.index.named("dev")
    in_both = "In: main has none of it dev ✓ has 1.0 prod ✓ has 1.0 since 2026-01-03"
    assert _places(ana, f"{DEV}1.0/") == in_both
    page = _opened(ana, f"{DEV}1.0/")
    assert 'href="../../../../prod/project/demo/1.0/">prod</a>' in page
    assert 'aria-current="true">dev</a>' in page
    assert re.search(r'<span class="index hue-\d">dev</span></a>', page)
    assert "../main" not in page

    dev.uploads.accept(make_wheel(version="2.0").arrival(server.folder), ALICE)

    assert _places(ana, DEV) == "In: main has none of it dev ✓ has 2.0 prod 1.0"
    assert re.search(r'href="../../../prod/project/demo/">prod</a> 1.0', _opened(ana, DEV))
    assert _places(ana, f"{DEV}1.0/") == in_both
    assert _places(ana, f"{DEV}history/") == "In: main has none of it dev 2.0 prod 1.0"
    of_base = "In: main ✓ has 1.0 dev has none of it prod has none of it"
    assert _places(ana, "/project/base/") == of_base
    assert "since 2026-01-01" in _places(ana, "/prod/project/demo/1.0/")


def test_the_list_of_releases_says_which_indexes_have_each(server: InProcessServer) -> None:
    """The list of releases says where else each of them is, at once, to who may read it there."""
    ana, bo = _signed_in(server, "ana"), _signed_in(server, "bo")
    path, prod = f"{DEV}releases/", server.index.named("prod")
    assert "in prod" in _opened(ana, path)
    assert "in dev" not in _opened(ana, path)  # it is the index of the list
    assert "in prod" not in _opened(bo, path)
    assert "in prod" not in _opened(ana, path.replace("/dev/", "/dev/as-of-2026-01-01/"))

    prod.lifecycle.change("delete", ALICE, DEMO, Selection(Version("1.0")), "")

    assert "in prod" not in _opened(ana, path)


def test_what_an_index_takes_by_promotion_has_a_flag(server: InProcessServer) -> None:
    """On the line of time, a release has a flag if it is in an index with rules for promotions."""
    later = make_wheel(version="2.0").arrival(server.folder)
    server.index.named("dev").uploads.accept(later, ALICE)
    ana, path = _signed_in(server, "ana"), f"{DEV}releases/"
    flagged = re.compile('<svg class="flagged"[^>]*><title>([^<,]*)')
    without_rules = _opened(ana, path)

    rules = {"promote_from": ["dev"]}
    server.index.server.index_administration.change("prod", rules, "local:test")

    assert "1.0, 2026-01-01, in prod" in without_rules
    assert flagged.findall(without_rules) == []
    assert flagged.findall(_opened(ana, path)) == ["1.0"]


def test_what_changes_in_another_index_is_shown_at_once(server: InProcessServer) -> None:
    """The page of a release in dev that is repeated says at once that prod has yanked it."""
    ana, prod, path = _signed_in(server, "ana"), server.index.named("prod"), f"{DEV}1.0/"
    _opened(ana, path)
    assert ana.open(path).was_quick

    prod.lifecycle.change("yank", ALICE, DEMO, Selection(Version("1.0")), "Loses messages")
    assert "prod ✓ has 1.0 yanked since" in _places(ana, path)
    prod.lifecycle.change("delete", ALICE, DEMO, Selection(Version("1.0")), "")
    assert _places(ana, path).endswith("prod has none of it")


def test_the_end_of_a_right_takes_the_mark_away(server: InProcessServer) -> None:
    """A second after somebody may not read prod any more, no page says anything of it."""
    ana, access, paths = (
        _signed_in(server, "ana"),
        server.index.server.access,
        (DEV, "/project/base/"),
    )
    for path in paths:
        assert "prod" in _places(ana, path)
        assert ana.open(path).was_quick
    grants = access.load().of(frozenset({"htpasswd:ana"}))
    (of_prod,) = (grant.id for grant in grants if grant.scope.indexes == ("prod",))

    access.revoke(of_prod, "local:test")
    server.clock.advance(seconds=1)
    # now her credential is one that was verified within the last second
    for path in ("/", "/dev/", *paths):
        assert "prod" not in _opened(ana, path)
    assert _places(ana, DEV) == "In: main has none of it dev ✓ has 1.0"


def test_a_project_that_one_may_not_read_is_not_there(server: InProcessServer) -> None:
    """Of a project that one may not read in prod, it is said what is said of a missing one."""
    assert _places(_signed_in(server, "bo"), f"{DEV}1.0/").endswith("prod has none of it")


@pytest.mark.parametrize(
    ("person", "path", "led_to"),
    [
        ("ana", "/project/nothing/", ["/dev/", "/prod/"]),
        ("eve", "/project/nothing/", ["/dev/"]),
        ("", "/project/nothing/", []),
        ("ana", "/nothing/", []),
        ("ana", "/dev/project/nothing/", []),
    ],
    ids=["reads both", "reads one", "reads none", "no project", "of dev"],
)
def test_a_missing_project_of_main_leads_to_other_indexes(
    with_prod: InProcessServer, person: str, path: str, led_to: list[str]
) -> None:
    """The page of a project that main lacks leads to the other indexes that one may read."""
    answer = _signed_in(with_prod, person).open(path, HTML)

    advice = answer.body.decode().partition("It may be in another one")[2].partition("</li>")[0]
    assert (answer.status, re.findall('href="([^"]*)"', advice)) == (404, led_to)


def test_who_reads_one_index_sees_no_mark(tmp_path: Path) -> None:
    """With rights in one index alone, the header has its name as a text, and there is no switch."""
    with _serving(tmp_path / "server", has_prod=True, main="granted") as server:
        page = _opened(_signed_in(server, "uma"), f"{DEV}1.0/")

    assert "wheelyard dev</a>" in page
    assert 'class="index' not in page


def test_a_day_leads_to_no_other_index(server: InProcessServer) -> None:
    """The view of a day has the mark of its index, but says nothing of what others have now."""
    server.clock.advance(days=1)
    page = _opened(_signed_in(server, "ana"), "/dev/as-of-2026-01-03/project/demo/1.0/")

    assert re.search(r'<span class="index hue-\d">dev/as-of-2026-01-03</span>', page)
    assert 'class="places"' not in page
    assert "Promoted to prod" in page


def test_shared_caches_ask_before_they_show_what_a_grant_has_opened(tmp_path: Path) -> None:
    """A page of an open index that tells of one opened by a grant is revalidated each time."""
    with _serving(tmp_path / "server", has_prod=True) as server:
        before = server.get("/project/base/", HTML).headers["cache-control"]
        opened = _grant("ana", "read", index="prod") | {"who": ("anonymous",)}
        server.index.server.access.grant(convert(opened, GrantFields), "local:test")
        server.clock.advance(seconds=2)
        answer = server.get("/project/base/", HTML)

    assert "max-age=" in before
    assert b">prod" in answer.body
    assert answer.headers["cache-control"] == "public, no-cache"


def test_an_index_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    """While the store does not answer about one index, pages of others say nothing of it."""
    store = FakeStore(MemoryStore(lambda: 0.0))
    indexes = [{"name": name, "read": "anyone"} for name in ("dev", "prod")]
    tables = toml_of(main={"read": "granted"}, index=indexes)
    with in_process(tmp_path, store=store, tables=tables) as opened:
        opened.publish_to("dev", make_wheel())
        before = _places(Browser(opened), DEV)
        store.follow(Fault(FaultKind.NOT_DONE, verb="get", key="indexes/prod/*", times=ALWAYS))
        opened.clock.advance(seconds=60)
        after = _places(Browser(opened), DEV)

    assert before == "In: dev \N{CHECK MARK} has 1.0 prod has none of it"
    assert after == "In: dev \N{CHECK MARK} has 1.0"
