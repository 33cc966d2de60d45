"""The servers to compare, each run as its users run it; and command lines of wheelyard."""

import os
import socket
import subprocess
import sys
import tarfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from compileall import compile_dir
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from uv import find_uv_bin

from tests.clients.harness import REPOSITORY, install_lock, program
from tests.http_server import TOKEN
from tests.once import made_once
from tests.ports import free_port

RUN, BUCKET, OBJECTS = "run.txt", "gcs.txt", "objects.txt"
"""The locks that users install: for a folder, a bucket of Google, and one of S3 or Azure."""
TIMEOUT_SECONDS = 180.0
"""Seconds until a server that has not answered is given up."""
CLOCK_STEP = 0.001
"""Seconds between two looks whether a server answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: its port, process, upload API and start time."""

    port: int
    pid: int
    authorization: str
    """The header that lets a client upload."""
    upload_path: str
    started_in: float
    """Seconds from the start of the process to the whole of its first answer."""


def wheelyard_command(*arguments: object, lock: str = RUN) -> list[str]:
    """Return the command line that runs wheelyard, as users have it, with these arguments."""
    return [str(installed(lock)), "-m", "wheelyard", *map(str, arguments)]


@cache
def installed(lock: str = RUN, tree: Path = REPOSITORY) -> Path:
    """
    Return the Python of an environment with one of the locks that users install, and wheelyard.

    In the environment of the tests, some dependencies find optional modules, and load them. `tree`
    is the clone, or the files of another commit.
    """
    path, project = tree / "requirements" / lock, tree / "pyproject.toml"

    def install(folder: Path) -> None:
        install_lock(path, folder)
        build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation")
        subprocess.run([*build, "--no-deps", "--wheel-dir", folder, tree], check=True)
        into = (find_uv_bin(), "pip", "install", "--quiet", "--python", folder / "bin" / "python")
        subprocess.run([*into, "--no-deps", *folder.glob("*.whl")], check=True)

    return made_once(f"wheelyard-{path.stem}", [path, project], install) / "bin" / "python"


def checked_out(folder: Path, commit: str) -> Path:
    """Return a new folder with the files of a commit."""
    tree, archive = folder / commit, folder / f"{commit}.tar"
    command = ["git", "-C", str(REPOSITORY), "archive", "--output", str(archive), commit]
    subprocess.run(command, check=True)
    with tarfile.open(archive) as files:
        files.extractall(tree, filter="data")
    compile_dir(tree / "src", quiet=1)
    return tree


def environment(home: Path, tree: Path = REPOSITORY) -> dict[str, str]:
    """Return all environment variables of a command: its `home` folder, and the code of `tree`."""
    source = str(tree / "src")
    return {"HOME": str(home), "LANG": "C.UTF-8", "PATH": os.defpath, "PYTHONPATH": source}


@contextmanager
def wheelyard(
    folder: Path,
    page: str = "/simple/",
    *options: object,
    more: Mapping[str, str] | None = None,
    authorization: str = "",
) -> Iterator[Server]:
    """
    Run `wheelyard serve` on the store in `folder` until the block ends; yield the server.

    It has answered `page`. `more` has further environment variables. A store that is not new needs
    the `authorization` of the first server.
    """
    port = free_port()
    command = wheelyard_command("serve", "--port", port, "--store", folder, *options)
    printed = printed_by(folder)
    with serving(port, command, printed, page, "/legacy/", authorization, more=more) as server:
        yield server


def new_token(
    store: object, printed: Path, more: Mapping[str, str] | None = None, lock: str = RUN
) -> str:
    """Make a token that may read and upload in all indexes of a store; return its header."""
    options = ("--index", "*", "--store", store)
    command = wheelyard_command("token", "create", "benchmark", *options, lock=lock)
    with _running(command, printed, more or {}) as making:
        making.wait(TIMEOUT_SECONDS)
    return _token(printed)


