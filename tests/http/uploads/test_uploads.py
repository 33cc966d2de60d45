"""The response to each upload; a refused upload leaves nothing behind."""

import hashlib
import itertools
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.http.forms import file, form, text
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.packages import KIND, content, post_form
from tests.http.raw_client import basic
from tests.http.remote_store import RemoteStore
from tests.http.servers import KEPT, token_of
from tests.operations.in_memory_index import ALICE
from wheelyard.http.upload_handler import BATCH_BYTES
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.project import Status
from wheelyard.operations.upload_attestations import NOT_ACCEPTED
from wheelyard.settings.sections import ServerSettings, Settings, UploadSettings
from wheelyard.storage.local import LocalStore

FORM = ("Content-Type", KIND)
V1_JSON = "application/vnd.pypi.simple.v1+json"
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    410: "Gone",
    413: "Content Too Large",
    415: "Unsupported Media Type",
}
SKIPPED = ("already exist", "updating asset", "cannot be updated", "already been taken")
"""The texts that Poetry and PDM recognise in a 400 as "file exists"."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An application that takes files of at most 1 MiB, with projects in some states."""
    folder = tmp_path_factory.mktemp("uploads")
    settings = Settings(
        server=ServerSettings(roots=("acme",)), uploads=UploadSettings(max_file_size=1)
    )
    (folder / "spool").mkdir()
    store = LocalStore(folder / "store", Random(1))
    with in_process(folder / "spool", settings, store=store) as app:
        app.publish(*map(make_wheel, ("taken", "shelved", "mine", "mine-old")))
        for name in ("shelved", "mine-old"):
            app.index.lifecycle.set_status(ALICE, parse_name(name), Status.ARCHIVED, "")
        yield app


def kept(app: InProcessServer) -> dict[str, int]:
    """Every object of uploads, and every scratch file, with its size."""
    folder = app.folder.parent
    places = (app.folder, *(folder / "store" / name for name in KEPT))
    paths = [path for place in places for path in (place, *place.rglob("*"))]
    return {str(path): path.stat().st_size for path in paths if path.is_file()}


def assert_refused(answer: InProcessResponse, status: int, error: str, code: str = "") -> None:
    """The answer is a refusal in exactly the shape that clients read."""
    assert answer.status == status, answer.text
    assert answer.header("content-type") == "application/json"
    body = answer.json()
    assert body.keys() - {"fact", "advice"} == {"message", "code", "title", "error"}
    assert body["error"] == error
    assert body["title"] == TITLES[status]
    assert body["code"].startswith(f"{status} ")
    assert not code or body["code"] == f"{status} {code}"
    assert body["message"].isascii()
    assert len(body["message"]) <= 1024
    assert answer.header("cache-control") == "no-store"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    if status == 400:
        assert not any(words in answer.text.lower() for words in SKIPPED)


def test_upload_warns_of_what_could_be_better(app: InProcessServer) -> None:
    """The answer to an upload says what could be better about a file that is taken."""
    package = make_wheel("better")
    odd = Distribution("better-1.0-py2-none-any.whl", package.body, package.metadata)
    texts = post_form(app, odd).json()["warnings"]
    assert texts == ["The tags in WHEEL differ from those in the filename."]
    assert "warnings" not in post_form(app, package).json()


