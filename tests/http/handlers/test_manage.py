"""The pages on which people yank, delete and set the status, and see who may do what."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.http.browser import Browser
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.packages import sdist, wheel
from tests.http.test_error_pages import BrokenStore
from wheelyard.errors import Unavailable
from wheelyard.model.project import Project, Status
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

PASSWORD = "s3cret"
WHEEL = "demo-1.0-py3-none-any.whl"
MANAGE = "/project/demo/manage/"
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["htpasswd:reader"], "projects": ["demo*"], "actions": ["read"]},
    {"who": ["htpasswd:uploader"], "projects": ["demo*"], "actions": ["upload"]},
    {"who": ["group:team"], "projects": ["demo*", "hidden"], "actions": ["manage"], "note": "x7"},
    {"who": ["htpasswd:admin"], "projects": ["*"], "actions": ["admin"]},
)


def settings_in(folder: Path, *, read_only: bool = False) -> Settings:
    """Return settings with a person for each kind of rights."""
    names = ("reader", "uploader", "manager", "admin", "stranger")
    (folder / "htpasswd").write_text("".join(f"{name}:{SHA}\n" for name in names))
    access = AccessSettings(cookie_login=True, htpasswd_file=str(folder / "htpasswd"))
    server = ServerSettings(public_url="http://index", read_only=read_only)
    groups = {"team": ["htpasswd:manager"]}
    return Settings(server=server, access=access, grant=GRANTS, groups=groups)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """Serve `demo` with two releases, which no test changes."""
    folder = tmp_path_factory.mktemp("server")
    with in_process(folder, settings_in(folder)) as opened:
        opened.publish(wheel("demo"), sdist("demo"), wheel("demo", "2.0"))
        yield opened


@pytest.fixture(scope="module")
def manager(server: InProcessServer) -> Browser:
    """Return the browser of the manager, who has signed in."""
    return signed_in(server, "manager")


def signed_in(server: InProcessServer, name: str) -> Browser:
    """Return the browser of a person who has signed in."""
    browser = Browser(server)
    assert browser.sign_in(name, PASSWORD).status == 303
    return browser


def project(server: InProcessServer, name: str = "demo") -> Project:
    """Return a project as it is."""
    return server.index.projects.get(NormalizedName(name))


def changed(browser: Browser, name: str, **fields: str) -> InProcessResponse:
    """Send a form of a project, with its token; return the page that is redirected to."""
    path = f"/project/{name}/manage/"
    answer = browser.send(path, {"csrf_token": browser.form_token("/-/account/"), **fields})
    assert answer.status == 303, text_of(answer)
    assert answer.headers["location"].startswith(path)
    page = browser.open(answer.headers["location"])
    assert (page.status, page.headers["cache-control"]) == (200, "no-store")
    return page


def text_of(response: InProcessResponse) -> str:
    """Return the words of a page, without its tags."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", response.body.decode())).split())


def test_manager_yanks_and_unyanks_a_file(server: InProcessServer, manager: Browser) -> None:
    """A manager yanks one file with a reason and unyanks it; the journal has the name."""
    name, filename = "demo-y", "demo_y-1.0.tar.gz"
    server.publish(wheel(name), sdist(name))
    path = f"/project/{name}/manage/?version=1&action=yank&file={filename}"
    form = manager.open(path).body.decode()
    assert f'value="{filename}" checked' in form
    assert 'value="demo_y-1.0-py3-none-any.whl">' in form
    of_file = {"version": "1.0", "file": filename}

    page = changed(manager, name, action="yank", reason="broken <b>", **of_file)

    assert "manager, by password yanked 1.0 : broken <b> , 20" in text_of(page)
    yanked = {file.filename: file.yanked for file in project(server, name).files}
    assert yanked == {filename: "broken <b>", "demo_y-1.0-py3-none-any.whl": None}
    commit = project(server, name).commit
    assert commit is not None
    assert commit.events[0].by == "htpasswd:manager"
    assert "unyanked 1.0" in text_of(changed(manager, name, action="unyank", **of_file))
    assert project(server, name).by_filename[filename].yanked is None
    twice = changed(manager, name, action="unyank", **of_file)
    assert "Nothing was changed" in text_of(twice)


