"""The application itself, asked without a server."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from errno import EMFILE
from pathlib import Path
from random import Random
from typing import NamedTuple, NoReturn

import pytest

from tests.authentication.publishing_fixture import signed
from tests.distributions import Distribution, make_wheel
from tests.fake_store import ALWAYS, Before, FakeStore, Pause
from tests.fake_time import Clock
from tests.http.forms import form
from tests.http.in_process import InProcessResponse, InProcessServer, Piece, in_process
from tests.http.packages import KIND, content
from tests.http.remote_store import RemoteStore
from tests.http.servers import memory_index, token_of
from tests.index_tables import toml_of
from tests.model.jobs import AUDIENCE, GITHUB, GITHUB_SAYS
from tests.operations.in_memory_index import OPEN_MAIN
from tests.operations.old_sdists import old_sdist
from wheelyard.catalog import keys
from wheelyard.errors import Invalid, Unavailable
from wheelyard.http import file_delivery
from wheelyard.http.app import App
from wheelyard.http.instrumentation import require_telemetry
from wheelyard.http.logs import ACCESS_LOGGER, JsonFormatter
from wheelyard.http.work_limits import ConcurrencyLimit
from wheelyard.model.distribution_filename import parse_name
from wheelyard.settings.sections import (
    AccessSettings,
    PublishingSettings,
    ServerSettings,
    Settings,
    TelemetrySettings,
    UploadSettings,
)
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore

DEMO = make_wheel("demo")
PAGE = "/simple/demo/"
Header = tuple[str, str]
SHORT, LONG = old_sdist("foo", "1-2"), old_sdist("foo-1", "2")
"""Version 1-2 of foo and version 2 of foo-1, under one filename."""
NO_FILE = "There is no file of this name here."
NO_CREDENTIAL = "Missing or invalid credential."
WITHOUT_PROJECT = f"/packages/{SHORT.filename}"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcessServer]:
    """An application with one project, which anybody may read."""
    with in_process(tmp_path) as app:
        app.publish(DEMO)
        yield app


def test_server_is_told_of_start_and_end(app: InProcessServer) -> None:
    """A server is told when the application has started, and when it has stopped."""
    assert app.tell("lifespan", "lifespan.startup", "lifespan.shutdown") == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [(PAGE, 200), ("/pypi/demo/json", 200), ("/search.json", 503)],
    ids=["installer", "mirror", "list for searches"],
)
def test_long_answers_hold_up_no_installer(
    app: InProcessServer, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    """While too many long answers are under way, another one is refused, and pages are not."""

    def refuse(limit: ConcurrencyLimit, client: str) -> NoReturn:
        del limit, client
        raise Unavailable("Too many long answers are under way.", code="overloaded")

    monkeypatch.setattr(ConcurrencyLimit, "acquire", refuse)

    assert app.get(path).status == status


def test_websocket_is_closed_at_once(app: InProcessServer) -> None:
    """A connection for WebSocket is closed before it is open."""
    assert app.tell("websocket", "websocket.connect") == ["websocket.close"]


def test_name_in_the_path_decides_first(tmp_path: Path) -> None:
    """The right to the project that a path names is decided first, whichever file is asked for."""
    private = AccessSettings(private=True, private_names=("secret",))
    with in_process(tmp_path, Settings(access=private)) as app:
        app.publish(DEMO, make_wheel("secret"))
        bearer = app.bearer("demo", can="read")

        assert app.get(f"/files/demo/{DEMO.filename}", bearer).status == 200
        assert app.get(f"/files/secret/{DEMO.filename}", bearer).status == 403
        assert app.get(f"/files/other/{DEMO.filename}", bearer).status == 404
        for name in ("demo", "secret", "other"):
            assert app.get(f"/files/{name}/{DEMO.filename}").status == 401


def test_a_link_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    """Where a file of the store is a link, the answer says what to do, and has nothing of it."""
    with in_process(tmp_path, store=LocalStore(tmp_path / "store", Random(1))) as app:
        app.publish(DEMO)
        (kept,) = tmp_path.glob("store/files/demo/*/*.whl")
        kept.rename(tmp_path / "moved")
        kept.symlink_to(tmp_path / "moved")
        answer = app.get(f"/packages/{DEMO.filename}")

    error = json.loads(answer.body)
    assert (answer.status, error["error"]) == (503, "storage_unavailable")
    assert f"{DEMO.filename} is a link, or behind one" in error["message"]
    assert "Put the file or the folder itself there." in error["message"]


def test_a_file_that_cannot_be_opened_now_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file for which the server can open no descriptor may be asked for again, as it is there."""

    def fail(*_: object) -> int:
        raise OSError(EMFILE, os.strerror(EMFILE))

    path = f"/packages/{DEMO.filename}"
    with in_process(tmp_path, store=LocalStore(tmp_path / "store", Random(1))) as app:
        app.publish(DEMO)
        with monkeypatch.context() as patch:
            patch.setattr(file_delivery, "open_no_follow", fail)
            answer = app.get(path)
        again = app.get(path)

    assert (answer.status, b"too many files open" in answer.body) == (503, True)
    assert "retry-after" in answer.headers
    assert (again.status, again.body) == (200, DEMO.body)


