"""The pages on which people yank, delete and set the status, and see who may do what."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_sdist, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.http.browser import Browser
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from wheelyard.catalog import keys
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import Project, Status
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.storage.memory import MemoryStore

PASSWORD = "s3cret"
WHEEL = "demo-1.0-py3-none-any.whl"
MANAGE = "/project/demo/manage/"
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["htpasswd:reader"], "projects": ["demo*"], "actions": ["read"]},
    {"who": ["htpasswd:uploader"], "projects": ["demo*"], "actions": ["upload"]},
    {"who": ["group:team"], "projects": ["demo*", "hidden"], "actions": ["manage"], "note": "x7"},
    {"who": ["htpasswd:admin"], "projects": ["*"], "actions": ["admin"]},
)
TABLES = toml_of(grant=GRANTS, groups={"team": ["htpasswd:manager"]})


def settings_in(folder: Path, *, read_only: bool = False) -> Settings:
    """Return settings with a person for each kind of rights."""
    names = ("reader", "uploader", "manager", "admin", "stranger")
    (folder / "htpasswd").write_text("".join(f"{name}:{SHA}\n" for name in names))
    access = AccessSettings(
        private=True,
        cookie_login=True,
        htpasswd_file=str(folder / "htpasswd"),
        htpasswd_may=(),
    )
    server = ServerSettings(public_url="http://index", read_only=read_only)
    return Settings(server=server, access=access)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """Serve `demo` with two releases, which no test changes."""
    folder = tmp_path_factory.mktemp("server")
    with in_process(folder, settings_in(folder), tables=TABLES) as opened:
        opened.publish(make_wheel("demo"), make_sdist("demo"), make_wheel("demo", "2.0"))
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


def changed(browser: Browser, name: str, **fields: str | tuple[str, ...]) -> InProcessResponse:
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


def test_manager_yanks_a_file(server: InProcessServer, manager: Browser) -> None:
    """A manager yanks the file that is ticked; the page and the journal have who did it and why."""
    name, filename = "demo-y", "demo_y-1.0.tar.gz"
    server.publish(make_wheel(name), make_sdist(name))
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


def test_release_is_deleted_by_who_types_its_name(
    server: InProcessServer, manager: Browser
) -> None:
    """A release is deleted by who types its name and version, in any spelling."""
    name, filename = "demo-d", "demo_d-2.0-py3-none-any.whl"
    server.publish(make_wheel(name), make_wheel(name, "2.0"))
    form = manager.open(f"/project/{name}/manage/?version=2&action=delete")
    assert "bytes are kept for 30 days" in text_of(form)
    assert "To confirm, type: demo-d 2.0 Delete" in text_of(form)

    fields = {"version": "2.0", "file": filename, "confirmation": "Demo_D 2"}
    changed(manager, name, action="delete", reason="leaked", **fields)

    assert project(server, name).deleted_filenames == (filename,)


def test_a_deletion_warns_of_what_requires_it(server: InProcessServer, manager: Browser) -> None:
    """The form of a deletion says which release would have no version that it requires."""
    library = make_wheel("demo-lib", "1.3")
    core = make_wheel("demo-core", "1.2", "Requires-Dist: demo-lib")
    server.publish(library, make_sdist("demo-lib", "1.3"), core)
    after = "After this, demo-core 1.2 has no demo-lib in main."
    manage = "/project/demo-lib/manage/"
    chosen = {"csrf_token": manager.form_token("/-/account/"), "version": "1.3"}

    for page in (
        manager.open(f"{manage}?version=1.3&action=delete"),
        manager.open(f"{manage}?action=delete"),
        manager.send(manage, {**chosen, "choose": "delete"}),
    ):
        assert after in text_of(page)
    for page in (
        manager.open(f"{manage}?version=1.3&action=yank"),
        manager.open(f"{manage}?version=1.3&action=delete&file={library.filename}"),
        manager.open("/project/demo-core/manage/?action=delete"),
    ):
        assert after not in text_of(page)


def test_deleted_files_are_restored(server: InProcessServer, manager: Browser) -> None:
    """The page has the deleted files; whoever ticks some and says why gets them back."""
    name, filename = "demo-t", "demo_t-1.0-py3-none-any.whl"
    server.publish(make_wheel(name), make_wheel(name, "2.0"))
    before = project(server, name).by_filename[filename]
    assert "Deleted files" not in text_of(manager.open(f"/project/{name}/manage/"))
    fields = {"version": "1.0", "file": filename}
    changed(manager, name, action="delete", confirmation=f"{name} 1.0", **fields)
    assert manager.open(f"/files/{name}/{before.sha256}/{filename}").status == 404
    page = manager.open(f"/project/{name}/manage/")
    assert "Can be restored until" in text_of(page)
    assert f"{filename} sha256:{before.sha256}" in text_of(page)
    assert f"wheelyard delete {name} sha256:... --now" in text_of(page)

    assert "Error: Tick the releases" in text_of(chosen(manager, name, ("choose", "restore")))
    form = chosen(manager, name, ("choose", "restore"), ("version", "1.0"))
    assert filename in text_of(form)
    done = changed(manager, name, action="restore", reason="needed", **fields)

    assert "restored 1.0 : needed" in text_of(done)
    assert project(server, name).by_filename[filename] == before
    assert "Deleted files" not in text_of(done)


def test_status_is_set_with_a_reason(server: InProcessServer, manager: Browser) -> None:
    """The status is set with a reason; a quarantined project can still be managed."""
    name = "demo-s"
    server.publish(make_wheel(name))
    form = manager.open(f"/project/{name}/manage/?action=status")
    assert "It is active now" in text_of(form)

    fields = {"status": "quarantined", "reason": "under review"}
    page = changed(manager, name, action="status", **fields)

    assert "manager, by password set the status to quarantined : under review" in text_of(page)
    after = project(server, name)
    assert (after.status, after.reason) == (Status.QUARANTINED, "under review")
    release = manager.open(f"/project/{name}/manage/?version=1.0")
    assert "demo_s-1.0-py3-none-any.whl" in text_of(release)
    told = "Reason: under review Set on 2026-01-01 by manager, by password"
    assert told in text_of(manager.open(f"/project/{name}/"))


def test_a_status_that_was_set_before_is_not_set_again(
    server: InProcessServer, manager: Browser
) -> None:
    """The form of a status without a change says so, and not what was done to the project last."""
    server.publish(make_wheel("demo-again"))

    page = text_of(changed(manager, "demo-again", action="status", status="active"))

    assert "Nothing was changed: everything was as you asked already." in page
    assert "uploaded 1.0" not in page
    assert project(server, "demo-again").revision == 1


@pytest.mark.parametrize(
    ("commit", "words"),
    [("1", "uploaded 1.0"), ("0", "Nothing was changed"), ("2", ""), ("99", ""), ("x", "")],
    ids=["first", "none", "lost", "not of the project", "malformed"],
)
def test_the_page_after_a_form_says_what_was_done(tmp_path: Path, commit: str, words: str) -> None:
    """The page shows the change whose number is in its address, if that can be read."""
    store = MemoryStore(lambda: 0.0)
    with in_process(tmp_path, settings_in(tmp_path), store=store, tables=TABLES) as server:
        server.publish(*(make_wheel("demo", f"{number}.0") for number in (1, 2, 3)))
        first, lost, later = (keys.commit(NormalizedName("demo"), number) for number in (1, 2, 99))
        store.delete(lost)
        # as after an older copy of the project was put back
        entry = b"".join(store.read(first)).replace(b'"number":1,', b'"number":99,')
        store.put(later, entry, None)
        page = signed_in(server, "manager").open(f"{MANAGE}?commit={commit}")

    said = text_of(page).partition("Access ")[2].partition("Releases")[0]
    assert (page.status, words in said, bool(said)) == (200, True, bool(words)), said


@pytest.mark.parametrize(
    ("fields", "status", "field", "words"),
    [
        ({"confirmation": "demo 2.0"}, 400, "confirmation", "something else. To confirm"),
        ({"confirmation": "demo"}, 400, "confirmation", "something else. To confirm"),
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
        # the words are beside the choices
        assert 'aria-describedby="status-error"' in answer.body.decode()
    assert project(server).revision == 3


def test_missing_version_is_said_beside_its_field(manager: Browser) -> None:
    """A version that is not there is said beside the field it was typed into."""
    for version, status in (("9.9", 404), ("not-one", 400)):
        answer = manager.open(f"{MANAGE}?version={version}")
        assert answer.status == status
        assert f'value="{version}" ' in answer.body.decode()
        assert 'aria-describedby="versions-error' in answer.body.decode()


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
        assert browser.open(path.replace("demo", "nothing")).status == 404
    assert browser.send(MANAGE, fields).status == status
    assert project(server) == before
    assert b"manage/" not in browser.open("/project/demo/").body
    anonymous = Browser(server)
    assert anonymous.open(MANAGE).status == 401
    assert anonymous.send(MANAGE, fields).status == 401


def test_whoever_reads_anonymously_is_asked_to_sign_in(tmp_path: Path) -> None:
    """In an index that anybody may read, who has not signed in is asked to, and not refused."""
    settings = settings_in(tmp_path)
    settings = replace(settings, access=replace(settings.access, private=False))
    with in_process(tmp_path, settings, tables=TABLES + toml_of(main=OPEN_MAIN)) as server:
        server.publish(make_wheel("demo"))
        anonymous, before = Browser(server), project(server)
        assert anonymous.open("/project/demo/").status == 200
        for path in (MANAGE, "/project/demo/access/"):
            answer = anonymous.open(path)
            assert (answer.status, "You are not signed in" in text_of(answer)) == (401, True)
        assert anonymous.send(MANAGE, {"action": "status", "status": "archived"}).status == 401
        assert project(server) == before


def test_read_only_server_offers_no_form(tmp_path: Path) -> None:
    """A read-only server offers no form, and keeps what was typed into one that was open."""
    with in_process(tmp_path, settings_in(tmp_path, read_only=True), tables=TABLES) as server:
        server.publish(make_wheel("demo"))
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
    store = FakeStore(MemoryStore(lambda: 0.0))
    with in_process(tmp_path, settings_in(tmp_path), store=store, tables=TABLES) as server:
        server.publish(make_wheel("demo"))
        manager = signed_in(server, "manager")
        token = manager.form_token(f"{MANAGE}?version=1.0&action=yank")
        store.follow(Fault(FaultKind.NOT_DONE, "get", times=ALWAYS))
        fields = {"csrf_token": token, "action": "yank", "version": "1.0", "reason": "kept"}

        answer = manager.send(MANAGE, {**fields, "file": WHEEL})
        unread = manager.send("/project/demo-unread/manage/", fields)

        store.follow()
        assert (unread.status, 'value="kept"' in unread.body.decode()) == (503, True)
        assert answer.status == 503
        assert 'value="kept"' in answer.body.decode()
        assert f'value="{WHEEL}" checked' in answer.body.decode()
        assert project(server).revision == 1
        store.follow(Fault(FaultKind.NOT_DONE, "get", times=ALWAYS))
        deletion = {**fields, "action": "delete", "confirmation": "demo 1.0", "file": WHEEL}
        refused = manager.send(MANAGE, deletion)
        assert (refused.status, "Nobody knows" in text_of(refused)) == (503, False)
        store.follow()


def chosen(browser: Browser, name: str, *fields: tuple[str, str]) -> InProcessResponse:
    """Send the form in which releases were chosen; return the page that names their files."""
    sent = {"csrf_token": [browser.form_token("/-/account/")]}
    for field, text in fields:
        sent.setdefault(field, []).append(text)
    return browser.send(f"/project/{name}/manage/", sent)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("version", "3.1"), ("version", "3.7")], ["3.7", "3.1"]),
        ([("versions", "<3.2")], ["3.1", "3.0"]),
        ([("version", "3.9"), ("versions", "3.0")], ["3.9", "3.0"]),
        ([("versions", "'==3.8.*'")], ["3.8"]),
    ],
)
def test_many_releases_are_chosen_at_once(
    server: InProcessServer, manager: Browser, fields: list[tuple[str, str]], expected: list[str]
) -> None:
    """Releases are ticked, or written as a set; the next page names each file, and asks why."""
    if NormalizedName("demo-m") not in server.index.projects.names.get_current().as_set:
        server.publish(*(make_wheel("demo-m", f"3.{number}") for number in range(10)))
    before = project(server, "demo-m")

    page = chosen(manager, "demo-m", ("choose", "yank"), *fields).body.decode()

    assert re.findall(r'name="version" value="([^"]*)"', page) == expected
    files = [f"demo_m-{version}-py3-none-any.whl" for version in expected]
    assert re.findall(r'name="file" value="([^"]*)" checked', page) == files
    assert page.count('name="reason"') == 1
    assert project(server, "demo-m") == before


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ([], 400, "Tick the releases that you mean"),
        ([("versions", "<1")], 404, "demo has no such release"),
        ([("versions", "9.9")], 404, "demo has no such release"),
        ([("version", "9.9")], 404, "demo has no such release"),
        ([("versions", "newest")], 400, "is not a set of versions"),
        ([("versions", "1.x")], 400, "1.x"),
        ([("choose", "unyank"), ("version", "1.0")], 400, "None of these files can be unyanked"),
        ([("choose", "unpin"), ("version", "1.0")], 400, "None of these files can be unpinned"),
    ],
)
def test_wrong_choice_is_said_beside_its_field(
    manager: Browser, fields: list[tuple[str, str]], status: int, words: str
) -> None:
    """A choice of nothing, or of what is not there, is said beside the field of the list."""
    choose = [] if dict(fields).get("choose") else [("choose", "yank")]
    answer = chosen(manager, "demo", *choose, *fields)

    assert answer.status == status
    assert words in text_of(answer)
    assert 'aria-describedby="versions-error' in answer.body.decode()


def test_many_releases_are_yanked_in_one_commit(server: InProcessServer, manager: Browser) -> None:
    """Many releases are yanked with one reason in one commit, but for files that are not ticked."""
    name = "demo-a"
    server.publish(
        *(make_wheel(name, version) for version in ("1.0", "1.1", "2.0")), make_sdist(name)
    )
    revision = project(server, name).revision
    sent = {
        "version": ("1.0", "1.1"),
        "file": ("demo_a-1.0-py3-none-any.whl", "demo_a-1.1-py3-none-any.whl"),
    }

    page = changed(manager, name, action="yank", reason="both broken", **sent)

    assert "yanked 2 releases : both broken" in text_of(page)
    after = project(server, name)
    assert after.revision == revision + 1
    yanked = {file.filename for file in after.files if file.yanked == "both broken"}
    assert yanked == set(sent["file"])


def test_many_releases_are_deleted_by_who_types_the_name(
    server: InProcessServer, manager: Browser
) -> None:
    """Who deletes several releases types the name of the project, and the others stay."""
    name = "demo-b"
    server.publish(*(make_wheel(name, version) for version in ("1.0", "1.1", "2.0")))
    page = chosen(manager, name, ("choose", "delete"), ("versions", "<2"))
    assert "To confirm, type: demo-b" in text_of(page)
    files = ("demo_b-1.0-py3-none-any.whl", "demo_b-1.1-py3-none-any.whl")
    sent = {"version": ("1.0", "1.1"), "file": files}

    done = text_of(changed(manager, name, action="delete", confirmation="Demo_B", **sent))

    assert "deleted 2 releases" in done
    assert "Their bytes are kept until" in done
    assert project(server, name).deleted_filenames == files
    assert [file.version for file in project(server, name).files] == ["2.0"]


def test_project_is_deleted_by_who_types_its_name(
    server: InProcessServer, manager: Browser
) -> None:
    """Who deletes a project types its name; files that came since the form was shown stay."""
    name, files = "demo-w", ("demo_w-1.0-py3-none-any.whl", "demo_w-2.0-py3-none-any.whl")
    server.publish(make_wheel(name), make_wheel(name, "2.0"))
    form = manager.open(f"/project/{name}/manage/?action=delete")
    assert re.findall(r'type="hidden" name="file" value="([^"]*)"', form.body.decode()) == [
        *reversed(files)
    ]
    assert "Delete the project demo-w ·" in text_of(form)
    server.publish(make_wheel(name, "3.0"))  # by somebody who knows nothing of it
    sent = {"whole": ("1",), "file": files}
    token = {"csrf_token": manager.form_token("/-/account/"), "action": "delete"}
    refused = manager.send(f"/project/{name}/manage/", {**token, **sent, "confirmation": "demo"})
    assert refused.status == 400
    assert "This is something else. To confirm, type: demo-w" in text_of(refused)
    assert refused.body.count(b'name="whole"') == 1

    page = changed(manager, name, action="delete", **sent, confirmation=name)

    assert "deleted 2 releases" in text_of(page)
    assert [file.version for file in project(server, name).files] == ["3.0"]
    last = {"whole": "1", "file": "demo_w-3.0-py3-none-any.whl", "confirmation": name}
    page = changed(manager, name, action="delete", **last)
    assert "all of them were deleted" in text_of(page)
    assert "Give up the name" not in text_of(page)  # that is for administrators
    assert manager.open(f"/project/{name}/").status == 200


def test_name_is_given_up_by_an_administrator(server: InProcessServer) -> None:
    """An administrator gives up the name of a project without files, after typing it."""
    name, admin = "demo-n", signed_in(server, "admin")
    server.publish(make_wheel(name))
    manage = f"/project/{name}/manage/"
    release = {"csrf_token": admin.form_token("/-/account/"), "action": "release"}
    full = admin.send(manage, {**release, "confirmation": name})
    assert full.status == 409
    assert "has files" in text_of(full)
    assert "Delete the project" in text_of(full)  # the overview, where its files can be deleted
    gone = {"whole": "1", "file": "demo_n-1.0-py3-none-any.whl", "confirmation": name}
    assert "Give up the name" in text_of(changed(admin, name, action="delete", **gone))
    wrong = admin.send(manage, {**release, "confirmation": "demo", "reason": "typo"})
    assert wrong.status == 400
    assert 'value="typo"' in wrong.body.decode()

    answer = admin.send(manage, {**release, "confirmation": name, "reason": "typo"})

    assert answer.status == 200
    assert "The name is given up" in text_of(answer)
    assert admin.open(f"/project/{name}/").status == 404
    refused = signed_in(server, "manager").send(
        "/project/demo/manage/",
        {**release, "csrf_token": signed_in(server, "manager").form_token("/-/account/")},
    )
    assert refused.status == 403


def test_other_spelling_leads_to_the_usual_page(manager: Browser) -> None:
    """Another spelling of the name leads to the page of the usual one."""
    assert manager.open("/project/Demo/manage/?version=1.0").headers["location"] == (
        "/project/demo/manage/?version=1.0"
    )
    assert manager.open("/project/Demo/access/?x=1").headers["location"] == (
        "/project/demo/access/?x=1"
    )


def test_manager_sees_who_may_do_what(server: InProcessServer, manager: Browser) -> None:
    """A manager sees who may do what and why, and names of other projects only administrators."""
    path = "/project/demo/access/"

    said = text_of(manager.open(path))

    ids = {grant.who[0]: grant.id for grant in server.index.server.access.show().grants}
    yes = "\N{CHECK MARK} yes"
    team = f"{yes} {yes} {yes} grant {ids['group:team']}"
    assert f"the group team {team}" in said
    assert f"manager, by password {team} , as one of the group team" in said
    no = "\N{EN DASH} no"
    uploader = f"uploader, by password {yes} {yes} {no} grant {ids['htpasswd:uploader']}"
    assert uploader in said
    assert "hidden" not in said
    assert "x7" not in said
    assert "for demo*, hidden; x7" in text_of(signed_in(server, "admin").open(path))
    assert f'href="{path.rpartition("demo")[0]}' not in said


def test_no_rights_to_a_project_that_there_is_not(manager: Browser) -> None:
    """A name that a manager may give to a project has no page of rights before it has files."""
    answer = manager.open("/project/demo-plans/access/")

    assert answer.status == 404
    assert "demo-plans" in text_of(answer)
    assert "manager, by password" not in text_of(answer)


def test_rights_are_given_from_the_page_that_shows_them(server: InProcessServer) -> None:
    """An administrator comes from the rights on a project to the form that gives one, filled in."""
    path, admin = "/project/demo/access/", signed_in(server, "admin")
    link = re.search(
        r'href="[./]*(/-/admin/grants/[^"]*)">Give somebody', admin.open(path).body.decode()
    )
    assert link is not None

    form = admin.open(unescape(link[1])).body.decode()

    assert '<option value="htpasswd" selected>' in form
    assert 'name="projects" value="demo"' in form
    assert "<option selected>main</option>" in form
    assert "Give somebody" not in signed_in(server, "manager").open(path).body.decode()


def test_rows_of_releases_lead_to_the_form(server: InProcessServer, manager: Browser) -> None:
    """A manager comes from the list of releases to the form that yanks one of them."""
    path, day = "/project/demo/releases/", "/as-of-2026-01-01/project/demo/releases/"
    row = re.search(rb'href="../(manage/[^"]*)" aria-label="Yank 2.0"', manager.open(path).body)
    assert row is not None

    form = manager.open(f"/project/demo/{unescape(row[1].decode())}")

    assert "Yank demo 2.0" in text_of(form)
    for browser, without in ((manager, day), (signed_in(server, "uploader"), path)):
        shown = browser.open(without)
        assert (shown.status, b"action=yank" in shown.body) == (200, False), without


def test_a_project_of_a_layer_is_managed_where_it_is(server: InProcessServer) -> None:
    """No page of a project leads to pages that manage it, where it is from another index."""
    table = {"name": "team", "layers": ["team", "main"]}
    server.index.server.index_administration.add(table, "local:bo")
    fields = GrantFields(
        who=("htpasswd:manager",), projects=("demo",), actions=("manage",), index="team"
    )
    server.index.server.access.grant(fields, "local:bo")
    manager = signed_in(server, "manager")

    for tab in ("", "2.0/", "files/", "releases/", "history/", "downloads/"):
        assert b"/manage/" in manager.open(f"/project/demo/{tab}").body
        shown = manager.open(f"/team/project/demo/{tab}")
        assert (shown.status, b"/manage/" in shown.body) == (200, False), tab
