"""`wheelyard upstream why`, `approve`, `block` and `decisions`, as they are typed."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.cli.conftest import Typed
from tests.cli.conftest import wheelyard as _wheelyard
from tests.clients.harness import Sandbox
from tests.http_server import WHEELYARD
from tests.upstream.fake_pages import FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.pylock import HEAD, foreign, locked
from tests.upstream.settings import upstream_settings
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.api.public_package_operations import DecidedPackage
from wheelyard.cli import upstream_decision_commands
from wheelyard.cli.upstream_decision_commands import split_packages
from wheelyard.model.distribution_filename import Sha256
from wheelyard.model.public_packages import ProjectDecisions
from wheelyard.upstream.decisions import Deciding
from wheelyard.upstream.pages import UpstreamPages

wheelyard = _wheelyard


@pytest.fixture
def option_and_store(sandbox: Sandbox, upstream: FakeUpstream) -> tuple[str, Path]:
    """The option that names the settings of an index with a cooldown, and a store beside them."""
    lately = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251 - the command's clock
    upstream.publish(FakeFile.of(public_wheel("requests", "1.0")))
    upstream.publish(FakeFile.of(public_wheel("requests", "2.0"), lately))
    upstream.behave("requests", Fault.ALTERNATE_LOCATIONS)
    settings = sandbox.folder / "wheelyard.toml"
    store = f'\n[store]\nlocation = "{sandbox.folder / "store"}"\n'
    settings.write_text(upstream_settings(upstream, "cooldown_days = 7") + store)
    return "--config", settings


def test_from_hidden_to_shown(wheelyard: Typed, option_and_store: tuple[str, Path]) -> None:
    """`why` says what hides a version and which command shows it; then that command does."""
    wheelyard("token", "create", "ci", *option_and_store)
    why = ("upstream", "why", "Requests")
    hidden = wheelyard(*why, "2.0", *option_and_store)
    lines = hidden.stdout.splitlines()
    assert (hidden.returncode, lines[0]) == (1, "requests: upstream")
    assert lines[1].startswith("  page of public-")
    assert any("alternate location, never followed: https://" in line for line in lines)
    assert lines[-3] == "hidden  requests-2.0-py3-none-any.whl"
    assert lines[-2].startswith("        cooldown: requests 2.0 appeared on ")
    assert "'wheelyard upstream approve requests 2.0" in lines[-2]
    command = f"wheelyard upstream request --reason WHY requests 2.0 --config {option_and_store[1]}"
    assert lines[-1] == f"to ask for it: {command}"

    done = wheelyard(
        "upstream", "approve", "requests", "2.0", "--reason", "a fix", *option_and_store
    )
    new = public_wheel("requests", "2.0")
    listed = f"  {new.filename}  sha256:{new.sha256}\n"
    assert (done.returncode, done.stdout) == (0, f"requests 2.0: approved\n{listed}")
    assert done.stderr == ""
    shown = wheelyard(*why, *option_and_store)
    assert shown.returncode == 0
    assert "  2 of 2 files shown\n" in shown.stdout
    assert "  approved requests 2.0, 1 file (a fix), by local:" in shown.stdout


def test_a_command_stores_the_page_that_it_has_fetched(
    wheelyard: Typed, option_and_store: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command ends only after the page that it has fetched is stored."""
    wheelyard("token", "create", "ci", *option_and_store)
    is_waited_for = Event()
    save_later, flush = UpstreamPages.save_later, UpstreamPages.flush

    def save_slowly(pages: UpstreamPages, save: Callable[[], None]) -> None:
        save_later(pages, lambda: save() if is_waited_for.wait(TIMEOUT_SECONDS) else None)

    def wait_for_saves(pages: UpstreamPages) -> None:
        is_waited_for.set()
        flush(pages)

    monkeypatch.setattr(UpstreamPages, "save_later", save_slowly)
    monkeypatch.setattr(UpstreamPages, "flush", wait_for_saves)

    done = wheelyard("upstream", "why", "requests", *option_and_store)

    assert "  1 of 2 files shown\n" in done.stdout
    store = option_and_store[1].parent / "store"
    assert [path.name for path in store.glob("upstream/*/pages/*")] == ["requests.json.gz"]


