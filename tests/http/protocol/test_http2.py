"""The same index over HTTP/2 on the clear port, as a proxy may speak it."""

import json
import subprocess
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from tests.clients.harness import system_program
from tests.distributions import make_sdist, make_wheel
from tests.http.servers import RunningServer

pytestmark = pytest.mark.integration

V1_JSON = "application/vnd.pypi.simple.v1+json"


def curl(*arguments: str) -> str:
    """Run curl over HTTP/2; returns the body and, on a line of its own, the status."""
    command = [system_program("curl"), "--silent", "--http2-prior-knowledge", "--noproxy", "*"]
    form = ["--write-out", "\\n%{http_version} %{response_code}"]
    done = subprocess.run([*command, *form, *arguments], capture_output=True, check=True, text=True)
    return done.stdout


def test_pages_and_files_come_over_http2(stocked_server: RunningServer) -> None:
    """A page and a file come over HTTP/2 as they do over HTTP/1.1."""
    page, _, status = curl(
        "-H", f"Accept: {V1_JSON}", f"{stocked_server.url}/simple/demo/"
    ).rpartition("\n")
    assert status == "2 200"
    assert json.loads(page) == stocked_server.get("/simple/demo/", Accept=V1_JSON).json()
    assert curl(f"{stocked_server.url}/simple/nothing/").endswith("\n2 404")
    path = "packages/demo-1.0.tar.gz.metadata"
    assert curl("-X", "PUT", f"{stocked_server.url}/{path}").endswith("\n2 405")


def test_upload_works_over_http2(stocked_server: RunningServer, tmp_path: Path) -> None:
    """Uploads are taken and refused, small and large ones, and the refusal can be read."""
    package, large = make_sdist("second"), make_wheel("large", content=bytes(3 << 20))
    for each in (package, large):
        (tmp_path / each.filename).write_bytes(each.body)

    def push(user: str, name: str) -> str:
        address = f"http://{user}@{stocked_server.address}/acme/"
        return curl("-F", f"package=@{tmp_path / name}", address)

    assert push(stocked_server.token, package.filename).endswith("\n2 200")
    assert push(stocked_server.token, large.filename).endswith("\n2 200")
    refused = push("somebody", large.filename)
    assert refused.endswith("\n2 401")
    assert json.loads(refused.rpartition("\n")[0])["error"] == "unauthenticated"
    assert stocked_server.get(f"/raw/{large.filename}").content == large.body


def test_part_of_a_file_comes_whole(stocked_server: RunningServer, tmp_path: Path) -> None:
    """A part of a file comes whole, however long it takes, and a body may lack a length."""
    large = make_wheel("partly", content=bytes(range(256)) * (1 << 14))
    (tmp_path / large.filename).write_bytes(large.body)
    address = f"http://{stocked_server.token}@{stocked_server.address}/legacy/"
    form = f"content=@{tmp_path / large.filename}"
    assert curl("-H", "Content-Length:", "-F", form, address).endswith("\n2 200")
    got = tmp_path / "part"
    slowly = ("--limit-rate", "3M", "--range", "7-", "--output", str(got))
    assert curl(*slowly, f"{stocked_server.url}/packages/{large.filename}").endswith("\n2 206")
    assert got.read_bytes() == large.body[7:]


@pytest.mark.slow
def test_large_upload_takes_little_memory(stocked_server: RunningServer, tmp_path: Path) -> None:
    """A wheel of 60 MB goes up over HTTP/2 in little memory, and comes back as it was."""
    large = make_wheel("huge", content=Random(1).randbytes(60_000_000))
    path, got = tmp_path / large.filename, tmp_path / "got"
    path.write_bytes(large.body)
    before = peak_memory(stocked_server.pid)

    address = f"http://{stocked_server.token}@{stocked_server.address}/legacy/"
    assert curl("-F", f"content=@{path}", address).endswith("\n2 200")
    url = f"{stocked_server.url}/packages/{large.filename}"
    assert curl("--output", str(got), url).endswith("\n2 200")

    assert sha256(got.read_bytes()).hexdigest() == large.sha256
    assert peak_memory(stocked_server.pid) - before < 40_000_000


def peak_memory(pid: int) -> int:
    """Return the bytes that a process has had at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
