"""The pages of projects and releases as different callers get them, in every spelling."""

import re
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

import pytest

from tests import waiting
from tests.distributions import make_sdist, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import form, post
from tests.http.servers import memory_index, running_app, token_of
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.authentication.recent_callers import REMEMBERED_SECONDS
from wheelyard.catalog import keys
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.grants import GrantFields
from wheelyard.operations.descriptions.descriptions import RETRY_SECONDS
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, HttpSettings, ServerSettings, Settings
from wheelyard.storage.memory import MemoryStore

HTML = ("accept", "text/html")
NEEDS = ("Requires-Dist: open-base", "Requires-Dist: secret-base")
SETTINGS = Settings(access=AccessSettings(private=True))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """A private index whose projects depend on each other."""
    with in_process(tmp_path_factory.mktemp("index"), SETTINGS) as app:
        app.publish(
            *(make_wheel("demo", version, *NEEDS) for version in ("1.0", "1.1rc1")),
            make_sdist("demo", "2.0+cu121.x", *NEEDS),
            make_wheel("nothing-left"),
            *(make_wheel(name) for name in ("open-base", "secret-base")),
            *(
                make_wheel(name, "1.0", "Requires-Dist: demo")
                for name in ("open-user", "secret-user")
            ),
        )
        every, nothing = Selection(parse_version("1.0")), parse_name("nothing-left")
        app.index.lifecycle.change("delete", ALICE, nothing, every, "")
        yield app


def login(app: InProcessServer, actions: str, *projects: str) -> tuple[str, str]:
    """Return the header of a new token for these projects."""
    secret = token_of(app.index, *projects, can=actions)
    return ("authorization", f"Basic {b64encode(f'__token__:{secret}'.encode()).decode()}")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/project/Demo/", "/project/demo/"),
        ("/project/Demo/1.0/", "/project/demo/1.0/"),
        ("/project/demo/v1.0/", "/project/demo/1.0/"),
        ("/project/demo/1.0.0.0/?a=b", "/project/demo/1.0/?a=b"),
        ("/project/demo/1/", "/project/demo/1.0/"),
        ("/project/demo/1.1-RC.1/", "/project/demo/1.1rc1/"),
        ("/project/demo/2.0+CU121_x/", "/project/demo/2.0%2Bcu121.x/"),
        ("/project/demo/1.0", "/project/demo/1.0/"),
        ("/project/Demo/files/?q=x", "/project/demo/files/?q=x"),
        ("/project/Demo/releases/", "/project/demo/releases/"),
        ("/project/Demo/dependencies/", "/project/demo/dependencies/"),
        ("/project/demo/v1/files/", "/project/demo/1.0/files/"),
        ("/project/demo/v1/dependencies/", "/project/demo/1.0/dependencies/"),
        ("/project/Demo/v1/requirements.txt", "/project/demo/1.0/requirements.txt"),
        ("/project/demo/1.0/files/cp312/", "/project/demo/1.0/files/?python=cp312"),
        (
            "/project/demo/1.0/files/on-macos/1/",
            "/project/demo/1.0/files/?platform=on-macos&page=1",
        ),
        ("/project/demo/1.0/files/1/", "/project/demo/1.0/files/?page=1"),
        # what `hatch publish` prints
        ("/legacy/demo/1.0/", "/project/demo/1.0/"),
    ],
)
def test_other_spelling_leads_to_the_usual_page(
    app: InProcessServer, path: str, target: str
) -> None:
    """A name or a version in another spelling leads to the page of the usual one, for good."""
    answer = app.get(path, HTML, login(app, "read", "demo"))
    assert (answer.status, answer.headers["location"]) == (301, target)
    assert app.get(target, HTML, login(app, "read", "demo")).status == 200


