"""Uploads from the page `/-/upload/`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import decode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault
from tests.http.browser import HTML, Browser
from tests.http.forms import BOUNDARY, chunks_of, file, form, text
from tests.http.handlers.test_manage import TABLES, settings_in, signed_in, text_of
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.errors import Unavailable
from wheelyard.http.upload_form import FormReader
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import Status
from wheelyard.settings.sections import AccessSettings
from wheelyard.storage.memory import MemoryStore

UPLOAD = "/-/upload/"
CHECK = f"{UPLOAD}check/"
JSON = ("Accept", "application/json")
ORIGIN = ("Origin", "http://index")
NOTES = Distribution("notes.txt", b"not a package")
OTHER = Distribution(make_wheel("demo-c").filename, make_wheel("demo-c", content=b"2").body)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """Serve an index with people of all rights."""
    folder = tmp_path_factory.mktemp("server")
    with in_process(folder, settings_in(folder), tables=TABLES) as opened:
        yield opened


@pytest.fixture(scope="module")
def uploader(server: InProcessServer) -> Browser:
    """Return the browser of a person who may upload `demo*`."""
    return signed_in(server, "uploader")


def parts_of(*packages: Distribution) -> list[bytes]:
    """Return the files of a form."""
    return [file(filename=package.filename, data=package.body) for package in packages]


def send(browser: Browser, body: bytes, *headers: tuple[str, str]) -> InProcessResponse:
    """Send a form with files, as a browser does."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    every = (
        ("Content-Type", f"multipart/form-data; boundary={BOUNDARY.decode()}"),
        ("Content-Length", str(len(body))),
        *([("Cookie", cookies)] if cookies else []),
        *(headers or (HTML, ORIGIN)),
    )
    return browser.server.get(UPLOAD, *every, method="POST", body=[body])


def upload(browser: Browser, *packages: Distribution) -> InProcessResponse:
    """Upload packages with the token of the page."""
    token = text("csrf_token", browser.form_token(UPLOAD))
    return send(browser, form(token, *parts_of(*packages)))


def has(server: InProcessServer, name: str) -> bool:
    """Return whether a project is there."""
    return server.index.projects.get_for_update(NormalizedName(name)).revision > 0


def test_uploaded_file_is_on_its_project_page(server: InProcessServer, uploader: Browser) -> None:
    """A file is uploaded, and the page that answers links to its project."""
    page = upload(uploader, make_sdist("demo-a"))

    assert (page.status, page.headers["cache-control"]) == (200, "no-store")
    assert b'href="../../project/demo-a/"' in page.body
    assert "demo_a-1.0.tar.gz uploaded Project page of demo-a Upload another" in text_of(page)
    added = server.index.projects.get(NormalizedName("demo-a"))
    assert {file.uploaded_by for file in added.files} == {"htpasswd:uploader"}
    stranger = signed_in(server, "stranger").open("/project/demo-a/")
    assert stranger.status == 404


@pytest.mark.parametrize(
    ("packages", "status", "words"),
    [
        ((NOTES,), 400, "Only .whl and .tar.gz are accepted"),
        ((OTHER,), 409, "File already exists"),
        ((make_wheel("foreign"),), 403, "You (uploader, by password) may not upload to 'foreign'"),
        ((make_wheel("demo-d"), make_sdist("demo-d")), 400, "Upload one file at a time."),
        ((Distribution("demo_e-2.0.tar.gz", b""),), 400, "is empty"),
    ],
    ids=["no package", "other bytes", "no right", "two files", "empty"],
)
def test_refused_file_is_not_stored(
    server: InProcessServer,
    uploader: Browser,
    packages: tuple[Distribution, ...],
    status: int,
    words: str,
) -> None:
    """A file that is refused is not stored, and the page says why."""
    upload(uploader, make_wheel("demo-c"))

    answer = upload(uploader, *packages)

    assert (answer.status, words in text_of(answer)) == (status, True), text_of(answer)
    assert not any(map(partial(has, server), ("foreign", "demo-d", "demo-e")))
    assert list(server.index.server.spool.folder.glob("upload-*")) == []