def test_release_is_deleted_by_who_types_its_name(
    server: InProcessServer, manager: Browser
) -> None:
    """A release is deleted by who types its name and version, in any spelling."""
    name, filename = "demo-d", "demo_d-2.0-py3-none-any.whl"
    server.publish(wheel(name), wheel(name, "2.0"))
    form = manager.open(f"/project/{name}/manage/?version=2&action=delete")
    assert "can never be used again" in text_of(form)

    fields = {"version": "2.0", "file": filename, "confirmation": "Demo_D 2"}
    changed(manager, name, action="delete", reason="leaked", **fields)

    assert project(server, name).deleted_filenames == (filename,)


def test_status_is_set_with_a_reason(server: InProcessServer, manager: Browser) -> None:
    """The status is set with a reason; a quarantined project can still be managed."""
    name = "demo-s"
    server.publish(wheel(name))

    fields = {"status": "quarantined", "reason": "under review"}
    page = changed(manager, name, action="status", **fields)

    assert "manager, by password set the status to quarantined : under review" in text_of(page)
    after = project(server, name)
    assert (after.status, after.reason) == (Status.QUARANTINED, "under review")
    release = manager.open(f"/project/{name}/manage/?version=1.0")
    assert "demo_s-1.0-py3-none-any.whl" in text_of(release)


@pytest.mark.parametrize(
    ("fields", "status", "field", "words"),
    [
        ({"confirmation": "demo 2.0"}, 400, "confirmation", "Type exactly: demo 1.0"),
        ({"confirmation": "demo"}, 400, "confirmation", "Type exactly: demo 1.0"),
        ({"file": ""}, 404, "", "demo has no file ''"),
        ({"file": "demo-1.0-other.whl"}, 404, "", "demo has no file 'demo-1.0-other.whl'"),
        ({"version": "9.9", "confirmation": "demo 9.9"}, 404, "", "demo has no file"),
        ({"version": "x"}, 400, "", "version"),
        ({"reason": "two\nlines"}, 400, "reason", "The reason has the character"),
        ({"reason": "long" * 300}, 400, "reason", "1200 characters"),
        ({"csrf_token": "6955b900.x"}, 403, "", "This form is too old"),
    ],
)
def test_what_was_typed_is_kept(
    server: InProcessServer,
    manager: Browser,
    fields: dict[str, str],
    status: int,
    field: str,
    words: str,
) -> None:
    """A form that is refused comes again with the reason beside its field, and changes nothing."""
    before, path = project(server), f"{MANAGE}?version=1.0&action=delete"
    form = {
        "csrf_token": manager.form_token(path),
        "action": "delete",
        "version": "1.0",
        "file": WHEEL,
        "reason": "my words",
        "confirmation": "demo 1.0",
        **fields,
    }

    answer = manager.send(MANAGE, form)

    page = answer.body.decode()
    assert (answer.status, answer.headers["cache-control"]) == (status, "no-store")
    assert words in text_of(answer)
    assert f'value="{form["confirmation"]}"' in page
    assert unescape(page).count(form["reason"]) >= 1
    assert page.count("autofocus") == 1
    assert (f'aria-describedby="{field}-error' in page) == (field != "")
    assert project(server) == before


def test_form_without_a_ticked_file_changes_nothing(
    server: InProcessServer, manager: Browser
) -> None:
    """A form without a ticked file changes nothing, and does not tick any by itself."""
    fields = {"csrf_token": manager.form_token(f"{MANAGE}?version=1.0&action=yank")}

    answer = manager.send(MANAGE, {**fields, "action": "yank", "version": "1.0"})

    assert answer.status == 400
    assert "No file is ticked" in text_of(answer)
    assert " checked" not in answer.body.decode()
    assert project(server).revision == 3


def test_form_without_a_status_changes_nothing(server: InProcessServer, manager: Browser) -> None:
    """A form without a status, or with one that there is not, is refused in words for a form."""
    token = manager.form_token(f"{MANAGE}?action=status")
    for fields in ({}, {"status": "happy"}):
        answer = manager.send(MANAGE, {"csrf_token": token, "action": "status", **fields})

        assert answer.status == 400
        assert "Fill in the form again." in text_of(answer)
        assert "send" not in text_of(answer).lower()
    assert project(server).revision == 3


