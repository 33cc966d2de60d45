"""`wheelyard run` and its variants: the command line of pypiserver."""

from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import PASSWORD, Serve, Serving
from tests.clients.harness import Sandbox
from tests.distributions import Distribution, make_wheel
from tests.http_server import TOKEN
from tests.index_tables import put_tables_at
from tests.plain_http import LOCALLY
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.integration

ANA = ("ana", PASSWORD)
GRANT = '[[grant]]\nwho = ["htpasswd:ana"]\nprojects = ["*"]\nactions = ["upload"]\n'
DECIDED = "[access]\nprivate = true\nhtpasswd_may = []\n"
UPLOADING = '[access]\nhtpasswd_may = ["read", "upload"]\n'


def status_of(serving: Serving, path: str, auth: tuple[str, str] | None = None) -> int:
    """Return the status of a path."""
    url = f"http://127.0.0.1:{serving.port}{path}"
    return httpx2.get(url, auth=auth, timeout=TIMEOUT_SECONDS, **LOCALLY).status_code


def push(serving: Serving, distribution: Distribution, auth: tuple[str, str] | None = None) -> int:
    """Upload a file as curl does; return the status."""
    url = f"http://127.0.0.1:{serving.port}/"
    form = {"content": (distribution.filename, distribution.body)}
    fields = {":action": "file_upload"}
    return httpx2.post(
        url, files=form, data=fields, auth=auth, timeout=TIMEOUT_SECONDS, **LOCALLY
    ).status_code


def remove(serving: Serving, auth: tuple[str, str]) -> int:
    """Delete a release; return the status."""
    url = f"http://127.0.0.1:{serving.port}/api/v1/projects/demo/delete"
    return httpx2.post(
        url, json={"version": "1.0"}, auth=auth, timeout=TIMEOUT_SECONDS, **LOCALLY
    ).status_code


def test_reading_is_public_and_users_upload(packages: Path, serve: Serve) -> None:
    """By default reading is public, and users of the password file upload and remove."""
    serving = serve("-P", ".htpasswd", str(packages), command="run")

    assert status_of(serving, "/simple/demo/") == 200
    assert status_of(serving, "/packages/demo-1.0-py3-none-any.whl") == 200
    assert push(serving, make_wheel("demo", "2.0")) == 401
    assert push(serving, make_wheel("demo", "2.0"), ("ana", "wrong")) == 401
    assert push(serving, make_wheel("demo", "2.0"), ANA) == 200
    assert remove(serving, ANA) == 200
    assert (packages / ".wheelyard" / "wheelyard.json").exists()
    assert not TOKEN.search(serving.printed.read_text())
    assert "imported 1 file\n" in serving.printed.read_text()


def test_explicit_options_let_anybody_upload(packages: Path, serve: Serve) -> None:
    """With explicit options, anonymous clients may upload, with any credentials."""
    options = ("-P", ".", "-a", ".", "--i-know", str(packages))
    serving = serve(*options, host="0.0.0.0", command="run")  # noqa: S104 - what is being tested

    assert push(serving, make_wheel("demo", "2.0")) == 200
    assert push(serving, make_wheel("demo", "3.0"), ("anyone", "anything")) == 200
    assert status_of(serving, "/simple/demo/", ("anyone", "anything")) == 200
    assert remove(serving, ("anyone", "anything")) == 401
    assert "anyone who can reach this address may publish" in serving.log.read_text()
    assert status_of(serving, "/simple/demo/", ("__token__", "wyd_" + "x" * 48)) == 401


def test_options_without_effect_are_named(packages: Path, sandbox: Sandbox, serve: Serve) -> None:
    """Options of pypiserver without effect are warned of; all folders go into one store."""
    other = sandbox.folder / "other"
    other.mkdir()
    make_wheel("second", "1.0").write(other)
    (packages / "bad-1.0.tar.gz").write_bytes(b"no archive")
    ignored = ("--hash-algo", "md5", "--fallback-url", "http://127.0.0.1/", "--disable-fallback")
    more = ("--server", "gunicorn", "-vv", "--log-file", "x.log", "--cache-control", "60", "-o")
    ours = ("-P", ".htpasswd", "-a", "update,list", "--store", "kept")
    serving = serve(*ignored, *more, *ours, str(packages), str(other), command="run")

    log = serving.log.read_text()
    without_effect = ("hash-algo", "fallback-url", "server", "verbose", "log-file", "cache-control")
    for option in (*without_effect, "overwrite"):
        assert f"warning: --{option} does nothing here: " in log
    assert "disable-fallback" not in log
    assert "lists and downloads are one right here" in log
    assert "bad-1.0.tar.gz was not imported: " in log
    assert status_of(serving, "/simple/second/") == 401
    assert status_of(serving, "/simple/second/", ANA) == 200
    assert (sandbox.folder / "kept" / "wheelyard.json").exists()
    assert not (packages / ".wheelyard").exists()


@pytest.mark.parametrize(("config", "tables"), [(DECIDED, GRANT), (UPLOADING, "")])
def test_settings_limit_users(
    packages: Path, sandbox: Sandbox, serve: Serve, config: str, tables: str
) -> None:
    """Without more in `htpasswd_may` and grants, users of the file cannot remove files."""
    (sandbox.folder / "wheelyard.toml").write_text(config)
    put_tables_at(packages / ".wheelyard", tables, sandbox.folder / "wheelyard.toml")

    serving = serve("-P", ".htpasswd", str(packages), command="run")

    assert push(serving, make_wheel("demo", "2.0"), ANA) == 200
    assert remove(serving, ANA) == 403
