"""Public packages in a static site: what is stored and shown, and never a private name."""

from pathlib import Path
from random import Random

import pytest

from tests.cli.conftest import Typed
from tests.cli.conftest import wheelyard as _wheelyard
from tests.exporting.sites import observed, tree
from tests.fake_gcs.server import running_fake_gcs
from tests.http.in_process import in_process
from tests.storage.gcs.opened import EMULATOR
from tests.upstream.fake_pages import JSON
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.settings import upstream_section, upstream_settings
from tests.upstream.team import Team, locked
from wheelyard.operations.exporting.manifest import FileMode, RequestedOptions
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.local import LocalStore
from wheelyard.upstream.public_export import PUBLIC_MANIFEST, PublicResult
from wheelyard.wiring.site_export import SiteExporter, open_site

pytestmark = pytest.mark.integration
wheelyard = _wheelyard

IDNA = public_wheel("idna", "3.10")
OLD_IDNA = public_wheel("idna", "2.0")
RICH = public_wheel("rich", "14.0")
BASE = "https://packages.example.com"
PAGES = (
    *("simple/{}/index.html", "simple/{}/index.json", "pypi/{}/json"),
    *("project/{}/index.html", "project/{}/history/index.html"),
)


def paths_of(name: str, *wheels: object) -> set[str]:
    """Return the paths of a public project in a site: pages, wheels, core metadata, releases."""
    found = {page.format(name) for page in PAGES}
    for each in wheels:
        path = f"files/{name}/{each.sha256}/{each.filename}"  # type: ignore[attr-defined]
        version = each.filename.split("-")[1]  # type: ignore[attr-defined]
        found |= {path, f"{path}.metadata", f"project/{name}/{version}/index.html"}
    return found


@pytest.fixture
def team(tmp_path: Path, upstream: FakeUpstream) -> Team:
    """A team with a private package, and two public ones in its store."""
    upstream.publish(IDNA, OLD_IDNA, RICH)
    found = Team(tmp_path, upstream)
    found.publish(private_wheel("acme-core", "1.0"))
    found.prefetch(locked(IDNA, RICH))
    return found


def test_the_site_has_what_is_stored(team: Team) -> None:
    """A site has the public files that the store has, with their pages, and asks nobody."""
    asked = len(team.upstream.requests)

    assert team.export() == PublicResult(projects=2, changed=2, removed=0)
    assert team.public_paths() == paths_of("idna", IDNA) | paths_of("rich", RICH)
    wheel = team.site / "files/idna" / IDNA.sha256 / IDNA.filename
    assert wheel.read_bytes() == IDNA.data
    assert "2.0" not in (team.site / "simple/idna/index.json").read_text()
    assert "idna" not in (team.site / "simple/index.html").read_text()
    assert len(team.upstream.requests) == asked


def test_pages_have_the_bytes_of_the_server(team: Team) -> None:
    """Where the store has every file of a page, site and server have the same bytes."""
    team.prefetch(locked(OLD_IDNA))
    team.export(RequestedOptions(base_url=BASE))

    section = upstream_section(team.upstream)
    settings = Settings(server=ServerSettings(public_url=BASE), upstream=section)
    store = LocalStore(team.store, Random(1))
    with in_process(team.folder / "live", settings, store=store) as server:
        pages = [each.format(name) for name in ("idna", "rich") for each in PAGES]
        for page in (*pages, "project/idna/3.10/index.html", "project/idna/2.0/index.html"):
            path = f"/{page.removesuffix('index.html').removesuffix('index.json')}"
            answer = server.get(path, *((("accept", JSON),) if page.endswith("index.json") else ()))
            assert answer.status == 200
            assert (team.site / page).read_bytes() == answer.body


def test_only_changes_are_written(team: Team) -> None:
    """An export after which nothing has changed writes nothing; another file writes its project."""
    team.export()
    times = {path: path.stat().st_mtime_ns for path in team.site.rglob("*") if path.is_file()}

    assert team.export() == PublicResult(projects=2, changed=0, removed=0)
    after = {path: path.stat().st_mtime_ns for path in team.site.rglob("*") if path.is_file()}
    assert after == times

    team.prefetch(locked(OLD_IDNA))
    assert team.export() == PublicResult(projects=2, changed=1, removed=0)
    assert paths_of("idna", IDNA, OLD_IDNA) < team.public_paths()


def test_what_is_hidden_goes(team: Team) -> None:
    """What the rules hide now, or the upstream has removed, is gone after the next export."""
    team.prefetch(locked(OLD_IDNA))
    team.export()

    team.upstream.withdraw(OLD_IDNA.filename)
    team.prefetch(locked(IDNA), page_ttl=0)
    assert team.export(deny=("rich",)) == PublicResult(projects=1, changed=1, removed=1)
    assert team.public_paths() == paths_of("idna", IDNA)

    assert team.export(snapshot="2001-01-01") == PublicResult(projects=0, changed=0, removed=1)
    assert team.public_paths() == set()


