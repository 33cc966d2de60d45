"""The stores that released versions have made: what this version sees in them, and does to them."""

from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from tests.cli.conftest import Typed
from tests.cli.conftest import wheelyard as _wheelyard
from tests.distributions import make_wheel
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.upgrades.kept_stores import (
    SETTINGS,
    KeptAnswers,
    KeptStore,
    answers_of_this_version,
    kept_versions,
    missing,
    read_kept_store,
)
from tools.store_fixture import make_store
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.project import Status
from wheelyard.settings.sections import ServerSettings
from wheelyard.storage.base import Store
from wheelyard.storage.local import LocalStore

CHANGES = "/api/v1/changes?since=0"
SETTINGS_FILE = """
[upstream]
enabled = true
offline = true
url = "https://public.example/simple/"
label = "public"
private = ["team-*"]
file_hosts = ["files.example"]
"""
wheelyard = _wheelyard


@pytest.fixture(params=kept_versions(), scope="module")
def kept_store(request: pytest.FixtureRequest) -> KeptStore:
    """The store of a version."""
    return read_kept_store(request.param)


def faults(folder: Path, kept: KeptStore, store: Store, *, read_only: bool = False) -> list[str]:
    """Return what of the kept answers is not in those of this version."""
    settings = replace(SETTINGS, server=ServerSettings(read_only=read_only))
    wanted, seen = kept.seen, answers_of_this_version(folder, store, kept.seen, settings)
    # the last commit has no serial yet, and a server that writes nothing gives it none
    unlike = {"/api/v1/changes?since=0"} if read_only else set[str]()
    answers = {path: body for path, body in wanted.answers.items() if path not in unlike}
    return [
        *missing(answers, seen.answers),
        *missing(wanted.files, seen.files),
        *missing(wanted.tokens, seen.tokens),
    ]


@pytest.mark.parametrize("read_only", [False, True])
def test_everything_in_it_is_seen(
    kept_store: KeptStore, tmp_path: Path, *, read_only: bool
) -> None:
    """Every page, file, right, token and journal of an older version is answered as it was."""
    assert faults(tmp_path, kept_store, kept_store.in_memory(), read_only=read_only) == []


def test_it_is_changed(kept_store: KeptStore, tmp_path: Path) -> None:
    """An older store is published to, and takes each other change; its check finds nothing."""
    harness = IndexHarness(tmp_path, other=kept_store.in_memory())
    assert harness.check().problems == harness.check().repaired == []
    index = harness.index

    harness.upload(make_wheel("demo", "4.0"))
    harness.upload(make_wheel("brand_new"))
    index.lifecycle.set_status(ALICE, parse_name("kept-in"), Status.ACTIVE, "clean")
    index.names.release(ALICE, parse_name("reserved"), "")
    index.tokens.create(TokenRequest(name="new"), by="local:alice")
    (old,) = (record for record in index.tokens.all() if record.name == "ci")
    index.tokens.revoke(old.id, by="local:alice")
    index.server.access.edit_group("add", "team", ["user:new@acme.dev"], "local:alice")

    findings = harness.check(sweep=True)
    assert findings.problems == findings.repaired == []
    changed = {change.project for change in harness.opened(4).changes.since(0)[0]}
    assert {"brand-new", "kept-in", "worn"} <= changed


@pytest.mark.integration
def test_commands(kept_store: KeptStore, tmp_path: Path, wheelyard: Typed) -> None:
    """The commands check, publish to, copy with credentials and export a store of a folder."""
    store = kept_store.in_folder(tmp_path / "store")
    (tmp_path / "wheelyard.toml").write_text(SETTINGS_FILE)
    new = make_wheel("demo", "5.0")
    (tmp_path / new.filename).write_bytes(new.body)
    common, copy = ("--config", tmp_path / "wheelyard.toml"), tmp_path / "copy"

    for command in (
        ("check", "--store", store),
        ("copy", "--with-credentials", store, copy, *common),
        ("check", "--store", copy),
        ("upload", tmp_path / new.filename, "--store", store),
        ("export", tmp_path / "site", "--store", store, *common),
    ):
        done = wheelyard(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)

    assert "5.0" in (tmp_path / "site/simple/demo/index.html").read_text()
    copied = LocalStore(copy, Random(1))
    # what can be fetched again from an upstream index is not copied, and serials are new
    private = KeptAnswers(
        tokens=kept_store.seen.tokens,
        answers={
            path: answer
            for path, answer in kept_store.seen.answers.items()
            if path not in {CHANGES, "/simple/idna/"}
        },
        files={path: sha for path, sha in kept_store.seen.files.items() if "/idna/" not in path},
    )
    wanted = KeptStore(kept_store.version, kept_store.objects, private)
    assert faults(tmp_path, wanted, copied) == []


def test_a_release_makes_the_same_store_twice() -> None:
    """Two runs of the tool of a release write the same bytes."""
    assert make_store() == make_store()