@pytest.mark.parametrize("version", ["9.0", "x", "1.0%2Bx", "1!1.0", "%3Cb%3E", "9" * 200])
def test_missing_release_links_to_those_there(app: InProcessServer, version: str) -> None:
    """A release that is not there is a page with a link to those that are."""
    reader = login(app, "read", "demo")
    for path in (f"/project/demo/{version}/", f"/project/demo/{version}/files/"):
        answer = app.get(path, HTML, reader)
        assert answer.status == 404
        assert b'project/demo/releases/"' in answer.body
        assert b"<b>" not in answer.body
        assert app.get(path, HTML, login(app, "read", "open-*")).body.count(b"releases/") == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("1.0/files/?page=2", 404), ("1.0/files/?page=0", 400), ("1.0/files/?page=x", 400)),
        *(("1.0/files/?type=x", 400), ("1.0/files/?type=wheel", 200)),
        *(("releases/?page=2", 404), ("releases/?page=0", 400), ("releases/?page=x", 400)),
        *(("releases/?q=demo&page=2", 404), ("releases/?page=1", 200)),
    ],
)
def test_there_is_no_page_beyond_the_last(app: InProcessServer, path: str, status: int) -> None:
    """Lists of files and releases have no pages but those that the form and the links lead to."""
    answer = app.get(f"/project/demo/{path}", HTML, login(app, "read", "demo"))
    assert answer.status == status


def test_filtered_files_are_kept_by_nobody(app: InProcessServer) -> None:
    """A filter looks at all files; what it finds is in no cache, as there are too many filters."""
    reader = login(app, "read", "demo")
    page = app.get("/project/demo/1.0/files/?q=demo+WHL", HTML, reader)
    assert b"demo-1.0-py3-none-any.whl" in page.body
    assert page.headers["cache-control"] == "no-store"
    assert b"demo-1.0-py3" not in app.get("/project/demo/1.0/files/?q=x", HTML, reader).body


def test_filtered_releases_are_kept_by_nobody(app: InProcessServer) -> None:
    """A filter of the releases, whose result is in no cache, changes no list but its own."""
    reader = login(app, "read", "demo")
    every = ["../2.0%2Bcu121.x/", "../1.1rc1/", "../1.0/"]
    for query, caching, links in (
        ("?q=1.1rc1", "no-store", every[1:2]),
        ("?q=2.0", "no-store", every[:1]),
        ("", "private, no-cache", every),
    ):
        page = app.get(f"/project/demo/releases/{query}", HTML, reader)
        assert page.headers["cache-control"] == caching
        assert re.findall('href="([.]{2}/[0-9][^"]*)"', page.body.decode()) == links


def test_requirement_installs_the_release(app: InProcessServer) -> None:
    """The requirement with hashes has the digest of each file of the release."""
    reader = login(app, "read", "demo")
    answer = app.get("/project/demo/1.0/requirements.txt", reader)
    digest = make_wheel("demo", "1.0", *NEEDS).sha256
    assert answer.body.decode() == f"demo==1.0 \\\n    --hash=sha256:{digest}\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert app.get("/project/demo/7.0/requirements.txt", reader).status == 404


