"""The response to each upload; a refused upload leaves nothing behind."""

import hashlib
import itertools
from base64 import b64encode
from collections.abc import Iterator

import pytest

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.http.packages import form, post, publish
from tests.http.raw_client import basic, raw_connection
from tests.http.servers import Answer, RunningServer, running_server
from wheelyard.operations.upload_attestations import NOT_ACCEPTED

pytestmark = pytest.mark.integration

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
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that takes files of at most 1 MiB, with projects in some states."""
    config = '[server]\nroots = ["acme"]\n[uploads]\nmax_file_size = 1\n'
    with running_server(tmp_path_factory.mktemp("uploads"), config=config) as server:
        publish(server, *map(make_wheel, ("taken", "shelved", "mine", "mine-old")))
        for name in ("shelved", "mine-old"):
            server.change(name, "status", status="archived")
        yield server


def assert_refused(answer: Answer, status: int, error: str, code: str = "") -> None:
    """The answer is a refusal in exactly the shape that clients read."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body.keys() - {"fact", "advice"} == {"message", "code", "title", "error"}
    assert body["error"] == error
    assert body["title"] == TITLES[status]
    assert body["code"].startswith(f"{status} ")
    assert not code or body["code"] == f"{status} {code}"
    assert body["message"].isascii()
    assert len(body["message"]) <= 1024
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    if status == 400:
        assert not any(words in answer.text.lower() for words in SKIPPED)


def test_upload_warns_of_what_could_be_better(server: RunningServer) -> None:
    """The answer to an upload says what could be better about a file that is taken."""
    package = make_wheel("better")
    odd = Distribution("better-1.0-py2-none-any.whl", package.body, package.metadata)
    texts = post(server, odd).json()["warnings"]
    assert texts == ["The tags in WHEEL differ from those in the filename."]
    assert "warnings" not in post(server, package).json()


def test_attestations_are_not_kept_and_that_is_said(server: RunningServer) -> None:
    """Attestations are not kept, and the answer and the log say so, each time that they come."""
    sent = {"attestations": '[{"version": 1}]'}
    for package in (make_wheel("attested"), make_sdist("attested"), make_wheel("attested")):
        answer = post(server, package, **sent)
        assert (answer.status_code, answer.json()["code"]) == (200, "200 OK")
        assert answer.json()["warnings"] == [NOT_ACCEPTED]
        assert f" sent with {package.filename} were not kept" in server.log
    assert "warnings" not in post(server, make_wheel("attested"), attestations="[]").json()

    answer = server.client.post(
        "/acme/",
        files={"content": (package.filename, package.body)},
        data=sent,
        headers={"User-Agent": "curl/8"},
        auth=(server.token, ""),
    )
    assert answer.text.splitlines()[1:] == [f"{package.filename} ... ok", NOT_ACCEPTED]
    refused = post(server, make_wheel("attested", "1.0", "Summary: Other bytes"), **sent)
    assert_refused(refused, 409, "file_exists")
    assert server.log.count("were not kept") == 4


@pytest.mark.parametrize(
    "package", [make_wheel("fresh"), make_sdist("fresh")], ids=["wheel", "sdist"]
)
def test_new_file_is_listed_at_once(server: RunningServer, package: Distribution) -> None:
    """A good file is taken, named with its digest, and listed by the time of the answer."""
    answer = post(server, package, sha256_digest=package.sha256)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "message": "OK",
        "code": "200 OK",
        "title": "OK",
        "filename": package.filename,
        "sha256": package.sha256,
        "status": "uploaded",
        "project": "fresh",
    }
    assert post(server, package).json()["status"] == "there"
    files = server.get("/simple/fresh/", Accept=V1_JSON).json()["files"]
    assert package.filename in [file["filename"] for file in files]


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
    server: RunningServer,
    package: Distribution,
    fields: dict[str, str],
    status: int,
    error: str,
    code: str,
) -> None:
    """A wrong upload gets its status and its sentence, and nothing of it stays."""
    kept = server.kept()

    answer = post(server, package, **fields)

    assert_refused(answer, status, error, code)
    assert server.kept() == kept
    assert server.get("/simple/good/").status_code == 404


FORM = {"Content-Type": "multipart/form-data; boundary=frontier"}
NO_FORM = "An upload is a form with a file in it."


