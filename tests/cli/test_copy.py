"""`wheelyard copy`, as it is typed: folders, buckets, refusals, a full disk, and kills."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.cli.conftest import WHERE, Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.forking import ProcessEnvironment, fork
from tests.storage.gcs.opened import EMULATOR
from tests.storage.small_disk import small_disk
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.errors import Unavailable
from wheelyard.operations.copying.store_copy import CopyReport, StoreCopy

FILES = '{"format":3,"files":"gs://files"}\n'
MADE = "wheelyard: made a new store at "


@pytest.fixture
def store(sandbox: Sandbox, wheelyard: Typed) -> Path:
    """A store with two projects of two files each, and a token."""
    dist = sandbox.folder / "dist"
    dist.mkdir()
    for name in ("demo", "other"):
        for version in ("1.0", "2.0"):
            make_wheel(name, version, content=bytes(50_000)).write(dist)
    place = sandbox.folder / "store"
    assert wheelyard("upload", "-q", "--store", place, *dist.iterdir()).returncode == 0
    assert wheelyard("token", "create", "ci", "--store", place).returncode == 0
    assert wheelyard("yank", "demo", "1.0", "--store", place).returncode == 0
    return place


@pytest.fixture
def google() -> Iterator[FakeGcs]:
    """A fake GCS server with some buckets."""
    with running_fake_gcs("packages", "files", "backup", "secrets") as server:
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    """
    Return every object of a store in a folder, but those with serials, which are its own.

    Nor how often the list of names was written.
    """
    paths = [path for path in folder.rglob("*") if path.is_file()]
    bodies = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    for name in [name for name in bodies if name.endswith("projects.json")]:
        bodies[name] = bodies[name].partition(b',"revision"')[0]
    left_out = (".", "pending/", "changes", "derived/copied.json")
    return {name: body for name, body in bodies.items() if not name.startswith(left_out)}


def test_copy_says_what_it_wrote(store: Path, wheelyard: Typed, sandbox: Sandbox) -> None:
    """`copy` says where it made a store, of which moment the copy is, and what it wrote."""
    there = sandbox.folder / "backup"
    first = wheelyard("copy", store, there)
    token = wheelyard("copy", store, there, "--with-credentials")
    quiet = wheelyard("copy", "--quiet", store, there)
    again = wheelyard("copy", "--json", store, there)

    assert (first.returncode, first.stderr) == (0, f"{MADE}{there}\n")
    assert first.stdout.startswith(f"{there}: 2 projects as of 20")
    assert " UTC, changes of 2 names; 8 objects written, " in first.stdout
    assert token.stdout.endswith("0 objects written, 0 bytes, 1 object of credentials\n")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    result = json.loads(again.stdout)
    assert again.stderr == ""
    assert result.pop("moment").endswith("Z")
    counted = ("changed", "objects", "size", "decisions", "upstream", "credentials")
    assert result == {"projects": 2, "problems": [], "warnings": [], **dict.fromkeys(counted, 0)}
    assert contents(there) == contents(store)


def test_a_damaged_file_fails_its_project(store: Path, wheelyard: Typed, sandbox: Sandbox) -> None:
    """A damaged file fails the copy, names its project, and keeps no other one from arriving."""
    there = sandbox.folder / "backup"
    (damaged,) = store.glob("files/demo/*/demo-2.0-*.whl")
    damaged.write_bytes(bytes(damaged.stat().st_size))

    done = wheelyard("copy", store, there, "--quiet")

    assert (done.returncode, done.stdout) == (1, "")
    assert "wheelyard: not copied: demo: files/demo/" in done.stderr
    assert "is damaged in FROM" in done.stderr
    assert wheelyard("list", "--store", there).stdout == "other\n"
    assert wheelyard("check", "--store", there).returncode == 0


def test_a_released_name_is_counted_as_a_name(store: Path, wheelyard: Typed) -> None:
    """A name that was released is no project, and its changes are counted as those of a name."""
    for words in ("names reserve given-up", "names release given-up --yes"):
        wheelyard(*words.split(), "--store", store)
    done = wheelyard("check", "--rebuild", "--store", store)

    assert "\nrebuilt 3 documents from journals\nclean: 3 projects, 4 files, " in f"\n{done.stdout}"
    copied = wheelyard("copy", store, "there").stdout
    assert copied.startswith("there: 2 projects as of ")
    assert " UTC, changes of 3 names; " in copied


def test_a_document_of_outside_names_fails_its_project(store: Path, wheelyard: Typed) -> None:
    """A document that names what is outside of the store fails its project, and no other one."""
    document = store / "projects" / "demo.json"
    name = b"demo-2.0-py3-none-any.whl"
    document.write_bytes(document.read_bytes().replace(name, b"../../../evil.whl"))
    (store / "projects.json").write_text('{"names":["../../evil"]}')

    done = wheelyard("copy", store, "there")

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 4)
    assert "not copied: ../../evil: " in done.stderr
    assert "not copied: demo: in FROM: 'files/demo/" in done.stderr
    assert wheelyard("list", "--store", "there").stdout == "other\n"
    assert "/../../../evil.whl" in wheelyard("check", "--store", store).stderr


def test_the_copy_of_an_empty_store_is_empty(wheelyard: Typed, sandbox: Sandbox) -> None:
    """The copy of an empty store is an empty store, and that it had no tokens is said."""
    (sandbox.folder / "empty").mkdir()
    (sandbox.folder / "empty" / "wheelyard.json").write_text('{"format":3}\n')

    done = wheelyard("copy", "empty", "there", "--with-credentials")

    written = "0 objects written, 0 bytes, 0 objects of credentials"
    assert done.stdout == f"there: 0 projects, changes of 0 names; {written}\n"
    assert "wheelyard: warning: FROM has no token and no grant. If access." in done.stderr
    assert wheelyard("check", "--store", "there").returncode == 0


@pytest.mark.parametrize(("source", "is_told"), [("wheels", False), ("other", True)])
def test_copy_says_where_it_has_looked_for_outdated_lines(
    sandbox: Sandbox, wheelyard: Typed, source: str, *, is_told: bool
) -> None:
    """A copy of another store than the configured one says that it looked in that one alone."""
    for folder in (source, "keys"):
        (sandbox.folder / folder).mkdir()
    (sandbox.folder / source / "wheelyard.json").write_text('{"format":3}\n')
    (sandbox.folder / "wheelyard.toml").write_text(
        '[store]\nlocation = "wheels"\n[access]\ncredentials_store = "keys"\n'
    )

    copied = wheelyard("copy", source, "copied")

    assert copied.returncode == 0
    assert ("looked for in FROM alone" in copied.stderr) is is_told


def test_a_store_is_not_copied_into_itself(store: Path, wheelyard: Typed, sandbox: Sandbox) -> None:
    """A store is copied neither to itself nor into itself, and nowhere from a missing one."""
    before = contents(sandbox.folder)
    (sandbox.folder / "link").symlink_to(store)
    file = next((sandbox.folder / "dist").iterdir())
    inside = f"{store}/backup"
    for source, target in (
        *((store, store), (store, "./store/"), (store, "link"), (store, inside), (inside, store)),
        *(("gs://packages", "gs://packages/team"), ("gs://packages/team/", "gs://packages/team")),
        *(("missing", "new"), ("memory:", "new"), (store, "memory:"), (store, "gs://x")),
        *((store, "ftp://bucket"), (store, ""), ("", "new"), (store, file)),
    ):
        done = wheelyard("copy", source, target)
        assert (done.returncode, done.stdout) == (1, ""), (source, target)
        assert len(done.stderr.splitlines()) == 1
        assert "Traceback" not in done.stderr
        assert "--store" not in done.stderr  # which it does not have
    (sandbox.folder / "link").unlink()
    assert contents(sandbox.folder) == before
    (store / "wheelyard.json").unlink()
    assert "no wheelyard.json. Restore it" in wheelyard("copy", store, "new").stderr
    assert not (sandbox.folder / "new").exists()


@pytest.mark.parametrize("number", [1, 4])
def test_a_store_of_another_format_is_not_touched(
    store: Path, wheelyard: Typed, sandbox: Sandbox, number: int
) -> None:
    """A store of another format is neither read nor written."""
    other = sandbox.folder / "other"
    other.mkdir()
    other.joinpath("wheelyard.json").write_text(f'{{"format":{number}}}\n')
    before = contents(sandbox.folder)

    for places in ((store, other), (other, sandbox.folder / "new")):
        done = wheelyard("copy", *places)
        assert done.returncode == 1
        assert f"format {number}" in done.stderr
    assert contents(sandbox.folder) == before


@pytest.mark.integration
def test_files_of_a_bucket_of_their_own_are_copied(
    store: Path, wheelyard: Typed, sandbox: Sandbox, google: FakeGcs
) -> None:
    """Files that have a bucket of their own are copied from there and to there."""
    where = {EMULATOR: google.url}
    google.bucket("packages").put("wheelyard.json", FILES.encode())
    there = sandbox.folder / "there"
    for places in ((store, "gs://packages"), ("gs://packages", "gs://backup/a"), ()):
        source, target = places or ("gs://backup/a", there)
        assert wheelyard("copy", "--with-credentials", source, target, **where).returncode == 0
    assert contents(there) == contents(store)
    assert len(google.bucket("files").names("files/")) == 8
    assert google.bucket("packages").names("files/") == []
    assert len(google.bucket("backup").names("a/files/")) == 8
    caching = google.bucket("backup").get(google.bucket("backup").names("a/files/")[0])
    assert caching is not None
    assert "immutable" in str(caching)

    for target in ("gs://files", "gs://files/x"):
        assert "same place" in wheelyard("copy", "gs://packages", target, **where).stderr

    google.log.clear()
    again = wheelyard("copy", "gs://packages", "gs://backup/a", **where)
    assert " changes of 0 names; 0 objects written" in again.stdout
    assert google.log.records(kind="insert") == []
    documents = [record for record in google.log.records(price="B") if "projects/" in record.name]
    assert documents == []
    # three of them look whether a document that the source does not have is lost
    assert len(google.log.records(price="A")) <= 12
    assert len(google.log.records(price="B")) <= 20


PUBLIC = 'downloads = "public"\nfiles = "gs://files"\n'


@pytest.mark.integration
@pytest.mark.parametrize(
    ("line", "bucket", "caching"),
    [('downloads = "redirect"\n', "packages", "private"), (PUBLIC, "files", "public")],
)
def test_a_copy_has_the_settings_of_a_configured_store(
    wheelyard: Typed, store: Path, google: FakeGcs, line: str, bucket: str, caching: str
) -> None:
    """Tokens have the place that settings have for them, and public files may be kept by caches."""
    where = {EMULATOR: google.url}
    config = store.parent / "wheelyard.toml"
    config.write_text(
        f'[store]\nlocation = "gs://packages"\n{line}[access]\ncredentials_store = "gs://secrets"\n'
    )
    there = store.parent / "there"
    for places in ((store, "gs://packages"), ("gs://packages", there)):
        assert wheelyard("copy", "--with-credentials", *places, **where).returncode == 0

    assert len(google.bucket("secrets").names("credentials/tokens/")) == 1
    assert google.bucket("packages").names("credentials/") == []
    files = google.bucket(bucket)
    kept = [files.find(name).fields["cacheControl"] for name in files.names("files/")]
    assert {scope.partition(",")[0] for scope in kept} == {caching}
    assert contents(there) == contents(store)


def test_a_copy_that_ends_early_can_go_on(
    store: Path, wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that a store ends says why, and that the same command goes on from there."""

    def fail(*_: object, **__: object) -> None:
        raise Unavailable("The store does not answer.")

    monkeypatch.setattr(StoreCopy, "run", fail)

    done = wheelyard("copy", store, "other")

    assert (done.returncode, done.stdout) == (1, "")
    message = "The store does not answer. What was copied stays; copy again to go on from there."
    assert done.stderr.endswith(f"wheelyard: {message}\n")