def test_script_uploads_one_file_at_a_time(uploader: Browser) -> None:
    """The script of the page sends one file at a time, and gets its result as JSON."""
    token = text("csrf_token", uploader.form_token(UPLOAD))
    found = []
    messages = []
    for package in (make_wheel("demo-j"), make_wheel("demo-j"), NOTES, make_wheel("foreign")):
        answer = send(uploader, form(token, *parts_of(package)), JSON, ORIGIN)
        result = decode(answer.body)
        found.append((answer.status, result.get("status"), result.get("project")))
        messages.append(result.get("message"))

    stored = [(200, "uploaded", "demo-j"), (200, "there", "demo-j")]
    assert found == [*stored, (400, None, None), (403, None, None)]
    assert "wheelyard token" not in messages[-1]
    assert "give rights on the page Grants" in messages[-1]


def check(browser: Browser, *files: tuple[str, int, str], **fields: str) -> InProcessResponse:
    """Ask what would become of files: their names, sizes and digests."""
    sent: dict[str, str | list[str]] = {"csrf_token": browser.form_token(UPLOAD), **fields}
    sent["filename"] = [name for name, _, _ in files]
    sent["size"] = [str(size) for _, size, _ in files]
    sent["sha256"] = [digest for _, _, digest in files]
    return browser.send(CHECK, sent)


def checked(browser: Browser, *files: tuple[str, int, str]) -> list[dict[str, Any]]:
    """Return what a dry run says of files."""
    answer = check(browser, *files)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store"), answer.body
    said: list[dict[str, Any]] = decode(answer.body)
    return said


def test_page_hears_before_an_upload_what_would_become_of_it(
    server: InProcessServer, uploader: Browser
) -> None:
    """A dry run says of each file what it is, and what an upload would answer, and stores none."""
    there = make_sdist("demo-there")
    upload(uploader, there)
    names = (make_wheel("demo-new").filename, there.filename, "demo_there-1.0-1.tar.gz")

    new, named, ambiguous, foreign, notes = checked(
        uploader,
        *(
            (name, len(there.body), "")
            for name in (*names, make_wheel("foreign").filename, "notes.txt")
        ),
    )
    same, other = checked(
        uploader, (there.filename, 9, there.sha256), (there.filename, 9, "0" * 64)
    )

    assert new == {
        "status": "new",
        "project": "demo-new",
        "version": "1.0",
        "kind": "wheel, any Python 3",
        "is_first": True,
    }
    assert (named["status"], named["needs_digest"]) == ("named", True)
    assert (
        ambiguous["message"] == "Its metadata says whether it is of demo-there or demo-there-1-0."
    )
    assert (foreign["status"], foreign["project"], foreign["lacks_right"]) == (
        "refused",
        "foreign",
        True,
    )
    assert "Administrators of this index give rights on the page Grants." in foreign["message"]
    assert "wheelyard token" not in foreign["message"]
    assert (notes["status"], "Only .whl and .tar.gz" in notes["message"]) == ("refused", True)
    assert same["status"] == "there"
    assert (other["status"], "already exists" in other["message"]) == ("refused", True)
    assert not has(server, "demo-new")