def test_attestations_are_not_kept_and_that_is_said(
    app: InProcessServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Attestations are not kept, and the answer and the log say so, each time that they come."""
    sent = {"attestations": '[{"version": 1}]'}
    for package in (make_wheel("attested"), make_sdist("attested"), make_wheel("attested")):
        answer = post_form(app, package, **sent)
        assert (answer.status, answer.json()["code"]) == (200, "200 OK")
        assert answer.json()["warnings"] == [NOT_ACCEPTED]
        assert f" sent with {package.filename} were not kept" in caplog.text
    assert "warnings" not in post_form(app, make_wheel("attested"), attestations="[]").json()

    body = form(text("attestations", sent["attestations"]), content(package))
    answer = app.send("/acme/", body, ("User-Agent", "curl/8"), app.bearer(), kind=KIND)
    assert answer.text.splitlines()[1:] == [f"{package.filename} ... ok", NOT_ACCEPTED]
    refused = post_form(app, make_wheel("attested", "1.0", "Summary: Other bytes"), **sent)
    assert_refused(refused, 409, "file_exists")
    assert caplog.text.count("were not kept") == 4


@pytest.mark.parametrize(
    "package", [make_wheel("fresh"), make_sdist("fresh")], ids=["wheel", "sdist"]
)
def test_new_file_is_listed_at_once(app: InProcessServer, package: Distribution) -> None:
    """A good file is taken, named with its digest, and listed by the time of the answer."""
    answer = post_form(app, package, sha256_digest=package.sha256)

    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.json() == {
        "message": "OK",
        "code": "200 OK",
        "title": "OK",
        "filename": package.filename,
        "sha256": package.sha256,
        "status": "uploaded",
        "project": "fresh",
    }
    assert post_form(app, package).json()["status"] == "there"
    files = app.get("/simple/fresh/", ("Accept", V1_JSON)).json()["files"]
    assert package.filename in [file["filename"] for file in files]


def test_a_server_on_a_bucket_takes_files(tmp_path: Path) -> None:
    """A server whose store is a bucket takes an upload, and lists its file."""
    package = make_wheel("fresh")
    with in_process(tmp_path, store=RemoteStore(), near=False) as server:
        assert post_form(server, package).json()["status"] == "uploaded"
        files = server.get("/simple/fresh/", ("Accept", V1_JSON)).json()["files"]
    assert [file["filename"] for file in files] == [package.filename]


GOOD = make_wheel("good")
EXISTS = "File already exists ('taken-1.0-py3-none-any.whl', with different content)."
NO_ARCHIVE = Distribution(GOOD.filename, b"none")
RETIRED = "Registration is not needed, upload the files."
BIG = "File too large, the limit is 1 MiB."


@pytest.mark.parametrize(
    ("package", "fields", "status", "error", "code"),
    [
        (make_wheel("taken", "1.0", "Summary: Other bytes"), {}, 409, "file_exists", EXISTS),
        (NO_ARCHIVE, {}, 400, "invalid_archive", ""),
        (make_wheel("shelved", "2.0"), {}, 403, "forbidden", "Project 'shelved' is archived."),
        (make_wheel("big", content=bytes(1 << 20)), {}, 413, "too_large", BIG),
        (GOOD, {"name": "other"}, 400, "name_mismatch", ""),
        (GOOD, {":action": "submit"}, 410, "invalid_action", RETIRED),
    ],
    ids=["other bytes", "no archive", "archived", "too large", "claim", "registration"],
)
def test_refused_upload_leaves_nothing(
    app: InProcessServer,
    package: Distribution,
    fields: dict[str, str],
    status: int,
    error: str,
    code: str,
) -> None:
    """A wrong upload gets its status and its sentence, and nothing of it stays."""
    before = kept(app)

    answer = post_form(app, package, **fields)

    assert_refused(answer, status, error, code)
    assert kept(app) == before
    assert app.get("/simple/good/").status == 404


NO_FORM = "An upload is a form with a file in it."


@pytest.mark.parametrize(
    ("headers", "body", "status", "error", "code"),
    [
        ((), b"x", 415, "unsupported_media_type", NO_FORM),
        ((("Content-Type", "multipart/form-data"),), form(content(GOOD)), 400, "bad_multipart", ""),
        ((FORM,), form(content(GOOD))[:-14], 400, "incomplete_body", ""),
        # a compressed body is never inflated
        ((FORM, ("Content-Encoding", "gzip")), b"x", 415, "unsupported_media_type", ""),
        ((FORM, ("Content-Encoding", "identity, gzip")), b"x", 415, "unsupported_media_type", ""),
    ],
    ids=["no type", "no boundary", "cut off", "compressed", "compressed at last"],
)
def test_body_without_a_form_is_refused(
    app: InProcessServer,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    status: int,
    error: str,
    code: str,
) -> None:
    """An upload that is not a whole form with a file, or is compressed, is refused."""
    before, length = kept(app), ("Content-Length", str(len(body)))
    answer = app.get("/legacy/", *headers, length, app.bearer(), method="POST", body=[body])

    assert_refused(answer, status, error, code)
    assert kept(app) == before


def test_a_large_upload_comes_in_pieces(app: InProcessServer) -> None:
    """A file of several batches, whose pieces end anywhere, is stored as it was sent."""
    package = make_wheel("large", content=bytes(3 * BATCH_BYTES))
    body, size = form(content(package)), BATCH_BYTES // 2 + 1
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    length = ("Content-Length", str(len(body)))

    answer = app.get("/legacy/", FORM, length, app.bearer(), method="POST", body=pieces)

    assert answer.status == 200, answer.text
    assert answer.json()["sha256"] == package.sha256


PLACES = ("/legacy/", "/legacy", "/", "/simple", "/acme/", "//legacy//", "/?x=1")


@pytest.mark.parametrize("path", PLACES)
def test_every_upload_address_takes_files(app: InProcessServer, path: str) -> None:
    """Every upload address takes files in place, with no redirect."""
    package = make_wheel("placed", str(PLACES.index(path)))
    answer = app.send(path, form(content(package)), app.bearer(), kind=KIND)
    assert answer.status == 200
    assert answer.json()["filename"] == package.filename


@pytest.mark.parametrize("password", ["", "NOPASS"])
def test_curl_pushes_as_to_gemfury(app: InProcessServer, password: str) -> None:
    """`curl -F package=@FILE https://TOKEN@host/USER/` publishes, as it does at Gemfury."""
    package = make_sdist("pushed", "1." + str(len(password)))
    login = b64encode(f"{token_of(app.index, can='upload')}:{password}".encode()).decode()
    headers = (("Authorization", f"Basic {login}"), ("User-Agent", "curl/8.14.1"))
    part = file("package", f"dist/{package.filename}", package.body)
    answer = app.send("/acme/", form(part), *headers, kind=KIND)
    assert answer.status == 200
    assert answer.header("content-type").startswith("text/plain")
    assert package.filename in answer.text
    digest = app.get(f"/raw/{package.filename}").body
    assert hashlib.sha256(digest).hexdigest() == package.sha256


def test_archive_is_the_truth(app: InProcessServer) -> None:
    """What a form says besides name, version, file type and digests is not compared."""
    lines = ("Requires-Python: >=3.9", "Summary: Of the archive", "Requires-Dist: acme-core")
    others = {
        "requires_python": "<2",
        "summary": "Of the form",
        "requires_dist": "evil",
        "author": "x",
    }
    package = make_wheel("truth", "1.0", *lines)
    assert post_form(app, package, metadata_version="0.1", pyversion="cp27", **others).status == 200

    (file,) = app.get("/simple/truth/", ("Accept", V1_JSON)).json()["files"]
    assert file["requires-python"] == ">=3.9"
    info = app.get("/pypi/truth/json").json()["info"]
    assert (info["summary"], info["requires_dist"]) == ("Of the archive", ["acme-core"])
    assert info["requires_python"] == ">=3.9"


FAULTS = {"method": 405, "credential": 401, "length": 413, "right": 403, "type": 415}
"""Errors that are found before the body is read, in the order of the contract."""


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(FAULTS)))
def test_first_fault_of_a_head_is_answered(app: InProcessServer, first: str, second: str) -> None:
    """Of two things that are wrong with a head, the one that comes first is answered."""
    wrong = {first, second}
    token = token_of(app.index, can="read" if "right" in wrong else "upload")
    length = (34 << 20) if "length" in wrong else 5
    kind = "application/json" if "type" in wrong else KIND
    authorization = basic("u", "wyd_wrong" if "credential" in wrong else token)
    method = "PUT" if "method" in wrong else "POST"
    head = (authorization, f"Content-Length: {length}", f"Content-Type: {kind}")
    reply = app.raw(f"{method} /legacy/", *head, pieces=[b"-----"])
    assert reply.status == FAULTS[first]


@pytest.mark.parametrize(
    ("package", "fields", "status", "error"),
    [
        (Distribution("taken-2.0-py3-none-any.whl", bytes(2 << 20)), {}, 403, "forbidden"),
        (Distribution("theirs.whl", b"nothing"), {}, 400, "invalid_filename"),
        (Distribution("mine_old-2.0-py3-none-any.whl", b""), {}, 403, "forbidden"),
        (
            Distribution("mine-2.0.tar.gz", b"x"),
            {"md5_digest": "0" * 32},
            400,
            "digest_mismatch",
        ),
        (Distribution("mine-1.0-py3-none-any.whl", b"x"), {}, 409, "file_exists"),
    ],
    ids=["right before file", "name before right", "closed", "digest", "known name"],
)
def test_first_fault_of_a_form_is_answered(
    app: InProcessServer, package: Distribution, fields: dict[str, str], status: int, error: str
) -> None:
    """Name, right, project and digest are looked at before the archive, in this order."""
    before = kept(app)

    answer = post_form(app, package, app.bearer("mine", "mine-*"), **fields)

    assert (answer.status, answer.json()["error"]) == (status, error)
    assert kept(app) == before


@pytest.mark.parametrize("name", ["taken", "nobody"])
def test_foreign_project_is_refused_alike(app: InProcessServer, name: str) -> None:
    """Whether the project exists cannot be told from a refusal."""
    answer = post_form(app, make_wheel(name, "9.0"), app.bearer("mine"))

    assert answer.status == 403
    fact = (
        f"This token may not upload to '{name}'. Ask the operator of this index for the right, or "
        "use a token that has it."
    )
    command = f"'wheelyard token create NAME --can upload --project {name}'"
    assert answer.json() == {
        "message": f"{fact} {command} makes one.",
        "fact": fact,
        "advice": {"remedy": "create_token", "subject": name, "index": "main", "right": "upload"},
        "code": f"403 This token may not upload to '{name}'.",
        "title": "Forbidden",
        "error": "forbidden",
    }


def test_an_upload_to_a_root_that_nobody_has_set_up_says_what_to_do(
    app: InProcessServer,
) -> None:
    """A client that was used with Gemfury hears which setting its URL asks for."""
    answer = app.get("/emca/", method="POST")

    assert_refused(answer, 404, "not_found")
    assert "There is no index 'emca', and [server] roots does not name it" in answer.text
    assert app.get("/taken/").status == 200
