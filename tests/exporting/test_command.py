"""`wheelyard export`, as it is typed."""

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.exporting.export_fixture import ExportHarness
from tests.exporting.sites import BASE, broken, pages_of, reader, tree
from tests.fake_gcs.server import FakeGcs
from tests.http.packages import wheel
from tests.storage.small_disk import small_disk

pytestmark = pytest.mark.integration

ELSEWHERE = "https://files.example.com/x"
AT = ("--base-url", BASE)


def test_what_it_says(stocked: ExportHarness, wheelyard: Typed) -> None:
    """It says in one line what there is now and what it did, and warns where it knows no URL."""
    where = (stocked.site, "--store", stocked.store)

    first = wheelyard("export", *where, *AT)
    again = wheelyard("export", *where)
    bare = wheelyard("export", stocked.folder / "bare", "--store", stocked.store)

    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith(f"{stocked.site}: 13 projects, 13 of them exported anew, ")
    assert (
        again.stdout == f"{stocked.site}: 13 projects, 0 of them exported anew, 0 pages written\n"
    )
    assert (again.returncode, again.stderr) == (0, "")  # its URL is kept
    assert bare.returncode == 0
    assert "--base-url" in bare.stderr


PRIVATE = "reading this index needs a credential, and a site asks for none: "
SOME = '[[grant]]\nwho = ["{who}"]\nprojects = ["{projects}"]\nactions = ["read"]\n'


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("", False),
        ("[access]\nprivate = true\n", True),
        (SOME.format(who="domain:acme.dev", projects="*"), True),
        (SOME.format(who="anonymous", projects="open-*"), True),
        (SOME.format(who="anonymous", projects="*"), False),
    ],
)
def test_who_reads_the_site(
    stocked: ExportHarness, wheelyard: Typed, text: str, *, is_told: bool
) -> None:
    """For a private index, one warning says that every reader of the site can read everything."""
    config = stocked.folder / "settings.toml"
    config.write_text(text)

    done = wheelyard(
        "export", stocked.site, "--store", stocked.store, "--config", config, "--files", "link"
    )

    assert done.returncode == 0, done.stderr
    warning = f"{PRIVATE}whoever can read {stocked.site} reads everything"
    assert (warning in done.stderr) is is_told


def test_modes(stocked: ExportHarness, wheelyard: Typed) -> None:
    """Pages and copied files are readable by a web server with another user id."""
    before = os.umask(0o022)
    try:
        wheelyard("export", stocked.site, "--store", stocked.store, *AT)
    finally:
        os.umask(before)

    paths = list(stocked.site.rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o755}


def test_linked(stocked: ExportHarness, wheelyard: Typed) -> None:
    """Linked files take no room: they are the store's own, under a second name."""
    stocked.export()
    site = stocked.folder / "linked"

    done = wheelyard("export", site, "--store", stocked.store, "--files", "link", *AT)

    assert done.returncode == 0, done.stderr
    files = [path for path in site.joinpath("files").rglob("*") if path.is_file()]
    assert all(path.samefile(stocked.store / path.relative_to(site)) for path in files)
    assert tree(site) == tree(stocked.site)


def test_no_links_between_disks(stocked: ExportHarness, wheelyard: Typed) -> None:
    """Where files cannot be linked, it says so, and what else can be done."""
    with small_disk(stocked.folder, "size=4m") as site:
        done = wheelyard("export", site, "--store", stocked.store, "--files", "link", *AT)

    assert done.returncode == 1
    assert "another file system" in done.stderr
    assert "--files copy" in done.stderr


def test_no_links_into_a_bucket(stocked: ExportHarness, wheelyard: Typed, cloud: FakeGcs) -> None:
    """A bucket takes no links, and a folder has none to a bucket's objects."""
    there = cloud.environment()
    into = ("export", "gs://site", "--store", stocked.store, "--files", "link")
    new = stocked.folder / "demo-1.0-py3-none-any.whl"
    new.write_bytes(wheel("demo").data)
    upload = wheelyard("upload", new, "--store", "gs://wheels", **there)
    assert upload.returncode == 0
    out = ("export", stocked.site, "--store", "gs://wheels", "--files", "link")

    for line in (into, out):
        done = wheelyard(*line, **there)
        assert done.returncode == 1
        assert "cannot be linked" in done.stderr
        assert "--files copy" in done.stderr