@contextmanager
def wheelyard_in_bucket(
    folder: Path,
    bucket: str,
    more: Mapping[str, str],
    authorization: str = "",
    lock: str = BUCKET,
) -> Iterator[Server]:
    """
    Run `wheelyard serve` on a store in a bucket until the block ends; yield the server.

    `bucket` is such as `gs://BUCKET/PREFIX`. `folder` is for its home and its log; `more` has
    variables, which say where the bucket is. Without `authorization`, a token is made.
    """
    printed = folder / "bucket.printed"
    authorization = authorization or new_token(bucket, printed, more, lock)
    port = free_port()
    command = wheelyard_command("serve", "--port", port, "--store", bucket, lock=lock)
    with serving(port, command, printed, "/health", "/legacy/", authorization, more=more) as server:
        yield server


@contextmanager
def pypiserver(folder: Path, page: str = "/simple/") -> Iterator[Server]:
    """
    Run `pypi-server run` on a folder, with its defaults and no passwords, until the block ends.

    Yield the server once it has answered `page`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    options = ["run", "-i", "127.0.0.1", "-p", str(port), "-a", ".", "-P", ".", str(folder)]
    command = [str(program("pypiserver", "pypi-server")), *options]
    with serving(
        port, command, printed_by(folder), page, "/", basic("anyone", "anything")
    ) as server:
        yield server


@contextmanager
def fake_gcs_server(folder: Path, bucket: str) -> Iterator[str]:
    """Run the fake GCS server as a process until the block ends; yield its URL."""
    command = [sys.executable, "-m", "benchmarks.fake_gcs", bucket]
    printed = folder / "fake-gcs.log"
    with _running(command, printed, {"PYTHONPATH": str(REPOSITORY)}) as process:
        end = time.perf_counter() + TIMEOUT_SECONDS
        while not (url := _text(printed).strip()):
            if process.poll() is not None or time.perf_counter() > end:
                raise RuntimeError("the fake GCS server did not start")
            time.sleep(0.01)
        yield url


def settle() -> None:
    """Sync the disk, so that earlier writes do not slow down the next measurement."""
    os.sync()


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header for Basic authentication."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def serving(  # noqa: PLR0913 - one place for all servers
    port: int,
    command: list[str],
    printed: Path,
    page: str,
    upload_path: str,
    authorization: str = "",
    *,
    more: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """
    Run a server until the block ends; yield it once it has answered `page`.

    Without `authorization`, clients send the token that the server prints.
    """
    begun = time.perf_counter()
    with _running(command, printed, more or {}) as process:
        _first_answer(process, port, page)
        took = time.perf_counter() - begun
        yield Server(
            port=port,
            pid=process.pid,
            authorization=authorization or _token(printed),
            upload_path=upload_path,
            started_in=took,
        )


@contextmanager
def _running(
    command: list[str], printed: Path, more: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    found = environment(printed.parent) | dict(more)
    printed.parent.mkdir(parents=True, exist_ok=True)
    with printed.open("wb") as output, printed.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            command, env=found, stdin=subprocess.DEVNULL, stdout=output, stderr=log
        )
        try:
            yield process
        except BaseException:
            sys.stderr.write(_text(printed.with_suffix(".log"))[-4000:])
            raise
        finally:
            process.terminate()
            process.wait(TIMEOUT_SECONDS)


def _first_answer(process: subprocess.Popen[bytes], port: int, page: str) -> None:
    request = f"GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    end = time.perf_counter() + TIMEOUT_SECONDS
    while process.poll() is None and time.perf_counter() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
                connection.sendall(request)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            time.sleep(CLOCK_STEP)
            continue
        if b" 200 " not in answer[:16]:
            raise RuntimeError(f"{page} was answered with {answer[:200]!r}")
        return
    raise RuntimeError(f"the server did not come up: {process.args!r}")


def printed_by(folder: Path) -> Path:
    """Return the file for what the server of a folder prints."""
    return folder.parent / f"{folder.name}.printed"


def _token(printed: Path) -> str:
    found = TOKEN.search(printed.read_text())
    return basic("__token__", found[0] if found else "")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