def test_rest_of_a_refused_body_is_read(app: InProcessServer) -> None:
    """What a client still sends after a refusal is read, so that it gets to see the refusal."""
    answer = app.get(PAGE, ("content-length", "9"), method="POST", body=[b"x"] * 9)

    assert (answer.status, answer.unread) == (405, 0)


@pytest.mark.parametrize("name", ["authorization", "content-type"])
def test_a_header_that_may_be_sent_once_is_refused_twice(app: InProcessServer, name: str) -> None:
    """A request with two values of a header that has one is refused, though both are the same."""
    answer = app.get(PAGE, (name, "a/b"), (name, "a/b"))

    assert (answer.status, b"only once" in answer.body) == (400, True)


def test_unknown_names_cost_one_read(tmp_path: Path) -> None:
    """On a bucket, unknown names cost one read of the project list."""
    store = RemoteStore()
    with in_process(tmp_path, store=store, near=False) as app:
        app.publish(DEMO)
    with in_process(tmp_path, store=store, near=False) as app:
        store.calls.clear()
        for number in range(9):
            assert app.get(f"/simple/nothing-{number}/").status == 404
        assert (store.asked("get", keys.PROJECT_NAMES), store.asked("get", keys.PROJECTS)) == (1, 0)

        assert app.get(PAGE).status == 200
        assert app.get(PAGE).status == 200
        assert store.asked("get", keys.PROJECT_NAMES) == 1
        assert store.asked("get", keys.project(parse_name("demo"))) == 1


def test_a_server_lives_while_its_store_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While each thread that reads waits for the store, a server says at once that it lives."""
    monkeypatch.setattr("wheelyard.http.context_building.LOCAL_READ_THREADS", 1)
    hang = Pause()
    store = FakeStore(MemoryStore(Clock().seconds))

    async def ask(app: InProcessServer) -> list[bool]:
        page = asyncio.create_task(app.ask(PAGE))
        await asyncio.sleep(0)
        hang.wait_for_call()
        probes = [asyncio.create_task(app.ask(path)) for path in ("/health", "/robots.txt")]
        await asyncio.sleep(0)
        answered = [task.done() for task in (page, *probes)]
        hang.go_on.set()
        await asyncio.gather(page, *probes)
        return answered

    with in_process(tmp_path, store=store) as app:
        app.publish(DEMO)
        store.follow(Before(hang, times=ALWAYS, verb="get", key="projects/*"))

        assert app.runner.run(ask(app)) == [False, True, True]


@pytest.mark.parametrize(
    ("accept_encoding", "is_packed"),
    [("br, gzip", True), ("br, " + "x, " * 1400, False), ("gzip, " + "x, " * 1400, False)],
    ids=["gzip", "long", "long-with-gzip"],
)
def test_nothing_is_compressed_for_an_endless_header(
    app: InProcessServer, accept_encoding: str, *, is_packed: bool
) -> None:
    """A page is compressed for who accepts that, and not by a header that is too long to read."""
    html = ("accept", "text/html")
    page = app.get("/setup/", html, ("accept-encoding", accept_encoding))

    assert (page.status, "content-encoding" in page.headers) == (200, is_packed)


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("/pypi/-demo/json", 404, "'-demo' is not a project name."),
        ("/pypi/demo/x/json", 404, "'x' is not a version by PEP 440."),
        (f"/files/Demo/{DEMO.sha256}/{DEMO.filename}", 404, NO_FILE),
        (WITHOUT_PROJECT, 404, NO_FILE),
        ("/-/assets/style-0123456789abcdef.css", 404, "Load it again."),
        ("/project/demo/1.0/promote/", 401, NO_CREDENTIAL),
    ],
    ids=[
        *("malformed name", "malformed version"),
        *("unusual link with a digest", "file of two projects", "old asset", "promotion"),
    ],
)
def test_a_request_without_an_answer_is_told_why(
    app: InProcessServer, target: str, status: int, words: str
) -> None:
    """Whoever asks for what there is not is told why, and what to do."""
    app.publish(SHORT, LONG)

    answer = app.get(target)

    assert (answer.status, words in answer.body.decode()) == (status, True), answer.body


def test_another_address_leads_to_the_usual_one(app: InProcessServer) -> None:
    """Whoever uses another spelling in the address of a project's downloads is sent on."""
    answer = app.get("/project/Demo/downloads/?days=90")

    assert (answer.status, answer.headers["location"]) == (301, "/project/demo/downloads/?days=90")


