"""Prefetching: exactly the files that lock files list, and never a private name."""

import hashlib
import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.cli.conftest import WHERE, Typed
from tests.cli.conftest import wheelyard as _wheelyard
from tests.clients.harness import Sandbox
from tests.durability.serving import HEEDING
from tests.http.packages import sdist
from tests.upstream.fake_pages import Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.settings import upstream_settings
from tests.upstream.team import Team, locked
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.errors import Invalid
from wheelyard.upstream.page_lookup import StoredPages
from wheelyard.upstream.prefetch import FileState, PrefetchReport

pytestmark = pytest.mark.integration
wheelyard = _wheelyard

IDNA = public_wheel("idna", "3.10")
IDNA_SDIST = sdist("idna", "3.10")
OLD_IDNA = public_wheel("idna", "2.0")
RICH = public_wheel("rich", "14.0")


@pytest.fixture
def team(tmp_path: Path, upstream: FakeUpstream) -> Team:
    """A team whose upstream has some packages."""
    upstream.publish(IDNA, IDNA_SDIST, OLD_IDNA, RICH)
    return Team(tmp_path, upstream)


def states(report: PrefetchReport) -> dict[str, FileState]:
    """Return what has become of each digest, by its first digits."""
    return {each.file.sha256: each.state for each in report.results}


def test_exactly_the_listed_files_are_fetched(team: Team) -> None:
    """What a lock file lists comes into the store with its metadata, once, and nothing else."""
    sizes = list[int]()
    report = team.prefetch(locked(IDNA, IDNA_SDIST, RICH), received=sizes.append)

    assert {each.state for each in report.results} == {FileState.FETCHED}
    wheels = {IDNA.filename, RICH.filename}
    assert team.stored() == {*wheels, *(f"{each}.metadata" for each in wheels), IDNA_SDIST.filename}
    total = sum(len(each.data) for each in (IDNA, IDNA_SDIST, RICH))
    assert report.fetched_bytes == sum(sizes) == total

    asked = len(team.upstream.requests)
    again = team.prefetch(locked(IDNA, IDNA_SDIST, RICH))
    assert {each.state for each in again.results} == {FileState.PRESENT}
    assert len(team.upstream.requests) == asked


def test_a_dry_run_fetches_no_file(team: Team) -> None:
    """--dry-run says what would be fetched; it only keeps pages."""
    report = team.prefetch(locked(IDNA), dry_run=True)

    assert states(report) == {IDNA.sha256: FileState.FETCHED}
    assert report.fetched_bytes == len(IDNA.data)
    assert team.stored() == set()
    assert len([*team.store.glob("upstream/*/pages/idna.json.gz")]) == 1


def test_private_names_are_left_out(team: Team) -> None:
    """A private name of a lock file is listed as such, and the upstream hears nothing of it."""
    team.publish(private_wheel("acme-core", "1.0"))
    team.upstream.publish(public_wheel("acme-core", "1.0"), public_wheel("team-tools", "1.0"))
    stranger = public_wheel("acme-core", "1.0")
    text = locked(IDNA, stranger) + "team-tools==1.0\n"

    report = team.prefetch(text)

    assert report.private == ["acme-core", "team-tools"]
    assert states(report) == {IDNA.sha256: FileState.FETCHED}
    assert team.upstream.asked("acme-core") == team.upstream.asked("team-tools") == []


def test_what_the_upstream_lacks_is_said(team: Team) -> None:
    """A digest on no page, and a name that no index has, are reported; the rest is fetched."""
    other = hashlib.sha256(b"other").hexdigest()
    text = f"idna==3.10 --hash=sha256:{IDNA.sha256} --hash=sha256:{other}\n"
    report = team.prefetch(f"{text}nothing==1 --hash=sha256:{other}\n")

    missing = report.in_state(FileState.MISSING)
    assert {each.file.project for each in missing} == {"idna", "nothing"}
    assert all(each.why for each in missing)
    assert len(report.in_state(FileState.FETCHED)) == 1


def test_a_page_that_is_older_than_the_lock_file(team: Team) -> None:
    """A release that is newer than the page in the store is found all the same."""
    team.prefetch(locked(IDNA), dry_run=True)
    with team.index() as index:
        pages = StoredPages(index.files.store)
        (place,) = team.store.glob("upstream/*/pages/idna.json.gz")
        stored = pages.load(place.parent.parent.name, NormalizedName("idna"))
        assert stored is not None
        page, version = stored
        assert page is not None
        pages.save(replace(page, fetched_at=page.fetched_at - timedelta(minutes=5)), version)
    newest = public_wheel("idna", "3.11")
    team.upstream.publish(newest)

    assert states(team.prefetch(locked(newest))) == {newest.sha256: FileState.FETCHED}


