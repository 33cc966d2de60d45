"""Uploads to a full index: who asks before the body is told, and what is there stays accepted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import new_sandbox, program
from tests.distributions import make_wheel
from tests.http.packages import post, publish
from tests.http.raw_client import basic, raw_connection
from tests.http.servers import RunningServer, running_server

pytestmark = pytest.mark.integration

FULL = "The index 'main' has 2 files of its quota of 2 files, and this is one more."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose index is full."""
    tables = "[main]\nindex_files = 2\n"
    with running_server(tmp_path_factory.mktemp("quotas"), tables=tables) as server:
        publish(server, make_wheel("one"), make_wheel("two"))
        yield server


def test_an_upload_to_a_full_index_is_told_the_numbers(server: RunningServer) -> None:
    """An upload over the quota is refused with 413, its own code, and the numbers."""
    answer = post(server, make_wheel("three"))

    assert answer.status_code == 413
    assert answer.json()["error"] == "quota_exceeded"
    assert answer.json()["code"] == f"413 {FULL}"
    assert "Delete old releases" in answer.json()["message"]
    assert server.get("/simple/three/").status_code == 404


# test_publish.py has a refusal that both clients show, which runs daily
@pytest.mark.parametrize("client", [pytest.param("twine", marks=pytest.mark.weekly), "uv"])
def test_clients_show_why(server: RunningServer, tmp_path: Path, client: str) -> None:
    """Whoever uploads with twine or uv reads the numbers."""
    package, sandbox = make_wheel("three"), new_sandbox(tmp_path)
    (sandbox.folder / package.filename).write_bytes(package.body)
    options = {
        "twine": ("upload", "--verbose", "-u", "__token__", "-p", server.token, "--repository-url"),
        "uv": ("publish", "--token", server.token, "--publish-url"),
    }

    done = sandbox.attempt(
        program(client), *options[client], f"{server.url}/legacy/", package.filename
    )

    assert done.returncode != 0
    assert FULL in " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("is_known", [True, False])
def test_who_asks_first_sends_no_body(server: RunningServer, *, is_known: bool) -> None:
    """A client that asks before it sends a body is refused at once: with 413 if it may upload."""
    credential = basic("__token__", server.token if is_known else "wrong")
    with raw_connection(server) as line:
        line.ask(
            "POST /legacy/ HTTP/1.1",
            credential,
            "Content-Type: multipart/form-data; boundary=x",
            "Content-Length: 5000",
            "Expect: 100-continue",
        )
        answer = line.reply()

    assert answer is not None
    assert answer.status == (413 if is_known else 401)
    assert (FULL.encode() in answer.body) == is_known
