"""`wheelyard export`, as it is typed."""

import subprocess
from shutil import rmtree

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from tests.exporting.export_fixture import StoreFolder
from tests.exporting.sites import BASE, MANIFEST, broken, tree
from tests.index_tables import put_tables_at, toml_of
from tests.storage.small_disk import small_disk
from wheelyard.catalog import keys

AT = ("--base-url", BASE)


@pytest.mark.integration
def test_export_says_what_it_wrote(stocked_store: StoreFolder, wheelyard: Typed) -> None:
    """`export` says in one line what it wrote, and warns where it knows no URL."""
    store, site = ("--store", stocked_store.store), stocked_store.site

    first = wheelyard("export", site, *store, *AT)
    again = wheelyard("export", site, *store)
    bare = wheelyard("export", stocked_store.folder / "bare", *store)

    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith(f"{site}: 13 projects, 13 of them exported anew, ")
    assert again.stdout == f"{site}: 13 projects, 0 of them exported anew, 0 pages written\n"
    assert (again.returncode, again.stderr) == (0, "")  # its URL is kept
    assert bare.returncode == 0
    assert "--base-url" in bare.stderr
    ours = {path for path in site.rglob("*") if "wheelyard" in path.name or path.name[0] == "."}
    assert ours == {(site / MANIFEST).parent}
    assert list((site / MANIFEST).parent.iterdir()) == [site / MANIFEST]


@pytest.mark.integration
@pytest.mark.parametrize("option", ["--files", "--base-url"])
def test_a_bad_url_writes_nothing(
    stocked_store: StoreFolder, wheelyard: Typed, option: str
) -> None:
    """A URL that is none for the web is refused in one line, before anything is written."""
    url = "https://x.example/?a=b"

    done = wheelyard("export", stocked_store.site, "--store", stocked_store.store, option, url)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"{option} 'https://x.example/?a=b' is no address" in done.stderr
    assert not stocked_store.site.exists()


@pytest.mark.integration
def test_pages_of_others_are_left_alone(stocked_store: StoreFolder, wheelyard: Typed) -> None:
    """Pages that no export has made are not written over unless one says so."""
    path, line = "simple/demo/index.html", ("export", stocked_store.site)
    place = stocked_store.site / path
    place.parent.mkdir(parents=True)
    place.write_text("theirs")

    done = wheelyard(*line, "--store", stocked_store.store)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"no export has made, {path} for one. Choose an empty place" in done.stderr
    assert tree(stocked_store.site) == {path: b"theirs"}
    assert wheelyard(*line, "--store", stocked_store.store, "--all").returncode == 0
    assert tree(stocked_store.site)[path] != b"theirs"


@pytest.mark.integration
def test_what_is_lost_is_line_and_rest_is_exported(
    stocked_store: StoreFolder, wheelyard: Typed
) -> None:
    """What cannot be exported is an error, a line each, and all else is exported."""
    for name in ("only_source", "half_gone"):
        # also those of deleted files
        for path in list((stocked_store.store / "files").rglob(f"{name}*")):
            path.unlink()

    done = wheelyard("export", stocked_store.site, "--store", stocked_store.store, *AT)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 2)
    assert "only_source-0.1" in done.stderr
    assert '"zope-2-x"' in (stocked_store.site / "search.json").read_text()


@pytest.mark.integration
def test_an_export_goes_on_after_a_full_disk(stocked_store: StoreFolder, wheelyard: Typed) -> None:
    """An export to a full disk ends with one sentence, works so far, and can be completed."""
    with small_disk(stocked_store.folder, "size=160k") as site:
        done = wheelyard("export", site, "--store", stocked_store.store, *AT)

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "no room left" in done.stderr
        assert broken(tree(site), is_written_now=True) == []
        subprocess.run(["mount", "-o", "remount,size=4m", site], check=True)
        stocked_store.export_patiently(site)  # there was no room to give back the lease
        assert tree(site) == stocked_store.fresh()


