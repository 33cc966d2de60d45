"""`wheelyard export`, as it is typed."""

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.exporting.export_fixture import StoreFolder
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from tests.fake_gcs.server import FakeGcs
from tests.http.packages import wheel
from tests.storage.small_disk import small_disk

pytestmark = pytest.mark.integration

AT = ("--base-url", BASE)


def test_what_it_says(stocked: StoreFolder, wheelyard: Typed) -> None:
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
    ours = {
        path for path in stocked.site.rglob("*") if "wheelyard" in path.name or path.name[0] == "."
    }
    assert {str(path.relative_to(stocked.site)) for path in ours} == {"wheelyard-export"}
    assert list((stocked.site / MANIFEST).parent.iterdir()) == [stocked.site / MANIFEST]


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
    stocked: StoreFolder, wheelyard: Typed, text: str, *, is_told: bool
) -> None:
    """For a private index, one warning says that every reader of the site can read everything."""
    config = stocked.folder / "settings.toml"
    config.write_text(text)

    done = wheelyard("export", stocked.site, "--store", stocked.store, "--config", config)

    assert done.returncode == 0, done.stderr
    warning = f"{PRIVATE}whoever can read {stocked.site} reads everything"
    assert (warning in done.stderr) is is_told
    assert "demo/" in (stocked.site / "simple/index.html").read_text()


@pytest.mark.parametrize(
    "url",
    [
        *("packages.example.com", "ftp://x.example", "https://", "/files", "//x.example/y", "link"),
        *("https://x.example/?a=b", "https://x.example/#f", "https://[x.example", "gs://bucket"),
        *("https://ann:secret@x.example/", "https://x.example/a b", "https://x.example:99999/"),
    ],
)
def test_no_address(stocked: StoreFolder, wheelyard: Typed, url: str) -> None:
    """What is no address for the web is refused before anything is written, secrets included."""
    for option in ("--files", "--base-url"):
        done = wheelyard("export", stocked.site, "--store", stocked.store, option, url)

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "is no address" in done.stderr
    assert not stocked.site.exists()


def test_lost_files(stocked: StoreFolder, wheelyard: Typed) -> None:
    """What cannot be exported is told of, a line each, and all else is exported."""
    stocked.publish(wheel("demo", "7.0"), wheel("last", "1.0"), wheel("lossy", "1.0"))
    for pattern in ("demo-7.0*.whl", "lossy*.whl"):
        for path in (stocked.store / "files").rglob(pattern):
            path.unlink()

    done = wheelyard("export", stocked.site, "--store", stocked.store, *AT)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 2)
    assert "demo-7.0" in done.stderr
    assert "lossy-1.0" in done.stderr
    assert '"last"' in (stocked.site / "search.json").read_text()


def test_full_disk(stocked: StoreFolder, wheelyard: Typed) -> None:
    """On a full disk it ends with one sentence, and what is there works."""
    line = ("--store", stocked.store, *AT)
    with small_disk(stocked.folder, "size=160k") as site:
        done = wheelyard("export", site, *line)

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "no room left" in done.stderr
        assert broken(tree(site), is_written_now=True) == []
        subprocess.run(["mount", "-o", "remount,size=4m", site], check=True)
        assert wheelyard("export", site, *line).returncode == 0
        assert broken(tree(site)) == []


def written(folder: Path, *packages: str) -> list[Path]:
    """Write wheels into a folder."""
    paths = []
    for name in packages:
        made = wheel(name)
        paths.append(folder / made.filename)
        paths[-1].write_bytes(made.data)
    return paths


def test_upload_and_export(sandbox: Sandbox, wheelyard: Typed) -> None:
    """An upload brings a site up to date with all that has changed, made as it was."""
    dist, site = written(sandbox.folder, "one", "two", "three", "four"), sandbox.folder / "site"
    assert wheelyard("upload", dist[0]).returncode == 0
    closed = ("--set", "access.private=true")

    first = wheelyard("upload", dist[1], "--export", site, *closed)
    wheelyard("export", site, "--gzip", *AT)
    wheelyard("upload", dist[2])
    second = wheelyard("upload", dist[3], "--export", site)
    again = wheelyard("upload", dist[3], "--export", site)

    assert [done.returncode for done in (first, second, again)] == [0, 0, 0]
    assert f"{site}: 2 projects, 2 of them exported anew" in first.stdout
    assert first.stderr.count(f"whoever can read {site} reads everything") == 1
    assert f"{site}: 4 projects, 2 of them exported anew" in second.stdout
    assert f"{site}: 4 projects, 0 of them exported anew" in again.stdout
    assert f"{BASE}/files/three/" in (site / "pypi/three/json").read_text()
    assert (site / "simple/three/index.html.gz").exists()


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