@pytest.fixture(scope="module")
def extras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An index with a project that has extras."""
    lines = ("Provides-Extra: cli", "Provides-Extra: web-ui")
    with in_process(tmp_path_factory.mktemp("extras")) as app:
        app.publish(*(make_wheel("demo", version, *lines) for version in ("1.0", "1.1")))
        yield app


@pytest.mark.parametrize(
    ("path", "query", "line"),
    [
        ("", "", "demo"),
        ("", "extras=web-ui&extras=cli", '"demo[cli,web-ui]"'),
        ("", "extras=Web_UI,nothing,$(id)&pin=exact", '"demo[web-ui]==1.1"'),
        ("", "pin=compatible", '"demo~=1.1"'),
        ("1.0/", "", "demo==1.0"),
        ("1.0/", "extras=cli", '"demo[cli]==1.0"'),
        ("1.0/", "pin=none&extras=", "demo"),
    ],
)
def test_query_changes_the_install_line(
    extras: InProcessServer, path: str, query: str, line: str
) -> None:
    """Extras and versions in the query change the commands; extras that are not there do not."""
    page = extras.get(f"/project/demo/{path}?{query}", HTML)

    assert page.status == 200
    shown = unescape(page.body.decode())
    assert shown.count(f"<span data-requirement>{line}</span>") == 5
    assert ('<link rel="canonical" href="./">' in shown) == bool(query)
    assert (page.headers["cache-control"] == "no-store") == bool(query)


def test_what_somebody_has_chosen_is_on_no_other_page(extras: InProcessServer) -> None:
    """What one person has chosen on a page is on the page of nobody else."""
    pages = [extras.get(f"/project/demo/{query}", HTML).body for query in ("", "?extras=cli", "")]

    assert pages[0] == pages[2]
    assert b"demo[cli]" not in pages[0]


def test_unknown_choice_of_a_version_is_refused(extras: InProcessServer) -> None:
    """A choice of versions that the form does not have is refused."""
    assert extras.get("/project/demo/?pin=newest", HTML).status == 400


def test_requirement_with_hashes_has_the_extras(extras: InProcessServer) -> None:
    """The requirement with hashes names the extras of the query that the release has."""
    path = "/project/demo/1.0/requirements.txt"
    queries = ("", "?extras=cli,none", "?extras=none")
    bodies = [extras.get(f"{path}{query}").body for query in queries]

    assert bodies[1].startswith(b"demo[cli]==1.0 \\\n    --hash=sha256:")
    assert bodies[0] == bodies[2] == bodies[1].replace(b"[cli]", b"")


@pytest.mark.parametrize("day", ["/as-of-2026-01-01", ""])
def test_an_earlier_day_has_no_choice(extras: InProcessServer, day: str) -> None:
    """The page of an earlier day says how to write extras, and has no form for it."""
    extras.clock.advance(days=1)
    page = extras.get(f"{day}/project/demo/", HTML).body

    assert (b"data-chips" in page, b"With extras, write" in page) == (not day, bool(day))


def test_project_without_releases_has_all_pages(app: InProcessServer) -> None:
    """A project without files has the same pages as any other, which say so."""
    for tab, words in {
        "": b"were deleted",
        "files/": b"were deleted",
        "releases/": b"were deleted",
        "dependencies/": b"were deleted",
        "history/": b"deleted",
    }.items():
        answer = app.get(f"/project/nothing-left/{tab}", HTML, login(app, "read", "nothing-left"))
        assert answer.status == 200
        assert words in answer.body
        assert answer.body.count(b'aria-current="page"') == 1


@pytest.mark.parametrize(
    ("cookie", "shown"),
    [
        ("wheelyard-client=pip", "pip"),
        ("a=b; wheelyard-client=poetry; c=d", "poetry"),
        ("wheelyard-client=uv", "uv"),
        ("wheelyard-client=<b>", "uv"),
        ("wheelyard-client=npm", "uv"),
        ("not-wheelyard-client=pip", "uv"),
    ],
)
def test_chosen_client_is_remembered_for_one_browser(
    tmp_path: Path, cookie: str, shown: str
) -> None:
    """A browser sees the client that it has chosen, and nobody else does, from any cache."""
    settings = Settings(http=HttpSettings(public_max_age=3600))
    with in_process(tmp_path, settings) as app:
        app.publish(make_wheel("demo"))
        for _ in range(3):
            for given, wanted in (((), "uv"), ((("cookie", cookie),), shown)):
                answer = app.get("/project/demo/", HTML, *given)
                assert f'value="{wanted}" checked'.encode() in answer.body
                caching = answer.headers["cache-control"]
                assert caching == (
                    "public, max-age=3600" if wanted == "uv" else "private, no-cache"
                )
        assert app.get("/project/demo/", HTML, ("cookie", cookie)).was_quick


def test_choice_is_kept_in_a_cookie(tmp_path: Path) -> None:
    """Without scripts, a form keeps the choice in a cookie, and leads back to its page alone."""
    settings = Settings(server=ServerSettings(public_url="http://index/py", path_prefix="/py"))
    with in_process(tmp_path, settings) as app:
        for referer, target in (
            ("http://index/py/project/demo/", "/py/project/demo/"),
            ("http://elsewhere/py/project/demo/", "/py/"),
            ("", "/py/"),
        ):
            answer = app.get("/py/-/client/?client=pdm", HTML, ("referer", referer))
            assert (answer.status, answer.headers["location"]) == (303, target)
            cookie = answer.headers["set-cookie"]
            assert cookie == "wheelyard-client=pdm; Max-Age=31536000; Path=/py/; SameSite=Lax"
        for bad in ("", "?client=", "?client=npm", "?client=pip&client=uv", "?client=%0d%0aX:y"):
            answer = app.get(f"/py/-/client/{bad}", HTML)
            assert answer.status == 400
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path", ["demo/", "demo/1.0/", "nothing-left/"], ids=["project", "release", "no release"]
)
def test_a_private_project_is_not_called_public(app: InProcessServer, path: str) -> None:
    """No page of a project of the team says that it is a public package."""
    answer = app.get(f"/project/{path}", HTML, login(app, "read", "*"))

    assert answer.status == 200
    assert b"A public package" not in answer.body


@pytest.mark.parametrize("path", ["/project/demo/", "/project/demo/1.0/"])
def test_caller_sees_neighbours_it_may_read(app: InProcessServer, path: str) -> None:
    """Each caller sees the other projects that it may read, whoever looked at the page before."""
    callers = {
        "everything": login(app, "read", "*"),
        "open ones": login(app, "read", "demo", "open-*"),
        "this one": login(app, "read", "demo"),
        "managed": login(app, "manage", "demo"),
    }
    shown = dict[str, set[str]]()
    for _ in range(3):
        for who, header in callers.items():
            answer = app.get(path, HTML, header)
            assert answer.headers["cache-control"].startswith("private")
            page = answer.body.decode()
            links = {
                name
                for name in ("open-base", "open-user", "secret-base", "secret-user")
                if f"/{name}/" in page
            }
            assert shown.setdefault(who, links) == links
            assert ("project/demo/manage/" in page) == (who == "managed")
            assert "secret-user" not in page or who == "everything"
    users = {"open-user", "secret-user"} if path == "/project/demo/" else set[str]()
    assert shown["everything"] == {"open-base", "secret-base", *users}
    assert shown["open ones"] == {"open-base", *(users - {"secret-user"})}
    assert shown["this one"] == shown["managed"] == set()


@pytest.mark.parametrize("path", ["/project/demo/", "/project/demo/1.0/"])
def test_page_is_repeated_while_nothing_changes(app: InProcessServer, path: str) -> None:
    """A page that was made once is sent again without waiting, as long as nothing has changed."""
    reader = login(app, "read", "demo", "open-*")
    first, second = (app.get(path, HTML, reader) for _ in range(2))
    assert (first.was_quick, second.was_quick) == (False, True)
    assert (first.headers, first.body) == (second.headers, second.body)


@pytest.mark.parametrize("tab", ["", "files/", "dependencies/"])
def test_each_release_has_pages_of_its_own(tmp_path: Path, tab: str) -> None:
    """A page of a release is about that release, whichever one was looked at before."""
    versions = {"": "2.0", "1.0/": "1.0", "2.0/": "2.0"}
    with in_process(tmp_path) as app:
        app.publish(*(make_wheel("demo", version) for version in ("1.0", "2.0")))
        for turn in range(2):
            for path, version in versions.items():
                page = app.get(f"/project/demo/{path}{tab}", HTML)
                heading = f'<h1>demo <span class="version">{version}</span>'
                assert heading in page.text, path
                assert page.was_quick is (turn == 1)


def test_page_shows_changes_of_other_projects(tmp_path: Path) -> None:
    """A page shows at once that another project has come, or needs this one now."""
    with in_process(tmp_path) as app:
        app.publish(make_wheel("demo", "1.0", "Requires-Dist: base"))
        for _ in range(2):
            assert b'/base/"' not in app.get("/project/demo/", HTML).body
        app.publish(make_wheel("base"), make_wheel("user", "1.0", "Requires-Dist: demo"))
        app.clock.advance(seconds=REMEMBERED_SECONDS)
        page = app.get("/project/demo/", HTML).body
        assert b'project/base/"' in page
        assert b'href="../user/"' in page


@pytest.mark.parametrize("path", ["/project/demo/", "/project/demo/1.0/"])
def test_page_is_an_error_while_the_store_is_down(tmp_path: Path, path: str) -> None:
    """While the store does not send what a release says of itself, no page says that it is gone."""
    store = FakeStore(MemoryStore(Clock().seconds))
    with in_process(tmp_path, store=store) as app:
        app.publish(make_wheel("demo", "1.0", "Summary: Books of all kinds"))
        store.follow(Fault(FaultKind.NOT_DONE, key="*.metadata", times=ALWAYS))
        failed = app.get(path, HTML)
        store.follow()
        whole = app.get(path, HTML)

    assert (failed.status, b"The store did not answer." in failed.body) == (503, True)
    assert (whole.status, b"Books of all kinds" in whole.body) == (200, True)


def test_managers_see_who_may_upload(tmp_path: Path) -> None:
    """Who may manage a project sees who has a grant to upload; others do not."""
    grants = (
        {"who": ["group:ml"], "projects": ["demo"], "actions": ["upload"]},
        {"who": ["user:bob@acme.dev"], "projects": ["other"], "actions": ["upload"]},
        {"who": ["user:cy@acme.dev"], "projects": ["*"], "actions": ["read"]},
    )
    groups = {"ml": ["user:ana@acme.dev"]}
    with in_process(tmp_path, tables=toml_of(grant=grants, groups=groups)) as app:
        app.publish(make_wheel("demo"))
        for action, is_shown in (("manage", True), ("upload", False), ("read", False)):
            page = app.get("/project/demo/", HTML, login(app, action, "demo")).body.decode()
            assert ("Who may upload" in page) == ("the group ml<" in page) == is_shown
            assert "@acme.dev" not in page


def test_new_grant_is_on_the_page(tmp_path: Path) -> None:
    """A page is sent again without waiting to who may manage, until there is another grant."""
    with in_process(tmp_path) as app:
        app.publish(make_wheel("demo"))
        manager = login(app, "manage", "demo")
        for path in ("/project/demo/", "/project/demo/1.0/"):
            app.get(path, HTML, manager)
            assert app.get(path, HTML, manager).was_quick
        fields = GrantFields(who=("user:bob@acme.dev",), projects=("demo",), actions=("upload",))
        app.index.server.access.grant(fields, "local:test")
        page = app.get("/project/demo/", HTML, manager)
        assert not page.was_quick
        assert b"bob@acme.dev, by Google" in page.body
        # the page of a release does not say who may upload
        assert app.get("/project/demo/1.0/", HTML, manager).was_quick


DESCRIBED = make_wheel("demo", "1.0", "Description-Content-Type: text/markdown\n\n*described*")


@pytest.mark.integration
@pytest.mark.parametrize("path", ["/project/demo/", "/project/demo/1.0/"])
def test_page_without_its_description_is_kept_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A page that lacks its description for now shows its source, and is kept by nobody."""
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with in_process(tmp_path, Settings(http=HttpSettings(public_max_age=3600))) as app:
        app.publish(DESCRIBED)
        page = app.get(path, HTML)
        assert b"not rendered yet" in page.body
        assert b"*described*" in page.body
        assert page.headers["cache-control"] == "no-store"
        assert not app.get(path, HTML).was_quick


