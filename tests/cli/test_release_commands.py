"""`wheelyard delete` and its like, for releases that several indexes of a store have."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import click
import pytest
from msgspec.structs import replace

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.index_tables import put_tables_at, toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness, objects
from tests.operations.two_indexes import TwoIndexes
from wheelyard.api.local_api import LocalApi
from wheelyard.catalog import keys
from wheelyard.cli import output, project_commands, release_commands
from wheelyard.settings.sections import StoreSettings
from wheelyard.storage.base import Store
from wheelyard.storage.local import LocalStore

WHEEL, SDIST, TWO = make_wheel(), make_sdist(), make_wheel(version="2.0")
REMOVE = ("delete", "demo", f"sha256:{WHEEL.sha256}", "--now")
EVERYWHERE = (*REMOVE, "--everywhere")


@pytest.fixture
def type_command(wheelyard: Typed, sandbox: Sandbox) -> Typed:
    """Type commands for a store whose indexes dev and prod have a release of one file."""
    (sandbox.folder / "wheelyard.toml").write_text('[store]\nlocation = "there"\n')
    indexes = [{"name": name} for name in ("dev", "prod", "lab")]
    put_tables_at(sandbox.folder / "there", toml_of(index=indexes))
    upload(wheelyard, sandbox, WHEEL)
    promote(wheelyard, "prod")
    return wheelyard


def upload(
    wheelyard: Typed, sandbox: Sandbox, distribution: Distribution, index: str = "dev"
) -> None:
    """Publish a distribution in dev, or in another index."""
    distribution.write(sandbox.folder)
    assert wheelyard("upload", distribution.filename, "--index", index).returncode == 0


def promote(wheelyard: Typed, to: str) -> None:
    """Promote the release from dev to another index."""
    assert wheelyard("promote", "demo", "1.0", "--from", "dev", "--to", to).returncode == 0


def lines(would: str = "", *indexes: str) -> str:
    """Return what is printed of a removal from indexes."""
    return "".join(f"demo: {would}removed from {index}  {WHEEL.filename}\n" for index in indexes)


def kept_objects(store: Store) -> dict[str, bytes]:
    """Return every object of a store but those that are made from others again."""
    return {key: body for key, body in objects(store) if keys.DERIVED not in key}


@pytest.mark.parametrize("asked", [(), ("--index", "dev"), ("--index", "lab")])
def test_a_removal_from_all_indexes_names_them(type_command: Typed, asked: tuple[str, ...]) -> None:
    """`delete --everywhere` names each file and each index, before and after it removes them."""
    trial = type_command(*EVERYWHERE, *asked, "--dry-run")
    done = type_command(*EVERYWHERE, *asked, "--yes")
    again = type_command(*EVERYWHERE, *asked, "--yes")

    assert trial.stdout == lines("would be ", "dev", "prod")
    assert done.stdout == lines("", "dev", "prod")
    assert "the bytes are gone from the store" in done.stderr
    assert (again.stdout, again.returncode) == ("demo: already removed\n", 0)
    assert type_command("list", "demo", "--index", "prod").stdout == ""


def test_the_digest_that_a_deletion_prints_removes_the_bytes(
    type_command: Typed, sandbox: Sandbox
) -> None:
    """`delete` and `restore` print the digest of each deleted file, which `--now` takes."""
    upload(type_command, sandbox, SDIST, "lab")
    of_lab = ("--index", "lab")

    deleted = type_command("delete", "demo", "1.0", "--yes", *of_lab)

    line = f"demo 1.0: deleted  {SDIST.filename}  sha256:{SDIST.sha256}\n"
    assert deleted.stdout == line
    digest = f"sha256:{SDIST.sha256}"
    assert f"'wheelyard delete demo {digest} --now --index lab'" in deleted.stderr
    assert type_command("restore", "demo", *of_lab).stdout.rstrip("\n").endswith(f"\t{digest}")
    removed = type_command("delete", "demo", digest, "--now", "--yes", *of_lab)
    assert removed.stdout == f"demo: removed from lab  {SDIST.filename}\n"
    assert type_command("restore", "demo", *of_lab).stdout == ""


def test_what_a_killed_removal_has_left_is_counted(type_command: Typed, sandbox: Sandbox) -> None:
    """`delete --now` says how many objects it removes that no index has any more."""
    assert type_command(*EVERYWHERE, "--yes").returncode == 0
    left = sandbox.folder / "there" / "files" / "demo" / WHEEL.sha256 / WHEEL.filename
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(WHEEL.body)

    trial = type_command(*REMOVE, "--dry-run")
    done = type_command(*REMOVE, "--yes")

    assert trial.stdout == "demo: would be removed  1 object that no index has\n"
    assert done.stdout == "demo: removed  1 object that no index has\n"
    assert not left.exists()


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("demo 1.0 --now --yes", "--now takes the digest of a file, and nothing else"),
        ("demo --versions <2 --now --yes", "--now takes the digest of a file, and nothing else"),
        ("demo --now --yes", "'wheelyard list demo --json' has the digests"),
        ("demo 1.0 --now --yes", "'wheelyard delete demo sha256:... --now --yes'"),
        (f"demo sha256:{WHEEL.sha256} --file x --now --yes", "and nothing else"),
        (f"demo sha256:{WHEEL.sha256} --versions <2 --now --yes", "and nothing else"),
        (f"demo sha256:{WHEEL.sha256} --yes", "A digest needs --now"),
        (f"demo sha256:{WHEEL.sha256} --now", "Give --yes to delete, or --dry-run"),
        (f"demo sha256:{WHEEL.sha256} --everywhere --yes", "--everywhere needs --now"),
    ],
)
def test_a_removal_takes_a_digest_alone(wheelyard: Typed, line: str, advice: str) -> None:
    """`delete --now` without a digest, or with more, is a wrong use that says what to type."""
    done = wheelyard("delete", *line.split())

    assert (done.returncode, done.stdout) == (2, "")
    assert advice in " ".join(done.stderr.split())


def upload_to_lab(wheelyard: Typed, sandbox: Sandbox) -> None:
    """Publish the file in the index lab, too."""
    upload(wheelyard, sandbox, WHEEL, "lab")


def promote_to_lab(wheelyard: Typed, _: Sandbox) -> None:
    """Promote the release to the index lab, too."""
    promote(wheelyard, "lab")


@pytest.mark.parametrize("act", [upload_to_lab, promote_to_lab])
def test_a_removal_is_of_what_was_shown(
    type_command: Typed,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Typed, Sandbox], None],
) -> None:
    """A file that comes to another index while `delete --everywhere` asks stops the removal."""

    def confirm(*_: str) -> bool:
        act(type_command, sandbox)
        return True

    monkeypatch.setattr(release_commands, "is_interactive", lambda: True)
    monkeypatch.setattr(output, "confirm_name", confirm)
    done = type_command(*EVERYWHERE)

    assert done.stderr.startswith(lines("would be ", "dev", "prod"))
    assert "meanwhile the files have changed" in done.stderr
    assert done.returncode == 1
    assert WHEEL.filename in type_command("list", "demo", "--index", "dev").stdout


def test_a_removal_is_done_once_the_name_is_typed(
    type_command: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`delete --everywhere` removes what it has shown to who types the name after the question."""
    monkeypatch.setattr(release_commands, "is_interactive", lambda: True)
    monkeypatch.setattr(output, "confirm_name", lambda *_: True)
    done = type_command(*EVERYWHERE)

    assert done.stderr.startswith(lines("would be ", "dev", "prod"))
    assert done.returncode == 0
    assert WHEEL.filename not in type_command("list", "demo", "--index", "dev").stdout


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("delete demo 1.0 --index dev", "nothing was deleted"),
        ("names release ours", "nothing was released"),
    ],
)
def test_nothing_goes_without_the_typed_name(
    type_command: Typed, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    """Who does not type the name after the question of `delete` or `release` changes nothing."""
    assert type_command("names", "reserve", "ours").returncode == 0
    store = LocalStore(sandbox.folder / "there", Random())
    before = kept_objects(store)
    for module in (release_commands, project_commands):
        monkeypatch.setattr(module, "is_interactive", lambda: True)
    monkeypatch.setattr(click, "prompt", lambda *_, **__: "another")

    done = type_command(*line.split())

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f"wheelyard: {words}\n")
    assert kept_objects(store) == before