def test_missing_version_is_said_beside_its_field(manager: Browser) -> None:
    """A version that is not there is said beside the field it was typed into."""
    for version, status in (("9.9", 404), ("not-one", 400)):
        answer = manager.open(f"{MANAGE}?version={version}")
        assert answer.status == status
        assert f'value="{version}" ' in answer.body.decode()
        assert 'aria-describedby="version-error"' in answer.body.decode()


@pytest.mark.parametrize(
    ("name", "status"), [("reader", 403), ("uploader", 403), ("stranger", 404)]
)
def test_reader_sees_no_manage_form(server: InProcessServer, name: str, status: int) -> None:
    """Who may only read or upload sees no form, no link to it, and changes nothing."""
    browser, before = signed_in(server, name), project(server)
    token = browser.form_token("/-/account/")
    fields = {"csrf_token": token, "action": "status", "status": "archived"}

    for path in (MANAGE, "/project/demo/access/"):
        assert browser.open(path).status == status
        assert browser.open(path.replace("demo", "nothing")).status in (403, 404)
    assert browser.send(MANAGE, fields).status == status
    assert project(server) == before
    assert b"manage/" not in browser.open("/project/demo/").body
    anonymous = Browser(server)
    assert anonymous.open(MANAGE).status == 401
    assert anonymous.send(MANAGE, fields).status == 401


def test_read_only_server_offers_no_form(tmp_path: Path) -> None:
    """A read-only server offers no form, and keeps what was typed into one that was open."""
    with in_process(tmp_path, settings_in(tmp_path, read_only=True)) as server:
        server.publish(wheel("demo"))
        manager, before = signed_in(server, "manager"), project(server)

        answer = manager.send(MANAGE, {"action": "status", "status": "archived", "reason": "kept"})

        assert answer.status == 403
        assert 'value="kept"' in answer.body.decode()
        assert "takes no uploads and no changes" in text_of(answer)
        assert manager.open(MANAGE).status == 403
        assert b"manage/" not in manager.open("/project/demo/").body
        assert project(server) == before


def test_form_is_kept_while_the_store_is_down(tmp_path: Path) -> None:
    """While the store does not answer, the form comes again with what was typed."""
    store = BrokenStore(lambda: 0.0)
    with in_process(tmp_path, settings_in(tmp_path), store=store) as server:
        server.publish(wheel("demo"))
        manager = signed_in(server, "manager")
        token = manager.form_token(f"{MANAGE}?version=1.0&action=yank")
        store.fault = Unavailable("The store does not answer.")
        fields = {"csrf_token": token, "action": "yank", "version": "1.0", "reason": "kept"}

        answer = manager.send(MANAGE, {**fields, "file": WHEEL})

        store.fault = None
        assert answer.status == 503
        assert 'value="kept"' in answer.body.decode()
        assert f'value="{WHEEL}" checked' in answer.body.decode()
        assert project(server).revision == 1


def test_older_releases_are_folded(server: InProcessServer, manager: Browser) -> None:
    """Of many releases the newest are shown, and the others can be chosen by typing."""
    server.publish(*(wheel("demo-m", f"3.{number}") for number in range(30)))

    page = manager.open("/project/demo-m/manage/").body.decode()

    assert page.index(">3.29</a>") < page.index("10 older releases") < page.index(">3.0</a>")
    assert '<option value="3.0">' in page
    assert manager.open("/project/Demo/manage/?version=3.1").headers["location"] == (
        "/project/demo/manage/?version=3.1"
    )


def test_manager_sees_who_may_do_what(server: InProcessServer, manager: Browser) -> None:
    """A manager sees who may do what and why, and names of other projects only administrators."""
    path = "/project/demo/access/"

    said = text_of(manager.open(path))

    assert "group:team htpasswd:manager read, upload, manage grant 3 of the settings" in said
    assert "htpasswd:uploader read, upload grant 2 of the settings" in said
    assert "hidden" not in said
    assert "x7" not in said
    assert "for demo*, hidden; x7" in text_of(signed_in(server, "admin").open(path))
    assert f'href="{path.rpartition("demo")[0]}' not in said
