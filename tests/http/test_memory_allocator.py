"""The C library's memory allocator, as a server process sets it."""

import subprocess
import sys
from ctypes import CDLL
from pathlib import Path

import pytest

from tests.clients.harness import SOURCE

PROGRAM = """
from pathlib import Path
from wheelyard.http.server_process import return_freed_memory
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
return_freed_memory()
before = pages()
for size in (8, 8):  # by default, glibc keeps the second one
    block = b"x" * (size << 20)
    del block
print(pages() - before)
"""


@pytest.mark.integration
@pytest.mark.skipif(
    not Path("/proc/self/statm").exists() or not hasattr(CDLL(None), "mallopt"),
    reason="glibc on Linux only",
)
def test_memory_of_large_pages_is_returned() -> None:
    """The memory of a large page that is no longer cached goes back to the machine."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=SOURCE, capture_output=True, check=True, text=True
    )
    assert int(done.stdout) < 1024, "more than 4 MiB are kept"