def test_a_private_name_wins(team: Team) -> None:
    """A name that has become private has its own page, and no public file is left under it."""
    team.export()
    own = private_wheel("idna", "1.0")
    team.publish(own)

    assert team.export() == PublicResult(projects=1, changed=0, removed=1)
    assert paths_of("idna", own) < team.public_paths()
    assert not any(IDNA.sha256 in each for each in team.public_paths())
    assert IDNA.filename not in (team.site / "simple/idna/index.html").read_text()

    assert team.export(private=("rich",)) == PublicResult(projects=0, changed=0, removed=1)
    assert {each.split("/")[1] for each in team.public_paths()} == {"idna"}


def test_two_exports_at_once(team: Team) -> None:
    """An export during which another one removes what it shows begins again, and puts it back."""
    others = list[PublicResult | None]()

    def meanwhile(verb: str, path: str) -> None:
        if (verb, path) == ("put", PUBLIC_MANIFEST) and not others:
            others.append(None)
            others.append(team.export(deny=("rich",)))

    team.export()
    team.prefetch(locked(OLD_IDNA))
    with team.index() as index:
        exports = SiteExporter(index=index, dest=str(team.site), requested=RequestedOptions())
        export = exports.export_to(observed(open_site(exports.dest, index), meanwhile))
        export.run(lambda *_: None)
        assert exports.export_public(export) is not None

    assert others[1] == PublicResult(projects=1, changed=1, removed=1)
    assert team.public_paths() == paths_of("idna", IDNA, OLD_IDNA) | paths_of("rich", RICH)
    assert team.export() == PublicResult(projects=2, changed=0, removed=0)


def test_an_upload_that_exports(team: Team, wheelyard: Typed) -> None:
    """`upload --export` of a name that was public leaves no public file under it, either."""
    team.export()
    (team.folder / "wheelyard.toml").write_text(
        upstream_settings(team.upstream, 'shadow = ["idna"]')
    )
    own = private_wheel("idna", "1.0")
    (team.folder / own.filename).write_bytes(own.data)
    place = ("--config", team.folder / "wheelyard.toml", "--store", team.store)

    done = wheelyard("upload", team.folder / own.filename, *place, "--export", team.site)

    assert done.returncode == 0, done.stderr
    assert paths_of("idna", own) | paths_of("rich", RICH) < team.public_paths()
    assert not any(IDNA.sha256 in each for each in team.public_paths())


def test_without_an_upstream(team: Team) -> None:
    """After the upstream is switched off, a site is as if there had never been one."""
    team.export()
    assert team.export(enabled=False) is None
    assert team.public_paths() == set()

    left, other = tree(team.site), Team(team.folder, team.upstream)
    team.site.rename(team.folder / "before")
    assert other.export(enabled=False) is None
    assert tree(other.site) == left


def test_files_elsewhere(team: Team) -> None:
    """A site whose files are at another URL has no public packages, as they are not there."""
    team.export()
    url = "https://packages.example.com/files"
    asked = RequestedOptions(files=FileMode.LEAVE, files_url=url)

    assert team.export(asked) is None
    assert team.public_paths() == set()


def test_a_damaged_note(team: Team) -> None:
    """A site whose note of public packages is lost is brought up to date all the same."""
    team.export()
    (team.site / "wheelyard-export/public.json").write_text("{")
    (team.site / "simple/idna/index.html").write_text("changed")

    assert team.export() == PublicResult(projects=2, changed=2, removed=0)
    assert IDNA.filename in (team.site / "simple/idna/index.html").read_text()


def test_in_buckets(
    tmp_path: Path, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one bucket into another, the files of public packages are copied by Cloud Storage."""
    upstream.publish(IDNA, RICH)
    with running_fake_gcs("wheels", "site") as cloud:
        monkeypatch.setenv(EMULATOR, cloud.url)
        team = Team(tmp_path, upstream, "gs://wheels/store")
        team.publish(private_wheel("acme-core", "1.0"))
        team.prefetch(locked(IDNA, RICH))

        assert team.export(dest="gs://site") == PublicResult(projects=2, changed=2, removed=0)
        assert team.export(dest="gs://site", deny=("rich",)) == PublicResult(1, 0, 1)
        wanted = paths_of("idna", IDNA)
        wanted |= {each.removesuffix("index.html") for each in wanted}
        found = {each for each in cloud.bucket("site").names() if "idna" in each or "rich" in each}
        assert found == wanted
        assert len(cloud.log.records("rewrite")) == 6  # three wheels, each with its metadata
        copied = cloud.bucket("site").get(f"files/idna/{IDNA.sha256}/{IDNA.filename}")
        assert copied is not None
        assert copied.data == IDNA.data