def test_page_hears_that_nobody_can_tell_during_an_outage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the store does not answer, a dry run says so, and the log: no file is refused."""
    store = FakeStore(MemoryStore(lambda: 0.0))
    with in_process(tmp_path, settings_in(tmp_path), store=store, tables=TABLES) as opened:
        browser = signed_in(opened, "uploader")
        store.follow(Fault(Unavailable("The store is away."), "get", "projects/*", times=ALWAYS))
        (said,) = checked(browser, (make_wheel("demo-new").filename, 9, ""))

    assert (said["status"], "The store is away." in said["message"]) == ("unknown", True)
    assert caplog.messages == ["a request was refused, storage_unavailable: The store is away."]


def test_files_of_one_question_clash_as_their_uploads_do(uploader: Browser) -> None:
    """Of two files with one name, the digests of both are asked for, and the second is refused."""
    made = make_wheel("demo-twice")
    other = make_wheel("demo-twice", content=b"2")
    name, size = made.filename, len(made.body)

    unsure = checked(uploader, (name, size, ""), (name, size, ""))
    first, second = checked(uploader, (name, size, made.sha256), (name, size, other.sha256))
    spelled = checked(uploader, (name, size, ""), (name.replace("1.0", "1.0.0"), size, ""))

    assert [answer["needs_digest"] for answer in unsure] == [True, True]
    assert (first["status"], second["status"]) == ("new", "refused")
    assert [answer["status"] for answer in spelled] == ["new", "refused"]


def test_who_manages_a_project_is_led_to_what_refuses_its_files(server: InProcessServer) -> None:
    """Who may change why a file is refused gets the link to the page for that, and only they."""
    publish = signed_in(server, "manager")
    upload(publish, make_sdist("demo-old"))
    name = NormalizedName("demo-old")
    server.index.lifecycle.set_status(ALICE, name, Status.ARCHIVED, "")
    file = (make_sdist("demo-old", "2.0").filename, 9, "")

    answers = [checked(signed_in(server, who), file)[0] for who in ("manager", "uploader")]

    link = {"path": "project/demo-old/manage/", "text": "Manage demo-old"}
    assert answers[0]["remedy"] == link
    assert "remedy" not in answers[1]
    assert {answer["status"] for answer in answers} == {"refused"}


@pytest.mark.parametrize(
    "files",
    [
        [],
        [("a.whl", "many", "")],
        [("a.whl", "9" * 16, "")],
        [("a.whl", "1", "digest")],
        [("a.whl", "1", "")] * 101,
    ],
    ids=["none", "no size", "huge size", "no digest", "too many"],
)
def test_wrong_dry_run_is_refused(uploader: Browser, files: list[tuple[str, Any, str]]) -> None:
    """A dry run with a wrong field is refused with what to send."""
    answer = check(uploader, *files)

    assert (answer.status, "Send" in text_of(answer) or "Write" in text_of(answer)) == (400, True)


def test_dry_run_has_the_rights_of_an_upload(server: InProcessServer, uploader: Browser) -> None:
    """A dry run needs the token of the form, this site, and somebody who may upload."""
    file = (make_wheel("demo-x").filename, 9, "")

    assert check(uploader, file, csrf_token="6955b900.x").status == 403
    for who, status in ((signed_in(server, "reader"), 403), (Browser(server), 401)):
        sent = {"csrf_token": "x", "filename": "a", "size": "1", "sha256": ""}
        assert who.send(CHECK, sent).status == status
    assert uploader.open(CHECK).status == 405


@pytest.mark.parametrize("case", ["none", "wrong", "of another", "behind the file"])
def test_form_without_its_token_stores_nothing(
    server: InProcessServer, uploader: Browser, case: str
) -> None:
    """Nothing is stored of a form that does not begin with the token of this person."""
    (package,) = parts_of(make_wheel("demo-forged"))
    right = text("csrf_token", uploader.form_token(UPLOAD))
    another = text("csrf_token", signed_in(server, "manager").form_token(UPLOAD))
    bodies = {
        "none": form(package),
        "wrong": form(text("csrf_token", "6955b900.x"), package),
        "of another": form(another, package),
        "behind the file": form(package, right),
    }

    answer = send(uploader, bodies[case])

    assert answer.status == 403
    assert "This form is too old" in text_of(answer)
    assert not has(server, "demo-forged")


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [(-30, 400, "part of it was lost"), (-9, 400, "part of it was lost")],
)
def test_form_that_was_cut_off_stores_nothing(
    server: InProcessServer, uploader: Browser, end: int, status: int, words: str
) -> None:
    """Nothing is stored of a form whose end is missing."""
    token = text("csrf_token", uploader.form_token(UPLOAD))
    body = form(token, *parts_of(make_wheel("demo-cut")))

    answer = send(uploader, body[:end])

    assert (answer.status, words in text_of(answer)) == (status, True)
    assert not has(server, "demo-cut")
    assert list(server.index.server.spool.folder.glob("upload-*")) == []


def test_stranger_sees_no_upload_form(server: InProcessServer) -> None:
    """Who may upload nothing sees no form and no link to it, and stores nothing."""
    (package,) = parts_of(make_wheel("demo-never"))
    reader = signed_in(server, "reader")
    token = text("csrf_token", reader.form_token("/-/account/"))

    assert (reader.open(UPLOAD).status, Browser(server).open(UPLOAD).status) == (403, 401)
    assert send(reader, form(token, package)).status == 403
    assert send(Browser(server), form(token, package)).status == 401
    other_site = (HTML, ("Origin", "https://evil.example"))
    assert send(signed_in(server, "admin"), form(token, package), *other_site).status == 403
    assert b"/upload/" not in reader.open("/").body
    assert not has(server, "demo-never")


def test_a_read_only_server_shows_and_takes_no_form(tmp_path: Path) -> None:
    """A read-only server says that it takes nothing, instead of a form and to a form alike."""
    settings = settings_in(tmp_path, read_only=True)
    with in_process(tmp_path, settings, tables=TABLES) as reading:
        reading.publish(make_wheel("demo"))
        uploader = signed_in(reading, "uploader")
        sent = form(text("csrf_token", "x"), *parts_of(make_wheel("demo-late")))
        pages = [
            uploader.open(UPLOAD),
            send(uploader, sent),
            send(uploader, sent, JSON, ORIGIN),
            send(uploader, b""),
            uploader.open("/project/demo/1.0/promote/"),
        ]

        assert [page.status for page in pages] == [403] * 5
        assert not [page for page in pages if "takes no uploads" not in text_of(page)]
        assert not has(reading, "demo-late")


@pytest.mark.parametrize("accept", [HTML, JSON], ids=["page", "script"])
def test_nobody_known_is_sent_to_sign_in(tmp_path: Path, accept: tuple[str, str]) -> None:
    """On an index that anybody may read, a form of nobody known is answered as by other pages."""
    settings = replace(settings_in(tmp_path), access=AccessSettings())
    with in_process(tmp_path, settings) as opened:
        body = form(text("csrf_token", "x"), *parts_of(make_wheel("demo")))
        answer = send(Browser(opened), body, accept, ORIGIN)

        assert (answer.status, "www-authenticate" in answer.headers) == (401, True)
        assert "Missing or invalid credential." in text_of(answer)
        assert not has(opened, "demo")


def test_form_without_a_file_comes_again(uploader: Browser) -> None:
    """A form without a file comes again with the reason."""
    token = text("csrf_token", uploader.form_token(UPLOAD))

    answer = send(uploader, form(token, file(filename="", data=b"")))

    assert (answer.status, "has no filename" in text_of(answer)) == (400, True)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_form_means_the_same_in_any_pieces(server: InProcessServer, size: int) -> None:
    """A form means the same, in whatever pieces it comes."""
    body = form(text("csrf_token", "right"), text("other"), *parts_of(make_wheel("demo-p")))
    checked = list[str]()
    reader = FormReader(BOUNDARY, server.index.uploads, ALICE, checked.append)

    for chunk in chunks_of(body, size):
        reader.feed(chunk)
    received = reader.finish(b"")
    reader.close()

    assert checked == ["right"]
    assert received is not None
    assert received.distribution.project == "demo-p"
    assert list(server.index.server.spool.folder.glob("upload-*")) == []


def test_uploaded_release_can_be_promoted(server: InProcessServer, uploader: Browser) -> None:
    """Who may promote what they have uploaded gets the link to the page for that, and only they."""
    upload(uploader, make_wheel("demo-first"))
    server.index.server.index_administration.add({"name": "prod"}, "local:bo")
    fields = GrantFields(
        who=("htpasswd:uploader",), projects=("demo-up",), actions=("upload",), index="prod"
    )
    server.index.server.access.grant(fields, "local:bo")

    pages = [
        upload(browser, make_sdist("demo-up", version)).body
        for browser, version in ((uploader, "1!2.0+local"), (signed_in(server, "manager"), "3.0"))
    ]

    links = [b'href="../../project/demo-up/1!2.0%2Blocal/promote/"', b"/promote/"]
    assert [link in page for link, page in zip(links, pages, strict=True)] == [True, False]


def test_page_names_the_least_limit(tmp_path: Path) -> None:
    """The page names the size of a file that fits into the limit of the server and the quotas."""
    for number, (main, words) in enumerate(
        (({}, "at most 1024 MiB"), ({"project_size": 80}, "at most 80 MiB"))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        tables = TABLES + toml_of(main=main)
        with in_process(folder, settings_in(folder), tables=tables) as opened:
            assert words in text_of(signed_in(opened, "uploader").open(UPLOAD))


def test_no_page_of_uploads_where_there_are_none(
    server: InProcessServer, uploader: Browser
) -> None:
    """An index that takes no uploads answers with the reason, and not with the form."""
    table = {"name": "view", "layers": ["main"]}
    server.index.server.index_administration.add(table, "local:bo")
    fields = GrantFields(
        who=("htpasswd:uploader",), projects=("demo*",), actions=("upload",), index="view"
    )
    server.index.server.access.grant(fields, "local:bo")

    refused = uploader.open("/view/-/upload/")

    assert (refused.status, b"has no packages of its own" in refused.body) == (403, True)
