"""Public packages in a static site: what is stored and shown, and never a private name."""

from pathlib import Path
from typing import Any

import pytest
from packaging.utils import NormalizedName

from tests.distributions import Distribution
from tests.exporting.sites import tree
from tests.fake_gcs.server import running_fake_gcs
from tests.storage.gcs.opened import EMULATOR
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.team import Team
from wheelyard.exporting.site_folder import RequestedOptions

IDNA, OLD_IDNA = public_wheel("idna", "3.10"), public_wheel("idna", "2.0")
RICH = public_wheel("rich", "14.0")
TABS = ("", "files/", "dependencies/")
PROJECT_TABS = (*TABS, "releases/", "history/")
IS_PUBLIC = '<a href="../../../project/idna/">idna</a> <span class="mark">public</span>'
"""How the page of a project that requires idna says that it is public."""


def paths_of(name: str, *wheels: Distribution) -> set[str]:
    """Return the paths of a public project in a site: pages, wheels, core metadata, releases."""
    paths = {f"simple/{name}/index.html", f"simple/{name}/index.json", f"pypi/{name}/json"}
    paths |= {f"project/{name}/{tab}index.html" for tab in PROJECT_TABS}
    for wheel in wheels:
        path = f"files/{name}/{wheel.sha256}/{wheel.filename}"
        version = wheel.filename.split("-")[1]
        paths |= {path, f"{path}.metadata"}
        paths |= {f"project/{name}/{version}/{tab}index.html" for tab in TABS}
    return paths


@pytest.fixture
def team(tmp_path: Path, upstream: FakeUpstream) -> Team:
    """A team with a private package, and two public ones in its store."""
    upstream.publish(IDNA, OLD_IDNA, RICH)
    team = Team(tmp_path, upstream)
    team.publish(private_wheel("acme-core", "1.0"))
    team.keep(IDNA, RICH)
    return team


def test_the_site_has_what_is_stored(team: Team) -> None:
    """A site has the public files that the store has, with their pages, and asks nobody."""
    asked, stored = len(team.upstream.requests), team.stored()

    first = team.export()

    assert (first.projects, first.total, first.failed) == (3, 3, ())
    assert team.public_paths() == paths_of("idna", IDNA) | paths_of("rich", RICH)
    wheel = team.site / "files/idna" / IDNA.sha256 / IDNA.filename
    assert wheel.read_bytes() == IDNA.body
    assert "2.0" not in (team.site / "simple/idna/index.json").read_text()
    assert "idna" not in (team.site / "simple/index.html").read_text()
    assert (len(team.upstream.requests), team.stored()) == (asked, stored)
    before = tree(team.site)

    assert team.export().projects == 0
    assert tree(team.site) == before
    team.keep(OLD_IDNA)
    assert team.export().projects == 1
    assert paths_of("idna", IDNA, OLD_IDNA) < team.public_paths()
    team.upstream.withdraw(OLD_IDNA.filename)
    team.keep(IDNA, page_ttl=0)
    assert team.export().projects == 1
    assert team.public_paths() == paths_of("idna", IDNA) | paths_of("rich", RICH)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "left"),
    [
        *(({"deny": ("rich",)}, paths_of("idna", IDNA)), ({"snapshot": "2001-01-01"}, set())),
        *(({"private": ("rich",)}, paths_of("idna", IDNA)), ({"enabled": False}, set())),
        ({"requested": RequestedOptions(files_url="https://packages.example.com/files")}, set()),
    ],
    ids=["denied", "too young", "private", "no upstream", "files elsewhere"],
)
def test_what_is_hidden_goes(team: Team, more: dict[str, Any], left: set[str]) -> None:
    """What the rules hide now is gone after the next export, and comes back with the rules."""
    team.export()

    team.export(**more)

    assert team.public_paths() == left
    team.export(RequestedOptions(files_url=""))
    assert team.public_paths() == paths_of("idna", IDNA) | paths_of("rich", RICH)


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"private": ("rich",)}, paths_of("idna", IDNA)),
        ({"deny": ("rich",)}, paths_of("idna", IDNA)),
        ({"snapshot": "2001-01-01"}, set()),
    ],
    ids=["private", "denied", "too young"],
)
def test_what_is_hidden_is_not_exported(team: Team, more: dict[str, Any], left: set[str]) -> None:
    """A new site has nothing of a stored package whose name or files the rules hide."""
    result = team.export(**more)

    assert (team.public_paths(), result.failed) == (left, ())


def test_what_the_upstream_has_no_more_is_not_exported(team: Team) -> None:
    """A new site has nothing of a stored package whose page the upstream index has no more."""
    team.upstream.drop("rich")
    with team.index(page_ttl=0) as index:
        assert index.upstream is not None
        assert index.upstream.pages.ask_if_due(NormalizedName("rich")) is None

    team.export()

    assert team.public_paths() == paths_of("idna", IDNA)


def test_a_damaged_public_package_leaves_the_others(team: Team) -> None:
    """A public package whose metadata the store has lost is named, and all others are exported."""
    (metadata,) = team.store.glob(f"upstream/*/files/idna/*/{IDNA.filename}.metadata")
    metadata.chmod(0o600)
    metadata.write_bytes(bytes(metadata.stat().st_size))

    (message,) = team.export().failed

    assert "this file of idna is not in it. Ask the operator" in message
    assert paths_of("rich", RICH) < team.public_paths()
    assert "idna" not in (team.site / "simple/index.json").read_text()
    team.keep(IDNA)
    assert team.export().failed == ()
    assert team.public_paths() == paths_of("idna", IDNA) | paths_of("rich", RICH)


def test_a_licence_is_looked_up_for_each_page(team: Team) -> None:
    """Pages that have to wait for the licence of a file are those of an index without the rule."""
    result = team.export(blocked_licenses=("AGPL-3.0-only",))

    assert (result.projects, result.failed) == (3, ())
    assert team.public_paths() == paths_of("idna", IDNA) | paths_of("rich", RICH)


def test_a_private_name_wins(team: Team) -> None:
    """A name that has become private has its own page, and no public file is left under it."""
    team.publish(private_wheel("acme-core", "2.0", "Requires-Dist: idna"))
    team.export()
    dependencies = team.site / "project/acme-core/dependencies/index.html"
    assert IS_PUBLIC in dependencies.read_text()
    own = private_wheel("idna", "1.0")
    team.publish(own)

    assert team.export().total == 3
    assert IS_PUBLIC not in dependencies.read_text()
    assert paths_of("idna", own) < team.public_paths()
    assert not any(IDNA.sha256 in path for path in team.public_paths())
    assert IDNA.filename not in (team.site / "simple/idna/index.html").read_text()


@pytest.mark.integration
def test_files_are_copied_from_bucket_to_bucket(
    tmp_path: Path, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one bucket into another, the files of public packages are copied by Cloud Storage."""
    upstream.publish(IDNA)
    with running_fake_gcs("wheels", "site") as cloud:
        monkeypatch.setenv(EMULATOR, cloud.url)
        team = Team(tmp_path, upstream, "gs://wheels/store")
        team.keep(IDNA)

        assert team.export(dest="gs://site").total == 1
        wanted = paths_of("idna", IDNA)
        wanted |= {path.removesuffix("index.html") for path in wanted}
        bucket = cloud.bucket("site")
        assert {name for name in bucket.names() if "idna" in name} == wanted
        assert len(cloud.log.records("rewrite")) == 2  # a wheel and its metadata
        assert bucket.find(f"files/idna/{IDNA.sha256}/{IDNA.filename}").data == IDNA.body
