"""Public packages in a static site: what is stored and shown, and never a private name."""

from pathlib import Path
from random import Random

import pytest

from tests.exporting.sites import tree
from tests.fake_gcs.server import running_fake_gcs
from tests.http.in_process import in_process
from tests.storage.gcs.opened import EMULATOR
from tests.upstream.fake_pages import JSON
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.settings import upstream_section
from tests.upstream.team import Team, locked
from wheelyard.exporting.export import ExportResult
from wheelyard.exporting.manifest import RequestedOptions
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.local import LocalStore

pytestmark = pytest.mark.integration

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


def counts(result: ExportResult) -> tuple[int, int]:
    """Return how many projects were exported, and how many the site has."""
    assert result.failed == ()
    return result.projects, result.total


def test_the_site_has_what_is_stored(team: Team) -> None:
    """A site has the public files that the store has, with their pages, and asks nobody."""
    asked, stored = len(team.upstream.requests), team.stored()

    assert counts(team.export()) == (3, 3)
    assert team.public_paths() == paths_of("idna", IDNA) | paths_of("rich", RICH)
    wheel = team.site / "files/idna" / IDNA.sha256 / IDNA.filename
    assert wheel.read_bytes() == IDNA.data
    assert "2.0" not in (team.site / "simple/idna/index.json").read_text()
    assert "idna" not in (team.site / "simple/index.html").read_text()
    assert (len(team.upstream.requests), team.stored()) == (asked, stored)
    before = tree(team.site)

    assert counts(team.export()) == (0, 3)
    assert tree(team.site) == before
    team.prefetch(locked(OLD_IDNA))
    assert counts(team.export()) == (1, 3)
    assert paths_of("idna", IDNA, OLD_IDNA) < team.public_paths()


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


def test_what_is_hidden_goes(team: Team) -> None:
    """What the rules hide now, or the upstream has removed, is gone after the next export."""
    team.prefetch(locked(OLD_IDNA))
    team.export()

    team.upstream.withdraw(OLD_IDNA.filename)
    team.prefetch(locked(IDNA), page_ttl=0)
    assert team.export(deny=("rich",)).total == 2
    assert team.public_paths() == paths_of("idna", IDNA)

    assert team.export(snapshot="2001-01-01").total == 1
    assert team.public_paths() == set()


def test_a_private_name_wins(team: Team) -> None:
    """A name that has become private has its own page, and no public file is left under it."""
    team.export()
    own = private_wheel("idna", "1.0")
    team.publish(own)

    assert team.export().total == 3
    assert paths_of("idna", own) < team.public_paths()
    assert not any(IDNA.sha256 in path for path in team.public_paths())
    assert IDNA.filename not in (team.site / "simple/idna/index.html").read_text()

    assert team.export(private=("rich",)).total == 2
    assert {path.split("/")[1] for path in team.public_paths()} == {"idna"}


def test_without_an_upstream(team: Team) -> None:
    """Without an upstream, or with files elsewhere, a site has no public packages."""
    team.export()
    team.export(enabled=False)
    assert team.public_paths() == set()

    team.export()
    assert team.public_paths() != set()
    team.export(RequestedOptions(files_url="https://packages.example.com/files"))
    assert team.public_paths() == set()


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

        assert counts(team.export(dest="gs://site")) == (3, 3)
        assert team.export(dest="gs://site", deny=("rich",)).total == 2
        wanted = paths_of("idna", IDNA)
        wanted |= {each.removesuffix("index.html") for each in wanted}
        found = {each for each in cloud.bucket("site").names() if "idna" in each or "rich" in each}
        assert found == wanted
        assert len(cloud.log.records("rewrite")) == 6  # three wheels, each with its metadata
        copied = cloud.bucket("site").get(f"files/idna/{IDNA.sha256}/{IDNA.filename}")
        assert copied is not None
        assert copied.data == IDNA.data