def test_programs_get_the_reason_of_a_mark(type_command: Typed) -> None:
    """`list --json` has the reason of a yanked file, an empty one too, and none without a yank."""
    of_demo = ("demo", "1.0", "--index", "dev")
    shown = []
    for change in (("yank",), ("yank", "--reason", "broken"), ("unyank",)):
        assert type_command(*change, *of_demo).returncode == 0
        listed = type_command("list", "demo", "--index", "dev", "--json").stdout
        shown += [file.get("yanked") for file in json.loads(listed)["files"]]

    assert shown == ["", "broken", None]


def test_a_deletion_promises_no_removal_of_bytes_that_others_have(type_command: Typed) -> None:
    """`delete` says that `--now` keeps bytes that another index has, and `--now` refuses these."""
    asked = ("delete", "demo", "1.0", "--index", "dev")

    done = type_command(*asked, "--yes")

    assert "removes the bytes now, unless another index has the files" in done.stderr
    assert "--everywhere" not in done.stderr
    refused = type_command(*REMOVE, "--index", "dev", "--dry-run")
    assert (refused.returncode, "just promoted in other indexes: prod." in refused.stderr) == (
        1,
        True,
    )


def test_advice_after_a_deletion_is_about_the_same_files(
    type_command: Typed, sandbox: Sandbox
) -> None:
    """What `delete` advises is about the file, the index and the store of its own command line."""
    upload(type_command, sandbox, SDIST)
    what = f"demo 1.0 --file {WHEEL.filename}"
    place = "--index dev --store there --config wheelyard.toml"

    done = type_command("delete", *what.split(), *place.split(), "--yes")

    assert f"'wheelyard restore {what} {place}'" in done.stderr
    assert f"'wheelyard delete demo sha256:{WHEEL.sha256} --now {place}'" in done.stderr


