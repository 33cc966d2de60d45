"""A large object goes through a process of bounded memory."""

import json
import subprocess
import sys
from hashlib import file_digest
from pathlib import Path

import pytest

from tests.bucket.server import BucketServer
from tests.storage.cloud.opened import EMULATOR

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
SIZE = 150_000_000
ALLOWED = 60_000
"""Kilobytes above what the process had when it had opened the bucket."""
MOVING = """
import json, resource, sys
from hashlib import sha256
from pathlib import Path
from tests.storage.cloud.opened import FILES, Opener
from wheelyard.storage.base import ABSENT, Key

def most():
    # elsewhere than on a Mac, what the operating system says begins with what the parent had
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

store, key = Opener()().store, Key(FILES + "large")
store.put(Key("small"), b"1", ABSENT)
assert store.get(Key("small"))
found = {"start": most()}
store.put(key, Path(sys.argv[1]), ABSENT)
found["up"] = most()
digest, size = sha256(), 0
for chunk in store.read(key):
    digest.update(chunk)
    size += len(chunk)
found |= {"down": most(), "size": size, "digest": digest.hexdigest()}
print(json.dumps(found))
"""
"""A process that sends a file and reads it again."""


@pytest.mark.slow
def test_memory(server: BucketServer, tmp_path: Path) -> None:
    """A file of 150 MB goes up and comes down within 60 MB of memory."""
    file = tmp_path / "large"
    with file.open("wb") as sink:
        sink.truncate(SIZE)

    done = subprocess.run(
        [sys.executable, "-c", MOVING, file],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "src", EMULATOR: server.url},
    )

    found = json.loads(done.stdout)
    with file.open("rb") as source:
        assert found["digest"] == file_digest(source, "sha256").hexdigest()
    assert found["size"] == SIZE
    assert server.log.count("A") == 2
    assert found["down"] - found["start"] < ALLOWED