@pytest.mark.integration
def test_page_without_its_description_has_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that lacks its description for now has it later, and is kept then."""
    settings = Settings(http=HttpSettings(public_max_age=3600))
    with in_process(tmp_path, settings) as app:
        app.publish(DESCRIBED)
        with monkeypatch.context() as context:
            context.setattr("sys.executable", "/nonexistent/python")
            assert b"not rendered yet" in app.get("/project/demo/", HTML).body

        def is_there() -> bool:
            app.clock.advance(seconds=RETRY_SECONDS)
            return "etag" in app.get("/project/demo/", HTML).headers

        waiting.until(is_there)
        page = app.get("/project/demo/", HTML)
        assert b"<em>described</em>" in page.body
        assert page.headers["cache-control"] == "public, max-age=3600"


WAIT = "wheelyard.http.handlers.project_pages.DESCRIPTION_SECONDS"


@pytest.mark.integration
def test_the_first_visitor_sees_the_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that nobody has opened yet waits for its description, and may be kept at once."""
    monkeypatch.setattr(WAIT, waiting.TIMEOUT_SECONDS)  # this machine may be slow
    with in_process(tmp_path) as app:
        app.publish(DESCRIBED)
        page = app.get("/project/demo/", HTML)
    assert b"<em>described</em>" in page.body
    assert "etag" in page.headers


