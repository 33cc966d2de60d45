"""`wheelyard run` and its like: pypiserver's command line, typed as people have it."""

import base64
import hashlib
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Serve, Serving, Typed
from tests.clients.harness import Desk
from tests.clients.servers import PATIENCE, TOKEN
from tests.operations.making import Made, make_wheel

pytestmark = pytest.mark.integration

PASSWORD = "correct horse"
DIGEST = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()
ANA = ("ana", PASSWORD)
MANAGING = "[access]\nhtpasswd_may_manage = true\n"


@pytest.fixture
def packages(desk: Desk) -> Path:
    """A folder with a package in it, and a file of passwords beside it."""
    folder = desk.folder / "packages"
    folder.mkdir()
    make_wheel("demo", "1.0").write(folder)
    (desk.folder / ".htpasswd").write_text(f"ana:{{SHA}}{base64.b64encode(DIGEST).decode()}\n")
    return folder


def ask(serving: Serving, path: str, auth: tuple[str, str] | None = None) -> int:
    """Return the status of a path."""
    url = f"http://127.0.0.1:{serving.port}{path}"
    return httpx2.get(url, auth=auth, trust_env=False, timeout=PATIENCE).status_code


def push(serving: Serving, made: Made, auth: tuple[str, str] | None = None) -> int:
    """Upload a file as curl does; return the status."""
    url = f"http://127.0.0.1:{serving.port}/"
    form = {"content": (made.filename, made.body)}
    fields = {":action": "file_upload"}
    return httpx2.post(
        url, files=form, data=fields, auth=auth, trust_env=False, timeout=PATIENCE
    ).status_code


def remove(serving: Serving, auth: tuple[str, str]) -> int:
    """Delete a release; return the status."""
    url = f"http://127.0.0.1:{serving.port}/api/v1/projects/demo/delete"
    return httpx2.post(
        url, json={"version": "1.0"}, auth=auth, trust_env=False, timeout=PATIENCE
    ).status_code


def test_the_usual(packages: Path, serve: Serve) -> None:
    """Everybody reads; the names in the file publish and remove; the packages are there."""
    serving = serve("-P", ".htpasswd", str(packages), command="run")

    assert ask(serving, "/simple/demo/") == 200
    assert ask(serving, "/packages/demo-1.0-py3-none-any.whl") == 200
    assert push(serving, make_wheel("demo", "2.0")) == 401
    assert push(serving, make_wheel("demo", "2.0"), ("ana", "wrong")) == 401
    assert push(serving, make_wheel("demo", "2.0"), ANA) == 200
    assert remove(serving, ANA) == 200
    assert (packages / ".wheelyard" / "wheelyard.json").exists()
    assert not TOKEN.search(serving.printed.read_text())
    assert "imported 1 file\n" in serving.printed.read_text()


def test_everything_protected(packages: Path, serve: Serve) -> None:
    """With all three actions nobody reads without a name."""
    options = ("-P", ".htpasswd", "-a", "update, Download,list", str(packages))
    serving = serve(*options, command="run")

    assert ask(serving, "/simple/") == 401
    assert ask(serving, "/packages/demo-1.0-py3-none-any.whl") == 401
    assert ask(serving, "/simple/demo/", ANA) == 200
    assert push(serving, make_wheel("demo", "2.0"), ANA) == 200


def test_nothing_protected(packages: Path, serve: Serve) -> None:
    """Without passwords everybody publishes, whatever name and password their client sends."""
    serving = serve("-P", ".", "-a", ".", str(packages), command="run")

    assert push(serving, make_wheel("demo", "2.0")) == 200
    assert push(serving, make_wheel("demo", "3.0"), ("anyone", "anything")) == 200
    assert ask(serving, "/simple/demo/", ("anyone", "anything")) == 200
    assert remove(serving, ("anyone", "anything")) == 401
    assert ask(serving, "/simple/demo/", ("__token__", "wyd_" + "x" * 48)) == 401


def test_uploads_open_and_reading_closed(packages: Path, serve: Serve) -> None:
    """Uploads that are open to everybody open nothing else."""
    serving = serve("-P", ".htpasswd", "-a", "list,download", str(packages), command="run")

    assert push(serving, make_wheel("demo", "2.0")) == 200
    assert ask(serving, "/simple/demo/") == 401
    assert ask(serving, "/simple/demo/", ANA) == 200
    assert ask(serving, "/simple/demo/", ("ana", "wrong")) == 401


def test_half_of_reading(packages: Path, serve: Serve) -> None:
    """Where only lists or only downloads were protected both are, and a warning says so."""
    serving = serve("-P", ".htpasswd", "-a", "update,download", str(packages), command="run")

    assert ask(serving, "/simple/") == 401
    assert "lists and downloads are one right here" in serving.log.read_text()


