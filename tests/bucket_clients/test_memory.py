"""Memory of a server on a bucket while a large file passes through."""

from pathlib import Path

import pytest

from benchmarks.bucket import BUCKET, STORE, bucket_variables, weights
from benchmarks.servers import fake_gcs_server, wheelyard_in_bucket
from benchmarks.stores import Wheel

BOUND = 120
"""MB above what it takes at rest."""


@pytest.mark.weekly
def test_a_large_wheel(tmp_path: Path) -> None:
    """A large wheel is uploaded, and sent to eight clients at once, without being in memory."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells how much memory a process has had")
    wheel = Wheel("heavy", "1.0")
    file = tmp_path / wheel.filename
    with file.open("wb") as target:
        wheel.write(target, blocks=150)

    with (
        fake_gcs_server(tmp_path, BUCKET) as url,
        wheelyard_in_bucket(tmp_path, STORE, bucket_variables(url)) as server,
    ):
        _, up, down = weights(server, wheel, file)

    assert up < BOUND
    assert down < BOUND