def test_a_blocked_version_outlives_the_approval_of_its_project(
    wheelyard: Typed, option_and_store: tuple[str, Path], upstream: FakeUpstream
) -> None:
    """A version stays blocked when its project is approved; a blocked project is not asked for."""
    wheelyard("token", "create", "ci", *option_and_store)
    wheelyard("upstream", "block", "requests", "1.0", *option_and_store)
    again = wheelyard("upstream", "approve", "requests", *option_and_store)
    assert again.stdout == "requests: approved, also files and versions that are added later\n"
    assert "still hidden: 2 of 2 files (blocked, cooldown)" in again.stderr
    assert "still blocked, until they are approved by name: requests 1.0" in again.stderr
    asked = len(upstream.asked("requests"))
    blocked = wheelyard(
        "upstream", "block", "requests", "--reason", "taken over", *option_and_store
    )
    assert (blocked.returncode, blocked.stdout) == (0, "requests: blocked\n")
    refused = json.loads(
        wheelyard("upstream", "why", "requests", "--json", *option_and_store).stdout
    )
    assert (refused["answer"], refused["reasons"][0]["code"]) == ("refused", "blocked")
    assert len(upstream.asked("requests")) == asked


def test_an_approval_that_is_not_enough(
    wheelyard: Typed, option_and_store: tuple[str, Path]
) -> None:
    """What still hides an approved version is said at once."""
    wheelyard("token", "create", "ci", *option_and_store)
    snapshot = {"WHEELYARD_UPSTREAM_SNAPSHOT": "2020-01-31"}

    done = wheelyard("upstream", "approve", "requests", "2.0", *option_and_store, **snapshot)

    assert (done.returncode, done.stdout[:23]) == (0, "requests 2.0: approved\n")
    assert "still hidden: requests 2.0 appeared on" in done.stderr