def test_serve_knows_both(packages: Path, serve: Serve) -> None:
    """`serve` takes passwords and actions too; there names in the file read and publish."""
    del packages
    serving = serve("-P", ".htpasswd", "-a", "update,list,download")

    assert ask(serving, "/simple/") == 401
    assert push(serving, make_wheel("demo", "1.0"), ANA) == 200
    assert remove(serving, ANA) == 403


def test_options_that_do_nothing(packages: Path, serve: Serve) -> None:
    """What pypiserver knows besides is taken, and a warning says that it does nothing."""
    ignored = ("--hash-algo", "md5", "--fallback-url", "http://127.0.0.1/", "--disable-fallback")
    more = ("--server", "gunicorn", "-vv", "--log-file", "x.log", "--cache-control", "60", "-o")
    log = serve(*ignored, *more, str(packages), command="run").log.read_text()

    said = ("hash-algo", "fallback-url", "server", "verbose", "log-file", "cache-control")
    for option in (*said, "overwrite"):
        assert f"warning: --{option} does nothing here: " in log
    assert "disable-fallback" not in log


def test_the_next_start(packages: Path, serve: Serve) -> None:
    """The next start finds what is there already, and says what it could not import."""
    serve(str(packages), command="run")
    (packages / "bad-1.0.tar.gz").write_bytes(b"no archive")

    serving = serve(str(packages), command="run")

    assert f"{packages}: imported 0 files, 1 there already, 1 refused" in (
        serving.printed.read_text()
    )
    assert "bad-1.0.tar.gz was not imported: " in serving.log.read_text()
    assert ask(serving, "/simple/demo/") == 200


def test_a_store_elsewhere(packages: Path, desk: Desk, serve: Serve) -> None:
    """The store can be anywhere, and several folders go into one."""
    other = desk.folder / "other"
    other.mkdir()
    make_wheel("second", "1.0").write(other)

    serving = serve("--store", "kept", str(packages), str(other), command="run")

    assert ask(serving, "/simple/second/") == 200
    assert (desk.folder / "kept" / "wheelyard.json").exists()
    assert not (packages / ".wheelyard").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["run", "-P", ".", "-a", ".", "packages"], 1, "give --i-know"),
        (["serve", "-P", ".", "-a", ".", "--host", "0.0.0.0"], 1, "give --i-know"),  # noqa: S104
        (["run", "-P", ".", "packages"], 2, "both of them"),
        (["run", "-P", ".htpasswd", "-a", "update,.", "packages"], 2, "-a takes"),
        (["run", "nowhere"], 1, "The folder nowhere cannot be read"),
        (["run", "-P", "nowhere", "packages"], 1, "nowhere cannot be read"),
    ],
)
def test_refusals(
    packages: Path, wheelyard: Typed, arguments: list[str], status: int, words: str
) -> None:
    """What would open everything to everybody has to be meant, and a typing error is told."""
    done = wheelyard(*arguments)

    assert done.returncode == status
    assert words in done.stderr
    assert not (packages / ".wheelyard" / "projects").exists()


def test_it_is_meant(packages: Path, serve: Serve) -> None:
    """Whoever says that it is meant may open everything to everybody."""
    options = ("-P", ".", "-a", ".", "--i-know", str(packages))
    serving = serve(*options, host="0.0.0.0", command="run")  # noqa: S104 - what is being tested

    assert push(serving, make_wheel("demo", "2.0")) == 200
    assert "anyone who can reach this address may publish" in serving.log.read_text()


@pytest.mark.parametrize(("said", "is_warned"), [("", False), (MANAGING, True)])
def test_beside_grants(
    packages: Path, desk: Desk, serve: Serve, said: str, *, is_warned: bool
) -> None:
    """Beside a grant nobody is warned of a setting that they have not set."""
    grant = '[[grant]]\nwho = ["htpasswd:ana"]\nprojects = ["*"]\nactions = ["upload"]\n'
    (desk.folder / "wheelyard.toml").write_text(grant + said)

    serving = serve("-P", ".htpasswd", str(packages), command="run")

    assert ("htpasswd_may_manage counts for nothing" in serving.log.read_text()) == is_warned
    assert push(serving, make_wheel("demo", "2.0"), ANA) == 200
    assert remove(serving, ANA) == 403


def test_names_that_may_not_manage(packages: Path, desk: Desk, serve: Serve) -> None:
    """Whoever says that names in the file may not remove anything is heard."""
    (desk.folder / "wheelyard.toml").write_text(MANAGING.replace("true", "false"))

    assert remove(serve("-P", ".htpasswd", str(packages), command="run"), ANA) == 403


@pytest.mark.parametrize(
    "config",
    [
        '[[grant]]\nwho = ["anonymous"]\nprojects = ["*"]\nactions = ["read"]\n',
        '[access]\nhtpasswd_file = ".htpasswd"\n',
    ],
)
def test_no_first_token(packages: Path, desk: Desk, serve: Serve, config: str) -> None:
    """Where somebody has said who may do what, no token is made that may do everything."""
    del packages
    (desk.folder / "wheelyard.toml").write_text(config)

    assert not TOKEN.search(serve().printed.read_text())