def test_left_where_they_are(stocked: ExportHarness, wheelyard: Typed) -> None:
    """With a URL the pages link there, and no file is copied."""
    line = ("export", stocked.site, "--store", stocked.store, "--files", f"{ELSEWHERE}/", *AT)

    assert wheelyard(*line).returncode == 0

    assert not stocked.site.joinpath("files").exists()
    page = (stocked.site / "simple/demo/index.html").read_text()
    assert f'href="{ELSEWHERE}/demo/' in page
    assert "../../files" not in page
    for path in ("simple/demo/index.json", "pypi/demo/json", "project/demo/index.html"):
        assert f"{ELSEWHERE}/demo/" in (stocked.site / path).read_text()
    assert "/files/" not in (stocked.site / "pypi/demo/json").read_text()


@pytest.mark.parametrize(
    "url",
    [
        *("packages.example.com", "ftp://x.example", "https://", "/files", "//x.example/y", "move"),
        *("https://x.example/?a=b", "https://x.example/#f", "https://[x.example", "gs://bucket"),
        "https://ann:secret@x.example/",
    ],
)
def test_no_address(stocked: ExportHarness, wheelyard: Typed, url: str) -> None:
    """What is no address for the web is refused before anything is written, secrets included."""
    for option in ("--files", "--base-url"):
        done = wheelyard("export", stocked.site, "--store", stocked.store, option, url)

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "is no address" in done.stderr
    assert not stocked.site.exists()


def test_compressed(stocked: ExportHarness, wheelyard: Typed) -> None:
    """Each page has a compressed copy beside it, the same bytes every time."""
    for name in ("one", "two"):
        site = stocked.folder / name
        done = wheelyard("export", site, "--store", stocked.store, "--gzip", *AT)
        assert done.returncode == 0

    one = tree(stocked.folder / "one")
    assert one == tree(stocked.folder / "two")
    packed = {path: body for path, body in one.items() if path.endswith(".gz")}
    pages = {path for path in packed if not path.startswith("files/")}
    assets = {path for path in pages if path.startswith("-/assets/")}
    assert pages == {f"{path}.gz" for path in pages_of(stocked.folder / "one")} | assets
    for path in pages:
        assert gzip.decompress(packed[path]) == one[path.removesuffix(".gz")]
        assert packed[path][4:8] == bytes(4), "it says when it was made"


def test_full_disk(stocked: ExportHarness, wheelyard: Typed) -> None:
    """On a full disk it ends with one sentence, and what is there works."""
    line = ("--store", stocked.store, *AT)
    with small_disk(stocked.folder, "size=160k") as site:
        done = wheelyard("export", site, *line)

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "no room left" in done.stderr
        assert broken(reader(site), pages_of(site), is_begun=True) == []
        subprocess.run(["mount", "-o", "remount,size=4m", site], check=True)
        assert wheelyard("export", site, *line).returncode == 0
        assert broken(reader(site), pages_of(site)) == []


def written(folder: Path, *packages: str) -> list[Path]:
    """Write wheels into a folder."""
    paths = []
    for name in packages:
        made = wheel(name)
        paths.append(folder / made.filename)
        paths[-1].write_bytes(made.data)
    return paths


def test_upload_and_export(sandbox: Sandbox, wheelyard: Typed) -> None:
    """An upload refreshes a site: the first time all of it, then what was uploaded, as it was."""
    dist, site = written(sandbox.folder, "one", "two", "three"), sandbox.folder / "site"
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


def test_upload_of_what_is_refused(sandbox: Sandbox, wheelyard: Typed) -> None:
    """Of several files the good ones are published and exported, and the command fails."""
    (good,), site = written(sandbox.folder, "one"), sandbox.folder / "site"
    bad = sandbox.folder / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no archive")

    mixed = wheelyard("upload", bad, good, "--export", site)
    none = wheelyard("upload", bad, "--export", sandbox.folder / "other")

    assert (mixed.returncode, none.returncode) == (1, 1)
    assert (site / "simple/one/index.html").exists()
    assert not (site / "simple/bad").exists()
    assert tree(sandbox.folder / "other") == {}


def test_upload_to_a_bucket_and_its_site(
    sandbox: Sandbox, wheelyard: Typed, cloud: FakeGcs
) -> None:
    """One command publishes to a bucket and refreshes the site in another; bytes stay there."""
    dist = written(sandbox.folder, "one", "two")
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