@pytest.mark.integration
def test_a_page_waits_no_longer_than_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A description that takes long is text for now, and the dependencies do not wait for it."""
    monkeypatch.setattr(WAIT, 0.01)
    monkeypatch.setattr("sys.executable", str(_held_program(tmp_path)))
    with in_process(tmp_path) as app:
        app.publish(DESCRIBED)
        page = app.get("/project/demo/", HTML)
        assert (b"not rendered yet" in page.body, "etag" in page.headers) == (True, False)
        assert "etag" in app.get("/project/demo/dependencies/", HTML).headers
        (tmp_path / "go").touch()


@pytest.mark.integration
def test_who_waits_for_a_description_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While many pages wait for one description, others are answered: no thread waits."""
    monkeypatch.setattr(WAIT, waiting.TIMEOUT_SECONDS)
    monkeypatch.setattr("sys.executable", str(_held_program(tmp_path)))
    index = memory_index(tmp_path, Settings())
    with running_app(index, tmp_path) as server, ThreadPoolExecutor(20) as pool:
        post(server, DESCRIBED, token=token_of(index, can="upload"))
        visits = [pool.submit(server.get, "/project/demo/", Accept="text/html") for _ in range(20)]
        waiting.until((tmp_path / "started").exists)

        answers = [server.get("/simple/demo/").status_code for _ in range(20)]

        waited = [not visit.done() for visit in visits]
        (tmp_path / "go").touch()
        pages = [visit.result(waiting.TIMEOUT_SECONDS) for visit in visits]
    assert (answers, all(waited)) == ([200] * 20, True)
    assert {page.status_code for page in pages} == {200}