def test_a_url_without_a_project_opens_what_one_may_read(tmp_path: Path) -> None:
    """A filename of two projects opens the file that one may read, and else says what is wrong."""
    with in_process(tmp_path, Settings(access=AccessSettings(private=True))) as app:
        app.publish(SHORT, LONG)
        assert app.get(WITHOUT_PROJECT).status == 401
        for projects, status, content in (
            (("foo",), 200, SHORT.body),
            (("foo-1",), 200, LONG.body),
            (("foo", "foo-1"), 404, NO_FILE.encode()),
            (("other",), 404, b"There is no project 'foo' here"),
        ):
            bearer = app.bearer(*projects, can="read")
            answer = app.get(WITHOUT_PROJECT, bearer)
            assert (answer.status, content in answer.body) == (status, True), projects


@pytest.mark.parametrize("readable", ["foo", "foo-1"])
def test_a_credential_is_asked_for_if_one_may_help(tmp_path: Path, readable: str) -> None:
    """A filename of a missing project and of a closed one is answered with what to sign in with."""
    grant = {"who": ["anonymous"], "projects": [readable], "actions": ["read"]}
    tables = toml_of(main={**OPEN_MAIN, "read": "granted"}, grant=[grant])
    with in_process(tmp_path, tables=tables) as app:
        statuses = [app.get(path).status for path in (f"/simple/{readable}/", WITHOUT_PROJECT)]

    assert statuses == [404, 401]


@pytest.mark.parametrize(
    ("method", "step"),
    [
        ("GET", "audience"),
        *(("POST", step) for step in ("mint-token", "burn-token", "github/mint-token")),
    ],
)
def test_no_job_gets_a_token_without_trusted_publishing(
    app: InProcessServer, method: str, step: str
) -> None:
    """Where trusted publishing is not set up, each step says so, in the form that clients read."""
    answer = app.get(f"/_/oidc/{step}", method=method)
    problem = answer.json()
    (error,) = problem["errors"]

    assert (answer.status, problem["status"], error["code"]) == (404, 404, "not-enabled")
    assert (answer.header("content-type"), answer.header("cache-control")) == (
        "application/json",
        "no-store",
    )
    assert "Trusted publishing is not enabled here." in error["description"]
    assert (problem["type"], problem["detail"]) == ("about:blank", error["description"])
    assert problem["message"] == problem["title"] == "Token request failed"


def test_an_id_token_of_an_unknown_issuer_is_refused_in_words(tmp_path: Path) -> None:
    """A well-formed ID token of an issuer that no publisher names gets no token, and no 500."""
    sent = json.dumps({"token": signed({**GITHUB_SAYS, "iss": "https://evil.example"})}).encode()
    settings = Settings(trusted_publishing=PublishingSettings(audience=(AUDIENCE,)))
    with in_process(tmp_path, settings, tables=toml_of(publisher=[GITHUB])) as app:
        answer = app.send("/_/oidc/mint-token", sent)

    (error,) = answer.json()["errors"]
    assert (answer.status, error["code"]) == (422, "invalid-payload")
    assert "'https://evil.example'" in error["description"]


@pytest.mark.parametrize(
    "missing", ["opentelemetry.exporter.otlp.proto.http", "opentelemetry.instrumentation.asgi"]
)
def test_telemetry_needs_its_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """A server that is to send telemetry says which extra it lacks, and any other begins."""
    settings = Settings(telemetry=TelemetrySettings(otlp_endpoint="http://collector:4318"))
    find = "wheelyard.http.instrumentation.find_spec"

    monkeypatch.setattr(find, lambda name: name)
    require_telemetry(settings)

    monkeypatch.setattr(find, lambda name: name if name != missing else None)
    with pytest.raises(Invalid, match=r"telemetry\.otlp_endpoint .*wheelyard\[otel\]"):
        App(memory_index(tmp_path, settings))
    require_telemetry(Settings())  # it sends none


@pytest.mark.parametrize(
    ("path", "host", "field", "status", "words"),
    [
        (PAGE, "index", ("content-length", "9x"), 400, "Send it in at most 19 digits."),
        (PAGE, "in dex", ("x", "y"), 400, "The Host header is not valid."),
        (PAGE, "index", ("transfer-encoding", "gzip"), 400, "Send the body as it is, or chunked."),
        ("/simple/%ff/", "index", ("x", "y"), 400, "The path is not UTF-8."),
        (PAGE, "index", ("authorization", f"Bearer {'x' * 17_000}"), 431, "as no credential is."),
    ],
    ids=["length", "host", "coding", "path", "credential"],
)
def test_a_malformed_request_is_told_what_to_send(
    app: InProcessServer, path: str, host: str, field: tuple[str, str], status: int, words: str
) -> None:
    """A request with a malformed part is refused, and told which part that is."""
    answer = app.get(path, field, host=host)

    assert (answer.status, words in answer.body.decode()) == (status, True)