def test_a_version_whose_project_is_blocked_meanwhile(
    wheelyard: Typed, option_and_store: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who approves a version just when its project is blocked is told that it stays hidden."""
    wheelyard("token", "create", "ci", *option_and_store)
    approve = Deciding.approve

    # as a block that shares the commit of the approval
    def approve_and_block(
        deciding: Deciding, project: NormalizedName, version: Version, *_: object
    ) -> ProjectDecisions:
        approve(deciding, project, version, "")
        return deciding.block(project, None, "")

    monkeypatch.setattr(Deciding, "approve", approve_and_block)
    done = wheelyard("upstream", "approve", "requests", "2.0", *option_and_store)

    assert (done.returncode, done.stdout) == (0, "requests 2.0: approved\n")
    assert "still hidden: " in done.stderr


def test_private_and_unknown_names_are_told_apart(
    wheelyard: Typed, option_and_store: tuple[str, Path], upstream: FakeUpstream
) -> None:
    """A private name is never asked for, an unknown one says so, and a broken database, too."""
    wheelyard("token", "create", "ci", *option_and_store)
    private = wheelyard("upstream", "why", "team-x", *option_and_store)
    assert (private.returncode, upstream.asked("team-x")) == (1, [])
    assert "team-x is private, because it matches a pattern" in private.stdout
    assert private.stdout.endswith("  it lists no file\n")
    unknown = wheelyard("upstream", "why", "nothing", *option_and_store)
    assert unknown.stdout.startswith("nothing: unknown\n  No upstream index has it.")
    missing = {"WHEELYARD_UPSTREAM_OSV": "missing"}
    assert wheelyard("upstream", "decisions", *option_and_store, **missing).returncode == 0
    broken = wheelyard("upstream", "why", "requests", *option_and_store, **missing)
    assert (broken.returncode, "upstream.osv: " in broken.stderr) == (1, True)
    assert wheelyard("upstream", "approve", "a/b", *option_and_store).returncode == 1


def test_links_that_cannot_be_used_are_named(
    wheelyard: Typed, option_and_store: tuple[str, Path], upstream: FakeUpstream
) -> None:
    """`why` counts the links of a page that cannot be used, and names them with the reason."""
    wheelyard("token", "create", "ci", *option_and_store)
    upstream.behave("requests", Fault.FOREIGN_FILE)
    lines = wheelyard("upstream", "why", "requests", *option_and_store).stdout.splitlines()
    named = "  acme_core-99.0-py3-none-any.whl is not a file of requests, by its name"
    assert lines[-2:] == ["  1 link of the page cannot be used:", named]

    upstream.publish(FakeFile(filename="leo-0-variants.json", body=b"x", project="leo"))
    lost = wheelyard("upstream", "why", "leo", *option_and_store)
    assert lost.returncode == 1
    assert "  the upstream lists no file that can be used\n" in lost.stdout
    assert (
        "  leo-0-variants.json is about wheel variants, and no wheel has a label\n" in lost.stdout
    )


def test_a_lock_file_is_approved(
    wheelyard: Typed, option_and_store: tuple[str, Path], upstream: FakeUpstream, sandbox: Sandbox
) -> None:
    """What a lock file lists is approved by one commit; what is blocked or private is named."""
    wheelyard("token", "create", "ci", *option_and_store)
    wheelyard("upstream", "block", "leftpad", "--reason", "taken over", *option_and_store)
    old, new = public_wheel("requests", "1.0"), public_wheel("requests", "2.0")
    lock = sandbox.folder / "pylock.toml"
    private = locked("team-x", "1", "a" * 64)
    lock.write_text(HEAD + locked("requests", "2.0", new.sha256) + private + foreign("tool"))
    more = sandbox.folder / "pylock.more.toml"
    more.write_text(HEAD + locked("requests", "1.0", old.sha256) + locked("leftpad", "1", "b" * 64))
    approve = ("upstream", "approve", "-r", lock, "--reason", "T-7", *option_and_store)
    asked = len(upstream.requests)

    dry = wheelyard(*approve, "--dry-run")
    first, again = wheelyard(*approve), wheelyard(*approve)

    left = f"left out: {lock}:packages[2] is a repository, which no index has\n"
    left += "left out: team-x is private, and never asked for elsewhere\n"
    would = f"requests 2.0: would be approved, 1 file\n{left}1 version would be approved"
    assert (dry.returncode, dry.stdout.startswith(would), dry.stderr) == (0, True, "")
    assert first.stdout == (
        f"requests 2.0: approved, 1 file\n{left}"
        "1 version approved, 0 already, 1 private name left out, 0 blocked\n"
    )
    assert again.stdout == (
        f"{left}0 versions approved, 1 already, 1 private name left out, 0 blocked\n"
    )
    assert len(upstream.requests) == asked
    assert wheelyard("upstream", "why", "requests", "2.0", *option_and_store).returncode == 0

    both = wheelyard(*approve, "-r", more, "--json")
    summary = json.loads(both.stdout)
    assert (both.returncode, summary["foreign"]) == (3, [f"{lock}:packages[2]"])
    assert [each["version"] for each in summary["decided"]] == ["1.0"]
    assert "still blocked: leftpad, by local:" in both.stderr
    assert "taken over" in both.stderr
    assert "--unblock approves also what is blocked" in both.stderr
    unblocked = wheelyard(*approve, "-r", more, "--unblock")
    assert (unblocked.returncode, "leftpad 1: approved" in unblocked.stdout) == (0, True)
    history = wheelyard("upstream", "decisions", "--history", *option_and_store).stdout.splitlines()
    assert [line.partition("Z")[0].split("\t")[2] for line in history] == [
        "blocked leftpad (taken over)",
        "approved requests 2.0, 1 file (T-7)",
        "approved requests 1.0, 1 file (T-7)",
        "approved leftpad 1, 1 file (T-7)",
    ]


def test_what_approve_refuses(wheelyard: Typed, option_and_store: tuple[str, Path]) -> None:
    """A file that cannot be approved as it is, and options that do not go together, say so."""
    settings = option_and_store[1]
    wheelyard("token", "create", "ci", *option_and_store)
    lock = settings.with_name("requirements.txt")
    lock.write_text("requests==2.0\n")
    for wrong, status, message in (
        (["-r", lock], 1, f"{lock}:1: this is not a pylock.toml. Give a pylock.toml: 'uv export"),
        (["-r", settings], 1, "'pip lock -r requirements.txt' writes one."),
        (["-r", lock.with_name("none")], 1, "cannot be read: No such file"),
        ([], 2, "Name a PROJECT, or lock files with -r."),
        (["requests", "--dry-run"], 2, "--unblock and --dry-run go with -r."),
        (["requests", "-r", lock], 2, "-r names all of it"),
    ):
        done = wheelyard("upstream", "approve", *wrong, *option_and_store)
        assert (done.returncode, message in done.stderr) == (status, True), done.stderr


@pytest.mark.integration
def test_a_lock_file_comes_through_a_pipe(sandbox: Sandbox) -> None:
    """`-r -` reads a pylock.toml from standard input."""
    command = [*WHEELYARD, "upstream", "approve", "-r", "-", "--store", "memory:"]
    for text, expected in (
        ("", "wheelyard: standard input:1: this is not a pylock.toml."),
        (f"{HEAD}packages = []", "wheelyard: standard input:1: it lists no package of an index."),
    ):
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, cwd=sandbox.folder
        )
        assert (done.stdout + done.stderr).startswith(expected)


@pytest.mark.integration
def test_a_warning_of_a_library_is_one_of_the_command(sandbox: Sandbox) -> None:
    """What a library warns of, such as a newer pylock.toml, begins as each warning does."""
    lock = "lock-version = '1.9'\ncreated-by = 'a test'\npackages = []\n"
    command = [*WHEELYARD, "upstream", "approve", "-r", "-", "--store", "memory:"]
    done = subprocess.run(
        command, input=lock, capture_output=True, text=True, check=False, cwd=sandbox.folder
    )
    first, second = done.stderr.splitlines()
    assert first == "wheelyard: warning: pylock minor version 1.9 is not supported"
    assert second.startswith("wheelyard: standard input:1: it lists no package")


def test_a_large_lock_is_approved_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More files than a server takes in one request are sent in several, each package whole."""
    monkeypatch.setattr(upstream_decision_commands, "MAX_FILES", 3)
    digest = Sha256("a" * 64)
    packages = [
        DecidedPackage(NormalizedName(name), "1", (digest,) * count)
        for name, count in (("a", 1), ("b", 2), ("c", 5), ("d", 1))
    ]
    parts = [[package.project for package in part] for part in split_packages(packages)]
    assert parts == [["a", "b"], ["c"], ["d"]]


def test_a_database_that_has_shrunk(
    wheelyard: Typed, option_and_store: tuple[str, Path], tmp_path: Path
) -> None:
    """A database that has lost entries is refused, says the command for it, and is accepted so."""
    wheelyard("token", "create", "ci", *option_and_store)
    osv = tmp_path / "osv.json"
    given = {"WHEELYARD_UPSTREAM_OSV": str(osv)}
    none = wheelyard("upstream", "accept-osv", *option_and_store)
    assert (none.returncode, "upstream.osv is not set" in none.stderr) == (1, True)
    osv.write_text(json.dumps([{"id": f"MAL-{number}"} for number in range(10)]))
    assert "osv" not in wheelyard("upstream", "why", "requests", *option_and_store, **given).stderr
    osv.write_text(json.dumps([{"id": "MAL-1"}, None]))
    refused = wheelyard("upstream", "why", "requests", *option_and_store, **given)
    assert "upstream accept-osv" in refused.stdout + refused.stderr

    done = wheelyard("upstream", "accept-osv", *option_and_store, **given)

    assert (done.returncode, done.stdout) == (
        0,
        "accepted: 1 usable entries, 10 before; skipped: 1\n",
    )
    after = wheelyard("upstream", "why", "requests", *option_and_store, **given)
    assert "accept-osv" not in after.stdout + after.stderr
    assert "malformed and skipped: 1" in after.stdout + after.stderr