@pytest.mark.parametrize(
    ("headers", "body", "status", "error", "code"),
    [
        ({}, b"x", 415, "unsupported_media_type", NO_FORM),
        ({"Content-Type": "multipart/form-data"}, form(GOOD), 400, "bad_multipart", ""),
        (FORM, form(GOOD)[:-14], 400, "incomplete_body", ""),
        # a compressed body is never inflated
        ({**FORM, "Content-Encoding": "gzip"}, b"x", 415, "unsupported_media_type", ""),
        ({**FORM, "Content-Encoding": "identity, gzip"}, b"x", 415, "unsupported_media_type", ""),
    ],
)
def test_body_without_a_form_is_refused(
    server: RunningServer,
    headers: dict[str, str],
    body: bytes,
    status: int,
    error: str,
    code: str,
) -> None:
    """An upload that is not a whole form with a file, or is compressed, is refused."""
    kept = server.kept()
    auth = ("__token__", server.token)
    answer = server.client.post("/legacy/", content=body, headers=headers, auth=auth)

    assert_refused(answer, status, error, code)
    assert server.kept() == kept


PLACES = ("/legacy/", "/legacy", "/", "/simple", "/acme/", "//legacy//", "/?x=1")


@pytest.mark.parametrize("path", PLACES)
def test_every_upload_address_takes_files(server: RunningServer, path: str) -> None:
    """Every upload address takes files in place, with no redirect."""
    package = make_wheel("placed", str(PLACES.index(path)))
    answer = server.client.post(
        f"{server.url}{path}",
        files={"content": (package.filename, package.body)},
        auth=("__token__", server.token),
    )
    assert answer.status_code == 200
    assert answer.json()["filename"] == package.filename


@pytest.mark.parametrize("password", ["", "NOPASS"])
def test_curl_pushes_as_to_gemfury(server: RunningServer, password: str) -> None:
    """`curl -F package=@FILE https://TOKEN@host/USER/` publishes, as it does at Gemfury."""
    package = make_sdist("pushed", "1." + str(len(password)))
    answer = server.client.post(
        "/acme/",
        files={"package": (f"dist/{package.filename}", package.body)},
        headers={
            "Authorization": f"Basic {b64encode(f'{server.token}:{password}'.encode()).decode()}",
            "User-Agent": "curl/8.14.1",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert package.filename in answer.text
    digest = server.get(f"/raw/{package.filename}").content
    assert hashlib.sha256(digest).hexdigest() == package.sha256


def test_archive_is_the_truth(server: RunningServer) -> None:
    """What a form says besides name, version, file type and digests is not compared."""
    lines = ("Requires-Python: >=3.9", "Summary: Of the archive", "Requires-Dist: acme-core")
    others = {
        "requires_python": "<2",
        "summary": "Of the form",
        "requires_dist": "evil",
        "author": "x",
    }
    package = make_wheel("truth", "1.0", *lines)
    assert (
        post(server, package, metadata_version="0.1", pyversion="cp27", **others).status_code == 200
    )

    (file,) = server.get("/simple/truth/", Accept=V1_JSON).json()["files"]
    assert file["requires-python"] == ">=3.9"
    info = server.get("/pypi/truth/json").json()["info"]
    assert (info["summary"], info["requires_dist"]) == ("Of the archive", ["acme-core"])
    assert info["requires_python"] == ">=3.9"


FAULTS = {"method": 405, "credential": 401, "length": 413, "right": 403, "type": 415}
"""Errors that are found before the body is read, in the order of the contract."""


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(FAULTS)))
def test_first_fault_of_a_head_is_answered(server: RunningServer, first: str, second: str) -> None:
    """Of two things that are wrong with a head, the one that comes first is answered."""
    wrong = {first, second}
    token = server.make_token(can="read") if "right" in wrong else server.token
    length = (34 << 20) if "length" in wrong else 5
    kind = "application/json" if "type" in wrong else "multipart/form-data; boundary=frontier"
    headers = (f"Content-Length: {length}", f"Content-Type: {kind}")
    with raw_connection(server) as line:
        authorization = basic("u", "wyd_wrong" if "credential" in wrong else token)
        method = "PUT" if "method" in wrong else "POST"
        line.ask(f"{method} /legacy/ HTTP/1.1", authorization, *headers)
        line.send(b"-----")
        reply = line.reply()
    assert reply is not None
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
    server: RunningServer, package: Distribution, fields: dict[str, str], status: int, error: str
) -> None:
    """Name, right, project and digest are looked at before the archive, in this order."""
    kept, token = server.kept(), server.make_token("mine", "mine-*")

    answer = post(server, package, token=token, **fields)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert server.kept() == kept


@pytest.mark.parametrize("name", ["taken", "nobody"])
def test_foreign_project_is_refused_alike(server: RunningServer, name: str) -> None:
    """Whether the project exists cannot be told from a refusal."""
    answer = post(server, make_wheel(name, "9.0"), token=server.make_token("mine"))

    assert answer.status_code == 403
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
    server: RunningServer,
) -> None:
    """A client that was used with Gemfury hears which setting its URL asks for."""
    answer = server.ask("POST", "/emca/")

    assert_refused(answer, 404, "not_found")
    assert "There is no index 'emca', and [server] roots does not name it" in answer.text
    assert server.ask("GET", "/taken/").status_code == 200
