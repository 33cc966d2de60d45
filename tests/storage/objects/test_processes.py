"""What a store of S3 or Azure means to the process that uses it."""

import signal
import subprocess
import sys
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.conftest import called
from tests.distributions import make_wheel
from tests.fake_gcs.faults import Hold
from tests.services.service import ProxiedService
from tests.storage.objects.conftest import Open
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.storage.base import Key

pytestmark = pytest.mark.integration

FILE = Key("files/demo/abc/demo-1.0+local.tar.gz")
BEGINNING = """
import sys
from wheelyard.wiring.stores import open_single_store
store = open_single_store(sys.argv[1])
"""
WAITING = f"{BEGINNING}store.get('x')\n"
COMMAND = """
import sys
from wheelyard.cli.main import main
sys.argv = ["wheelyard", *sys.argv[2].split(), "--store", sys.argv[1]]
main()
"""
LARGE = f"""{BEGINNING}
import resource, pathlib
store.put_file('files/warm', b'')
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path = pathlib.Path(sys.argv[2])
store.put_file('files/large', path)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def command(service: ProxiedService, text: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python program with the location of the bucket."""
    return subprocess.Popen(
        [sys.executable, "-c", text, service.location("wheels"), *arguments],
        env=service.environment() | {"AWS_EC2_METADATA_DISABLED": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_ends_a_command_at_once(service: ProxiedService) -> None:
    """A command that waits for a bucket ends at Ctrl-C, before there is an answer."""
    hold = Hold("before")
    service.faults.add(hold)
    with command(service, WAITING) as process:
        hold.wait()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_SECONDS)
    hold.release()

    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in said


@pytest.mark.parametrize("task", ["upload", "check"])
def test_ctrl_c_ends_a_command_with_threads(
    service: ProxiedService, tmp_path: Path, task: str
) -> None:
    """An upload and a check, whose threads wait for the bucket, end at Ctrl-C, too."""
    wheel = make_wheel("demo", "1.0")
    (tmp_path / wheel.filename).write_bytes(wheel.body)
    upload = f"upload {tmp_path / wheel.filename}"
    if task == "check":
        environment = service.environment() | {"TMPDIR": str(tmp_path)}
        place = ("--store", service.location("wheels"))
        assert called(tmp_path, environment, *upload.split(), *place).returncode == 0
    hold = Hold("before")
    service.faults.add(hold, "*", "files/*", count=9)
    with command(service, COMMAND, upload if task == "upload" else task) as process:
        hold.wait()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_SECONDS)
    hold.release()

    assert process.returncode == 130
    assert "interrupted" in said


@pytest.mark.slow
def test_the_memory_of_an_upload(service: ProxiedService, tmp_path: Path) -> None:
    """A large file is never in memory as a whole."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(200 * 1024**2)
    with command(service, LARGE, str(path)) as process:
        said, errors = process.communicate(timeout=TIMEOUT_SECONDS)

    assert errors == ""
    assert int(said) < 60


def test_a_signed_url(open_place: Open, service: ProxiedService) -> None:
    """A client downloads a file by a URL that the index has signed, with its caching headers."""
    bucket = open_place("wheels", "redirect")
    bucket.files.put_file(FILE, b"content")

    url = bucket.files.sign(FILE, timedelta(minutes=10))
    assert url == bucket.files.sign(FILE, timedelta(minutes=10))
    assert url is not None
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    content = answer.read()
    connection.close()

    assert content == b"content"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert service.log.kinds(f"*{FILE}") == ["insert", "signed"]