def test_the_policy_applies(team: Team) -> None:
    """What the rules of [upstream] hide is not fetched, and the rule is named."""
    report = team.prefetch(locked(IDNA, RICH), deny=("rich",))
    assert states(report) == {IDNA.sha256: FileState.FETCHED, RICH.sha256: FileState.REFUSED}
    assert "rich is denied" in report.in_state(FileState.REFUSED)[0].why
    assert team.upstream.asked("rich") == []

    hidden = team.prefetch(locked(OLD_IDNA), snapshot="2001-01-01")
    assert states(hidden) == {OLD_IDNA.sha256: FileState.REFUSED}


def test_a_failure_stops_nothing_else(team: Team) -> None:
    """A file that cannot be fetched is reported, and the next prefetch goes on with it."""
    team.upstream.behave_files("rich", Fault.WRONG_BYTES)
    first = team.prefetch(locked(IDNA, RICH))
    assert states(first) == {IDNA.sha256: FileState.FETCHED, RICH.sha256: FileState.FAILED}
    assert RICH.filename not in team.stored()

    team.upstream.behave_files("rich")
    second = team.prefetch(locked(IDNA, RICH))
    assert states(second) == {IDNA.sha256: FileState.PRESENT, RICH.sha256: FileState.FETCHED}


def test_a_page_without_digests(team: Team) -> None:
    """A file whose page has no digest is found by its name, and compared when it was fetched."""
    team.upstream.behave("idna", Fault.NO_HASH)
    lock = f"""lock-version = "1.0"
created-by = "a test"
[[packages]]
name = "idna"
wheels = [{{ path = "{IDNA.filename}", hashes = {{ sha256 = "{IDNA.sha256}" }} }}]
sdist = {{ path = "{IDNA_SDIST.filename}", hashes = {{ sha256 = "{RICH.sha256}" }} }}
"""
    report = team.prefetch(lock)
    assert states(report) == {IDNA.sha256: FileState.FETCHED, RICH.sha256: FileState.MISSING}


def test_a_public_name_without_a_digest_is_refused(team: Team) -> None:
    """A requirement without a digest ends with its line, before anything is fetched."""
    with pytest.raises(Invalid, match=r"requirements.txt:2: rich has no --hash=sha256:"):
        team.prefetch(f"{locked(IDNA)}rich==14.0\n")
    assert team.upstream.requests == []


def test_the_command_has_a_status_for_each_case(team: Team, wheelyard: Typed) -> None:
    """The command says what it has brought, what not and why, with an exit status for each case."""
    (team.folder / "wheelyard.toml").write_text(upstream_settings(team.upstream))
    (team.folder / "r.txt").write_text(f"team-x==1\n-e .\n{locked(IDNA)}")
    config, lock = team.folder / "wheelyard.toml", team.folder / "r.txt"
    typed = ("upstream", "prefetch", "--config", config, "--store", team.store, "-r", lock)

    done = wheelyard(*typed)
    assert done.returncode == 0, done.stderr
    assert "1 file fetched" in done.stdout
    assert "team-x is private" in done.stdout
    assert "r.txt:2 is a folder or a repository" in done.stdout

    (team.folder / "r.txt").write_text(f"{locked(IDNA)}idna==1 --hash=sha256:{'0' * 64}")
    done = wheelyard(*typed, "--json")
    assert done.returncode == 3
    assert "idna 1 (sha256:000000000000...) was not fetched: No file on the page" in done.stderr
    found = json.loads(done.stdout)
    assert (found["fetched"], found["present"], found["missing"]) == (0, 1, 1)

    team.upstream.stop()
    (team.folder / "r.txt").write_text(locked(RICH))
    assert wheelyard(*typed).returncode == 1
    (team.folder / "r.txt").write_text("rich")
    done = wheelyard(*typed)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_ctrl_c_ends_at_once(team: Team, sandbox: Sandbox) -> None:
    """Ctrl-C ends the command while a file hangs, and the store does not list that file."""
    (team.folder / "wheelyard.toml").write_text(upstream_settings(team.upstream))
    (team.folder / "r.txt").write_text(locked(IDNA, RICH))
    gate = team.upstream.hold_files("rich")
    typed = ("upstream", "prefetch", "-r", "r.txt", "--store", "store")
    command = (sys.executable, "-c", HEEDING, *typed)
    with subprocess.Popen(command, cwd=team.folder, env=sandbox.environment() | WHERE) as process:
        until(lambda: any(each.path.endswith(".whl") for each in team.upstream.asked("rich")))
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 130
    gate.set()
    assert RICH.filename not in team.stored()