@pytest.mark.integration
def test_an_upload_can_refresh_a_site(sandbox: Sandbox, wheelyard: Typed) -> None:
    """An upload brings a site up to date with all that has changed, also if a file was refused."""
    dist, site = [], sandbox.folder / "site"
    for name in ("one", "two", "three", "four"):
        dist.append(sandbox.folder / f"{name}-1.0-py3-none-any.whl")
        dist[-1].write_bytes(make_wheel(name).body)
    bad = sandbox.folder / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no archive")
    assert wheelyard("upload", dist[0]).returncode == 0

    first = wheelyard("upload", bad, dist[1], "--export", site, WHEELYARD_ACCESS_PRIVATE="true")
    wheelyard("export", site, "--gzip", *AT)
    wheelyard("upload", dist[2])
    second = wheelyard("upload", dist[3], "--export", site)
    again = wheelyard("upload", dist[3], "--export", site)
    none = wheelyard("upload", bad, "--export", sandbox.folder / "other")

    assert [done.returncode for done in (first, second, again, none)] == [1, 0, 0, 1]
    assert f"{site}: 2 projects, 2 of them exported anew" in first.stdout
    assert first.stderr.count(f"whoever can read {site} reads everything") == 1
    assert f"{site}: 4 projects, 2 of them exported anew" in second.stdout
    assert f"{site}: 4 projects, 0 of them exported anew" in again.stdout
    assert f"{BASE}/files/three/" in (site / "pypi/three/json").read_text()
    assert (site / "simple/three/index.html.gz").exists()
    assert not (site / "simple/bad").exists()
    assert tree(sandbox.folder / "other") == {}


def test_a_wrong_site_publishes_nothing(sandbox: Sandbox, wheelyard: Typed) -> None:
    """Where the site cannot be written, nothing is published."""
    package = make_wheel("one")
    (sandbox.folder / package.filename).write_bytes(package.body)
    (sandbox.folder / "file").write_text("")
    (sandbox.folder / "theirs").mkdir()
    (sandbox.folder / "theirs/index.html").write_text("")

    for place in ("theirs", "file"):
        done = wheelyard("upload", package.filename, "--export", place)
        assert (done.returncode, done.stdout) == (1, "")
    assert wheelyard("list").stdout == ""


@pytest.mark.integration
def test_each_index_is_a_folder(stocked_store: StoreFolder, wheelyard: Typed) -> None:
    """Each index has its pages in a folder of its name, which stays unless one wants it to go."""
    place = (stocked_store.site, "--store", stocked_store.store, *AT)
    dev, prod = ({"name": name, "layers": [name, ""]} for name in ("dev", "prod"))
    put_tables_at(stocked_store.store, toml_of(index=(dev, prod)))
    first = wheelyard("export", *place)
    # as if an earlier version had dev in its settings
    (stocked_store.store / keys.INDEX_LIST).unlink()
    rmtree(stocked_store.store / keys.INDEX_LIST_JOURNAL)
    put_tables_at(stocked_store.store, toml_of(index=(prod,)))
    kept = wheelyard("export", *place)
    again = wheelyard("export", *place, "--all")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert "warning: dev/ of the site stays as it is" in kept.stderr
    assert "warning: deleted dev/ of the site" in again.stderr
    assert f"{stocked_store.site}/dev: 13 projects" in first.stdout
    assert (
        f"{stocked_store.site}/prod: 13 projects, 13 of them exported anew, 0 pages" in kept.stdout
    )
    assert not (stocked_store.site / "dev").exists()
    page = (stocked_store.site / "prod/project/demo/index.html").read_text()
    assert '<a href="../../../project/demo/">the index main</a>' in page
    home = (stocked_store.site / "index.html").read_text()
    assert '<a href="./prod/">prod</a>' in home
    assert "dev/" not in home


def test_a_private_index_among_public_ones(stocked_store: StoreFolder, wheelyard: Typed) -> None:
    """One warning names the indexes of a site that need a credential, and no others."""
    config = stocked_store.folder / "settings.toml"
    indexes = ({"name": "dev", "read": "anyone"}, {"name": "prod"})
    put_tables_at(stocked_store.store, toml_of(index=indexes))
    private = "[access]\nprivate = false\n"
    grant = '[[grant]]\nwho = ["{}"]\nprojects = ["*"]\nactions = ["read"]\n{}\n'
    of_prod = grant.format("user:ana@acme.dev", 'index = "prod"')
    config.write_text(private)
    put_tables_at(stocked_store.store, grant.format("anonymous", "") + of_prod, config)

    done = wheelyard(
        "export", stocked_store.site, "--store", stocked_store.store, "--config", config
    )

    assert "warning: reading prod needs a credential" in done.stderr
    assert done.stderr.count("without --base-url") == 1