def test_where_everybody_can_read_the_bucket(
    wheelyard: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With public downloads, `delete` does not say that bytes are gone which another index has."""
    harness = IndexHarness(tmp_path)
    indexes = TwoIndexes(harness)
    indexes.upload(WHEEL)
    indexes.promote()
    settings = replace(indexes.dev.settings, store=StoreSettings(downloads="public"))
    dev = harness.opened(5, settings=settings).named("dev")
    api = LocalApi(index=dev, caller=ALICE, caller_elsewhere=lambda _: ALICE)
    monkeypatch.setattr(release_commands, "open_api", lambda: api)

    done = wheelyard("delete", "demo", "1.0", "--yes")

    assert "The bytes were removed, unless another index has the files" in done.stderr
    refused = wheelyard(*REMOVE, "--dry-run")
    assert (refused.returncode, "promoted in other indexes: prod" in refused.stderr) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("delete demo 9.9 --index dev --yes", "'wheelyard list demo --index dev'"),
        ("restore demo 9.9 --index dev", "'wheelyard list demo --index dev'"),
        (
            f"delete demo sha256:{'0' * 64} --index dev --now --yes",
            "'wheelyard list demo --json --index dev'",
        ),
        ("promote demo 9.9 --from dev --to lab", "'wheelyard list demo --index dev'"),
        ("pin demo 2.0 --index dev", "'wheelyard restore demo 2.0 --index dev'"),
        ("promote demo 2.0 --from dev --to lab", "'wheelyard restore demo 2.0 --index dev'"),
        (f"upload {TWO.filename} --index dev", "'wheelyard restore demo 2.0 --index dev'"),
        ("promote demo 1.0 --from dev --to prod", "'wheelyard status demo active --index prod'"),
        (f"upload {WHEEL.filename} --index prod", "'wheelyard status demo active --index prod'"),
        (
            "names release demo --index prod --yes",
            "wheelyard delete demo --versions '>=0.dev0' --yes --index prod",
        ),
    ],
)
def test_advice_names_the_index(
    type_command: Typed, sandbox: Sandbox, line: str, advice: str
) -> None:
    """A command that a message advises has the index that the message is about."""
    upload(type_command, sandbox, TWO)
    assert type_command("delete", "demo", "2.0", "--index", "dev", "--yes").returncode == 0
    assert type_command("status", "demo", "archived", "--index", "prod").returncode == 0

    done = type_command(*line.split())

    assert (done.returncode, advice in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("index", "what", "columns"),
    [
        ("dev", "promoted to", ["promoted to prod"]),
        ("dev", "promoted-to", ["promoted to prod"]),
        ("dev", "promoted", []),
        ("prod", "promoted from", ["promoted from dev"]),
        ("prod", "promoted", ["promoted from dev"]),
        ("prod", "deleted", ["deleted at once"]),
        ("prod", "deleted at once", ["deleted at once"]),
        ("prod", "status archived", ["status archived"]),
        ("prod", "status active", []),
    ],
)
def test_the_journal_is_filtered_by_what_it_shows(
    type_command: Typed, index: str, what: str, columns: list[str]
) -> None:
    """`journal --what` takes what the third column has, without the name of an index."""
    assert type_command("status", "demo", "archived", "--index", "prod").returncode == 0
    assert type_command(*EVERYWHERE, "--yes").returncode == 0

    done = type_command("journal", "demo", "--index", index, "--what", what)

    assert (done.returncode, [line.split("\t")[2] for line in done.stdout.splitlines()]) == (
        0,
        columns,
    )


def test_what_no_journal_has_is_refused(type_command: Typed) -> None:
    """A word for `--what` that no entry has is refused, with the words that there are."""
    done = type_command("journal", "--what", "promoted to prod")

    assert (done.returncode, done.stdout) == (1, "")
    assert "has no entries 'promoted to prod'. Choose one of: uploaded, imported" in done.stderr


def test_the_summary_goes_with_the_last_file(type_command: Typed, sandbox: Sandbox) -> None:
    """A project whose files are all deleted has no summary, until one of them is restored."""
    raw = b"Metadata-Version: 2.2\nName: told\nVersion: 1.0\nSummary: The secret\n"
    upload(type_command, sandbox, make_wheel("told", metadata=raw))
    of_told = ("told", "--index", "dev")
    shown = [type_command("list", *of_told, "--json").stdout]
    for line in ("delete told 1.0 --index dev --yes", "restore told 1.0 --index dev"):
        assert type_command(*line.split()).returncode == 0
        shown.append(type_command("list", *of_told, "--json").stdout)

    assert ["The secret" in answer for answer in shown] == [True, False, True]


def test_retention_says_of_which_index_a_release_is(type_command: Typed, sandbox: Sandbox) -> None:
    """`retention` names a release of main by its project alone, and others with their index."""
    rules = [{"index": name, "projects": ["demo"], "keep_last": 1} for name in ("main", "lab")]
    tables = toml_of(main={"promote_only": False}, retention=rules)
    (sandbox.folder / "rules.toml").write_text(tables)
    assert type_command("apply", "rules.toml").returncode == 0
    for index in ("main", "lab"):
        for made in (WHEEL, TWO):
            upload(type_command, sandbox, made, index)

    printed = type_command("retention", "--dry-run").stdout.splitlines()

    releases = [line.partition("  ")[0] for line in printed[:-1]]
    assert sorted(releases) == ["demo 1.0: would be deleted", "lab: demo 1.0: would be deleted"]