def test_a_copy_says_what_it_warns_of(
    store: Path, wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks for a look at a copy is a warning, and no failure."""
    report = CopyReport(warnings=["names of\ta"])
    monkeypatch.setattr(StoreCopy, "run", lambda *_, **__: report)

    done = wheelyard("copy", store, "other")

    assert (done.returncode, "wheelyard: warning: names of\\ta\n" in done.stderr) == (0, True)


@pytest.mark.integration
def test_a_copy_goes_on_after_a_full_disk(store: Path, wheelyard: Typed, sandbox: Sandbox) -> None:
    """A copy to a full disk ends with one sentence, is sound, and goes on with more room."""
    with small_disk(sandbox.folder, "size=456k") as there:
        done = wheelyard("copy", store, there, "--quiet")
        assert (done.returncode, done.stdout) == (1, "")
        assert "no room left" in done.stderr.splitlines()[-1]
        assert "copy again to go on from there" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=4m", there], check=True)
        assert wheelyard("check", "--store", there).returncode == 0
        assert wheelyard("copy", store, there, "--with-credentials").returncode == 0
        assert contents(there) == contents(store)


@pytest.mark.integration
@pytest.mark.parametrize("steps", [30, 60, 80])
def test_killed_copy_goes_on(store: Path, wheelyard: Typed, sandbox: Sandbox, steps: int) -> None:
    """A copy that is killed leaves a sound store, which the next copy completes."""
    there, log = sandbox.folder / "there", sandbox.folder / "log.txt"
    dependencies = ProcessEnvironment(
        folder=sandbox.folder,
        environment=sandbox.environment() | WHERE,
        output=log,
        errors=log,
        store=str(there),
        steps=steps,
    )

    process = fork(["copy", "--with-credentials", store, there], dependencies)

    assert process.wait(TIMEOUT_SECONDS) == -SIGKILL, log.read_text()
    assert wheelyard("check", "--store", there).returncode == 0
    assert wheelyard("copy", "--with-credentials", store, there).returncode == 0
    assert contents(there) == contents(store)


@pytest.mark.parametrize(("target", "is_refused"), [("apart", True), ("beside", False)])
def test_a_copy_spares_the_place_of_the_tokens(
    wheelyard: Typed, sandbox: Sandbox, target: str, *, is_refused: bool
) -> None:
    """A store whose tokens are elsewhere is not copied to where they are."""
    config = sandbox.folder / "server.toml"
    store, apart = sandbox.folder / "there", sandbox.folder / "apart"
    config.write_text(f'[store]\nlocation = "{store}"\n[access]\ncredentials_store = "{apart}"\n')
    assert wheelyard("token", "create", "ci", "--config", config).returncode == 0

    done = wheelyard("copy", store, target, "--config", config)

    assert (done.returncode, "same place" in done.stderr) == (int(is_refused), is_refused)
