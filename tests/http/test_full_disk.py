"""A server whose disk is full: what makes room works, and uploads are refused."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_wheel
from tests.http.packages import post, publish
from tests.http.servers import running_server
from tests.storage.small_disk import fill, small_disk

pytestmark = pytest.mark.integration

PASSWORD = "s3cret"
GRANTS = '[[grant]]\nwho = ["htpasswd:admin"]\nprojects = ["*"]\nactions = ["admin"]\n'
ACCESS = "[access]\nprivate = true\nhtpasswd_may = []\n"
DEMO = "/api/v1/projects/demo"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two MiB, for the store of a server."""
    with small_disk(tmp_path, "size=2m") as root:
        yield root


def test_releases_go_while_the_disk_is_full(tmp_path: Path, disk: Path) -> None:
    """On a full disk one yanks, deletes and removes releases by HTTP, and uploads afterwards."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "store").symlink_to(disk / "store")
    (folder / "htpasswd").write_text(f"admin:{SHA}\n")
    access = f"{ACCESS}htpasswd_file = '{folder / 'htpasswd'}'\n"
    with running_server(folder, config=access, tables=GRANTS) as server:
        publish(server, *(make_wheel("demo", version) for version in ("1.0", "2.0", "3.0")))
        fill(disk)
        assert post(server, make_wheel("late", "1.0")).status_code == 507

        server.change("demo", "yank", version="1.0", reason="broken")
        server.change("demo", "delete", version="2.0")
        digest = hashlib.sha256(make_wheel("demo", "3.0").body).hexdigest()
        url = f"{DEMO}/delete-now"
        answer = server.client.post(url, json={"sha256": digest}, auth=("admin", PASSWORD))

        assert answer.status_code == 200, answer.text
        assert post(server, make_wheel("late", "1.0")).status_code == 507
        files = server.get(DEMO, server.token).json()["files"]
        assert [(file["version"], file["yanked"]) for file in files] == [("1.0", "broken")]
        (disk / "filler").unlink()
        assert post(server, make_wheel("late", "1.0")).status_code == 200
        assert server.index.server.check.run().problems == []
