"""Offline: what was brought into the store is served, and no connection is opened."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import WHERE, Typed
from tests.cli.conftest import wheelyard as _wheelyard
from tests.clients.harness import REPOSITORY, Sandbox
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import upstream_settings
from tests.upstream.team import Team

pytestmark = pytest.mark.integration
wheelyard = _wheelyard

IDNA = public_wheel("idna", "3.10")
NEW_IDNA = public_wheel("idna", "3.11")
PAGE = "/simple/idna/"
FILE = f"/files/idna/{IDNA.sha256}/{IDNA.filename}"
NEW_FILE = f"/files/idna/{NEW_IDNA.sha256}/{NEW_IDNA.filename}"
UNKNOWN = "/simple/stranger/"
OWN = "/simple/team-x/"


def test_no_connection_is_opened(tmp_path: Path, upstream: FakeUpstream, sandbox: Sandbox) -> None:
    """Offline, pages and files come from the store at any age, and without a question to DNS."""
    upstream.publish(IDNA, NEW_IDNA)
    team = Team(tmp_path, upstream)
    team.keep(IDNA)
    upstream.stop()
    paths = (PAGE, FILE, f"{FILE}.metadata", NEW_FILE, UNKNOWN, OWN)

    child = (sys.executable, "-m", "tests.upstream.offline_child")
    done = subprocess.run(
        (*child, tmp_path, upstream.url, upstream.file_host, *paths),
        cwd=REPOSITORY,
        env=sandbox.environment() | WHERE,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    answers = found["paths"]
    statuses = {path: status for path, (status, _) in answers.items()}
    assert statuses == dict.fromkeys(paths, 200) | {NEW_FILE: 503, UNKNOWN: 503}
    listed = json.loads(answers[PAGE][1])["files"]
    assert [each["filename"] for each in listed] == [IDNA.filename]
    assert answers[FILE][1].encode("latin-1") == IDNA.body
    for path in (NEW_FILE, UNKNOWN):
        assert "install it once through this store" in answers[path][1]
    assert found["uploads"] == {
        "team-x": "",
        "idna": "public_name",
        "stranger": "upstream_unavailable",
    }


def test_why_names_missing_files(team: Team, wheelyard: Typed) -> None:
    """Offline, `why` says which files the store lacks."""
    team.upstream.publish(IDNA, NEW_IDNA)
    team.keep(IDNA)
    settings = team.folder / "offline.toml"
    settings.write_text(upstream_settings(team.upstream, "offline = true"))

    done = wheelyard("upstream", "why", "idna", "--store", team.store, "--config", settings)

    assert (done.returncode, "1 of 2 files shown" in done.stdout) == (0, True)
    assert f"the store lacks {NEW_IDNA.filename}" in done.stdout


@pytest.fixture
def team(tmp_path: Path, upstream: FakeUpstream) -> Team:
    """A team with an empty store."""
    return Team(tmp_path, upstream)