class Upload(NamedTuple):
    """The headers and the body of an upload, and what is answered."""

    status: int
    words: str
    fields: dict[str, str]
    body: bytes = b"x"
    path: str = "/legacy/"


FORM = {"content-type": KIND}
OTHER = make_wheel("other")
ZIP = Distribution("other-1.0.zip", b"no archive")
REFUSED_UPLOADS = {
    "nothing": Upload(400, "The request has no body. Send a form", {**FORM, "content-length": "0"}),
    "broken zip": Upload(400, "not a ZIP", FORM, form(content(ZIP, "package"))),
}


@pytest.fixture
def uploading_app(tmp_path: Path) -> Iterator[InProcessServer]:
    """An application that takes files of at most 1 MiB, also as Gemfury does, with room for one."""
    settings = Settings(
        server=ServerSettings(roots=("acme",)),
        uploads=UploadSettings(max_file_size=1, zip_sdists=True),
    )
    with in_process(tmp_path, settings, tables="[main]\nindex_files = 2\n") as app:
        app.publish(DEMO)
        yield app


def send(app: InProcessServer, upload: Upload, *pieces: Piece) -> InProcessResponse:
    """Send an upload with a good token, its body in these pieces if there are some."""
    token = token_of(app.index, can="upload")
    fields = {
        "authorization": f"Bearer {token}",
        "content-length": str(len(upload.body)),
        **upload.fields,
    }
    return app.get(upload.path, *fields.items(), method="POST", body=pieces or [upload.body])


@pytest.mark.parametrize("upload", REFUSED_UPLOADS.values(), ids=REFUSED_UPLOADS)
def test_a_wrong_upload_is_told_what_to_send(
    uploading_app: InProcessServer, upload: Upload
) -> None:
    """An upload that cannot be one is refused with what to send instead, and nothing is listed."""
    answer = send(uploading_app, upload)

    assert (answer.status, upload.words in answer.body.decode()) == (upload.status, True)
    assert uploading_app.get("/simple/other/").status == 404


def test_curl_reads_the_answer_of_gemfury(uploading_app: InProcessServer) -> None:
    """An upload by curl to a root is answered in lines, as at Gemfury, and any other in JSON."""
    body, curl = form(content(OTHER)), {**FORM, "user-agent": "curl/8"}
    rows = (("/acme/", curl), ("/acme/", FORM), ("/legacy/", curl))
    answers = [send(uploading_app, Upload(200, "", fields, body, path)) for path, fields in rows]

    assert answers[0].body.decode().splitlines()[1:] == [f"{OTHER.filename} ... ok"]
    for answer in answers[1:]:
        assert answer.headers["content-type"] == "application/json"


def test_an_upload_whose_client_leaves_is_logged_and_not_listed(
    uploading_app: InProcessServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An upload whose client leaves before the end has no answer in the log, and is not listed."""
    whole = Upload(499, "", FORM, form(content(OTHER)))
    with caplog.at_level(logging.INFO, ACCESS_LOGGER):
        send(uploading_app, whole, whole.body, "leaves")

    (line,) = map(JsonFormatter().format, caplog.records)
    entry = json.loads(line)
    assert (entry["route"], entry["httpRequest"]["status"]) == ("upload", whole.status)
    assert uploading_app.get("/simple/other/").status == 404


@pytest.mark.parametrize(
    ("fields", "pieces", "status"),
    [({}, (), 200), ({"expect": "100-continue"}, (), 413), ({}, ("is silent", "leaves"), 413)],
    ids=["sends", "asks first", "is silent"],
)
def test_a_full_index_refuses_who_does_not_send(
    uploading_app: InProcessServer,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str],
    pieces: tuple[Piece, ...],
    status: int,
) -> None:
    """A full index takes a file that it has, and refuses who asks first or sends nothing."""
    monkeypatch.setattr("wheelyard.http.upload_handler.FIRST_CHUNK_SECONDS", 0)
    uploading_app.publish(OTHER)
    known = Upload(status, "", {**FORM, **fields}, form(content(OTHER)))
    answer = send(uploading_app, known, *pieces)

    assert answer.status == status
    assert (b"of its quota of 2 files" in answer.body) == (status == 413)


@pytest.mark.integration  # the documentation is rendered in a process
def test_a_cookie_means_nothing_where_nobody_signs_in(app: InProcessServer) -> None:
    """Where nobody can sign in, the documentation is shown to a browser with any cookie."""
    page = app.get("/-/docs/tokens/", ("accept", "text/html"), ("cookie", "wheelyard-session=x"))

    assert page.status == 200
