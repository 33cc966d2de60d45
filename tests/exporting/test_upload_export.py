"""`wheelyard upload --export`, as it is typed."""

from pathlib import Path

import pytest

from tests.bucket.server import BucketServer
from tests.cli.conftest import Typed
from tests.clients.harness import Desk
from tests.exporting.sites import BASE, tree
from tests.http.packages import wheel

pytestmark = pytest.mark.integration

AT = ("--base-url", BASE)


def written(folder: Path, *packages: str) -> list[Path]:
    """Write wheels into a folder."""
    paths = []
    for name in packages:
        made = wheel(name)
        paths.append(folder / made.filename)
        paths[-1].write_bytes(made.data)
    return paths


def test_upload_and_export(desk: Desk, wheelyard: Typed) -> None:
    """An upload refreshes a site: the first time all of it, then what was uploaded, as it was."""
    dist, site = written(desk.folder, "one", "two", "three"), desk.folder / "site"
    assert wheelyard("upload", dist[0]).returncode == 0
    closed = ("--set", "access.private=true")

    first = wheelyard("upload", dist[1], "--export", site, *closed)
    wheelyard("export", site, "--gzip", "--files", "link", *AT)
    second = wheelyard("upload", dist[2], "--export", site)
    again = wheelyard("upload", dist[2], "--export", site)

    assert [each.returncode for each in (first, second, again)] == [0, 0, 0]
    assert f"{site}: 2 projects, 2 of them exported anew" in first.stdout
    assert first.stderr.count(f"whoever can read {site} reads everything") == 1
    assert f"{site}: 3 projects, 1 of them exported anew" in second.stdout
    assert f"{site}: 3 projects, 1 of them exported anew" in again.stdout
    assert "0 of them" in wheelyard("export", site).stdout
    assert f"{BASE}/files/three/" in (site / "pypi/three/json").read_text()
    assert (site / "simple/three/index.html.gz").exists()
    (file,) = (site / "files/three").rglob("*.whl")
    assert file.stat().st_nlink == 2


def test_upload_of_what_is_refused(desk: Desk, wheelyard: Typed) -> None:
    """Of several files the good ones are published and exported, and the command fails."""
    (good,), site = written(desk.folder, "one"), desk.folder / "site"
    bad = desk.folder / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no archive")

    mixed = wheelyard("upload", bad, good, "--export", site)
    none = wheelyard("upload", bad, "--export", desk.folder / "other")

    assert (mixed.returncode, none.returncode) == (1, 1)
    assert (site / "simple/one/index.html").exists()
    assert not (site / "simple/bad").exists()
    assert tree(desk.folder / "other") == {}


def test_upload_to_a_bucket_and_its_site(desk: Desk, wheelyard: Typed, cloud: BucketServer) -> None:
    """One command publishes to a bucket and refreshes the site in another; bytes stay there."""
    dist = written(desk.folder, "one", "two")
    line = ("--store", "gs://wheels", "--export", "gs://site/packages")
    assert wheelyard("upload", dist[0], *line, **cloud.environment()).returncode == 0
    cloud.log.clear()

    done = wheelyard("upload", dist[1], *line, **cloud.environment())

    assert done.returncode == 0, done.stderr
    names = cloud.bucket("site").names()
    for path in ("simple/two/", "simple/two/index.json", "project/two/", "pypi/two/json"):
        assert f"packages/{path}" in names
    assert cloud.log.count(kind="rewrite") == 2
    assert [each for each in cloud.log.records("media") if each.name.endswith(".whl")] == []