def _held_program(folder: Path) -> Path:
    """Return a program in place of Python that ends once the file `go` is there."""
    program = folder / "held"
    held = f"touch {folder}/started; while [ ! -e {folder}/go ]; do sleep 0.02; done"
    program.write_text(f"#!/bin/sh\n{held}\n")
    program.chmod(0o755)
    return program


@pytest.mark.integration
def test_an_upload_brings_its_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is uploaded has its description rendered before anyone asks for its page."""
    store = MemoryStore(Clock().seconds)
    with in_process(tmp_path, store=store) as app:
        headers = {
            "content-type": "multipart/form-data; boundary=frontier",
            "content-length": str(len(form(DESCRIBED))),
        }
        sent = (login(app, "upload", "demo"), *headers.items())
        assert app.get("/", *sent, method="POST", body=[form(DESCRIBED)]).status == 200
        waiting.until(lambda: any(store.list(keys.DESCRIPTIONS)))
        monkeypatch.setattr("sys.executable", "/nonexistent/python")

        page = app.get("/project/demo/", HTML)

        assert b"<em>described</em>" in page.body
        assert "etag" in page.headers


@pytest.mark.integration
def test_read_only_server_keeps_descriptions_in_memory(tmp_path: Path) -> None:
    """A server that may not write renders descriptions, and keeps them in memory alone."""
    store = MemoryStore(Clock().seconds)
    with in_process(tmp_path, store=store) as app:
        app.publish(DESCRIBED)
    settings = Settings(server=ServerSettings(read_only=True))
    with in_process(tmp_path, settings, store=store) as app:
        waiting.until(lambda: "etag" in app.get("/project/demo/", HTML).headers)
        assert b"<em>described</em>" in app.get("/project/demo/", HTML).body
    assert not any(store.list(keys.DESCRIPTIONS))
