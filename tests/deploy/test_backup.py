"""docs/backup.md and messages of docs/troubleshooting.md: copies, restores, moves, failures."""

import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.cli.conftest import called
from tests.clients.harness import REPOSITORY, system_program
from tests.distributions import make_wheel
from tests.fake_gcs.server import running_fake_gcs
from tests.forking import forking_program
from tests.http.packages import post, publish
from tests.http.servers import Answer, RunningServer, running_server
from tests.operations.in_memory_index import ALICE
from tests.waiting import until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog.keys import PROJECT_NAMES
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, Settings, StoreSettings
from wheelyard.storage.base import Key
from wheelyard.wiring.build import open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

PAGE = REPOSITORY / "docs" / "backup.md"
MESSAGES = REPOSITORY / "docs" / "troubleshooting.md"
SOURCE = {"PYTHONPATH": str(REPOSITORY / "src")}
DEMO = NormalizedName("demo")


def block(after: str) -> str:
    """Return the first block of shell lines behind some words of the page."""
    return PAGE.read_text().partition(after)[2].partition("```sh\n")[2].partition("```")[0]


def typed(after: str, store: Path, backup: Path, **found: str) -> subprocess.CompletedProcess[str]:
    """Run a block of the page, with other places, from the folder that has both of them."""
    text = block(after).replace("/var/lib/wheelyard", str(store))
    needed = {str(Path(system_program(each)).parent) for each in ("jq", "rsync") if each in text}
    found["PATH"] = ":".join((str(forking_program().parent), *needed, os.defpath))
    text = text.replace("/mnt/backup/wheelyard", str(backup))
    done = run("/bin/sh", "-ec", text, folder=store, **found)
    assert done.returncode == 0, done.stderr
    return done


def opened(folder: Path | str, apart: str = "") -> Index:
    """Open a store as the command line does."""
    access = AccessSettings(credentials_store=apart)
    return open_index(Settings(store=StoreSettings(location=str(folder)), access=access))


def problems(folder: Path, *, rebuild: bool = False) -> list[str]:
    """Return what `wheelyard check` finds damaged."""
    return opened(folder).server.check.run(rebuild=rebuild).problems


def run(
    *command: str | Path, folder: Path | None = None, **found: str
) -> subprocess.CompletedProcess[str]:
    """Run a program, and return how it has ended."""
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", **SOURCE, **found}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, check=False, text=True
    )


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a command that runs inside this process."""
    return {"HOME": str(folder), "TMPDIR": str(folder)}


def take(index: Index, folder: Path, *projects: str, version: str = "1.0") -> None:
    """Publish a wheel of each project."""
    folder.mkdir(exist_ok=True)
    for name in projects:
        path = make_wheel(name, version, content=name.encode() * 100).write(folder)
        index.uploads.accept_path(path, ALICE, lambda _: None)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two projects."""
    index = opened(tmp_path / "store")
    take(index, tmp_path / "dist", "demo", "other")
    take(index, tmp_path / "dist", "demo", version="2.0")
    return tmp_path / "store"


def publishing(store: Path, dist: Path) -> Callable[[int], None]:
    """Return what publishes and yanks, of old projects and new ones, each time it is called."""
    index = opened(store)

    def publish_more(number: int) -> None:
        take(index, dist, "demo", "other", f"new{number}", version=f"3.{number}")
        chosen = Selection(Version(f"3.{number}"))
        index.lifecycle.change("yank", ALICE, DEMO, chosen, "broken")

    return publish_more


def busy(server: RunningServer, stop: threading.Event, answers: list[Answer]) -> None:
    """Publish and delete without a pause, and note what is answered."""
    for number in count():
        if stop.is_set():
            return
        name = f"busy{number % 3}"
        answers.append(post(server, make_wheel(name, f"1.{number}", content=bytes(200_000))))
        if number % 4 == 3:
            server.change(name, "delete", version=f"1.{number}")


def busy_numbers(index: Index) -> Iterator[int]:
    """Yield the number of each upload of `busy` that an index has, or has had."""
    for name in index.projects.names.get_current().names:
        if name.startswith("busy"):
            project = index.projects.get(name)
            for filename in (*project.by_filename, *project.deleted_filenames):
                yield int(filename.split("-")[1].removeprefix("1."))


def test_a_busy_server(tmp_path: Path) -> None:
    """Copies of a server that works on are sound, whole, and of one moment in all projects."""
    with running_server(tmp_path / "site") as server:
        stop, answers = threading.Event(), list[Answer]()
        thread = threading.Thread(target=busy, args=(server, stop, answers))
        thread.start()
        reading: Index | None = None
        for number in range(3):
            until(lambda least=5 * number + 5: len(answers) > least)  # type: ignore[misc]
            published = make_wheel("calm", f"1.{number}")
            publish(server, published)
            done = called(tmp_path, environment(tmp_path), "copy", server.store, tmp_path / "copy")
            assert done.returncode == 0, done.stderr
            assert problems(tmp_path / "copy") == []
            reading = reading or opened(tmp_path / "copy")  # as a server that goes on
            calm = reading.projects.get(NormalizedName("calm"))
            assert published.filename in calm.by_filename
            numbers = list(busy_numbers(reading))
            assert sorted(numbers) == [*range(len(numbers))]
        stop.set()
        thread.join()
    assert {answer.status_code for answer in answers} == {200}


def test_a_folder_for_each_day(store: Path, tmp_path: Path) -> None:
    """The script makes a whole copy, and a second one that takes next to no room."""
    backup = tmp_path / "backup"
    backup.mkdir()
    typed("### A folder for each day", store, backup)
    (first,) = backup.glob("20*")
    first = first.rename(backup / "first")
    take(opened(store), tmp_path / "dist", "demo", version="4.0")
    typed("### A folder for each day", store, backup)
    (second,) = backup.glob("20*")

    assert [problems(each) for each in (first, second)] == [[], []]
    assert len(opened(first).projects.get(DEMO).files) == 2
    assert len(opened(second).projects.get(DEMO).files) == 3
    (old,) = first.glob("files/demo/*/demo-1.0-py3-none-any.whl")
    assert old.samefile(second / old.relative_to(first))


def test_one_project_is_brought_back(store: Path, tmp_path: Path) -> None:
    """The lines for one project bring back its bytes, and keep what came after the backup."""
    index, backup = opened(store), tmp_path / "backup"
    take(index, tmp_path / "dist", "acme_core")
    assert called(tmp_path, environment(tmp_path), "copy", store, backup).returncode == 0
    index.lifecycle.change(
        "yank", ALICE, NormalizedName("acme-core"), Selection(Version("1.0")), "broken"
    )
    (damaged,) = store.glob("files/acme-core/*/acme_core-1.0-*.whl")
    damaged.write_bytes(b"?")
    assert len(problems(store)) == 1

    typed("### Restore one project", store, backup)

    assert problems(store) == []
    (file,) = opened(store).projects.get(NormalizedName("acme-core")).files
    assert file.yanked == "broken"


def test_as_it_was(store: Path, tmp_path: Path) -> None:
    """The lines for a day in the past bring back what was deleted since, and nothing newer."""
    before = opened(store).projects.get(DEMO).files
    opened(store).server.index_administration.add({"name": "dev"}, "local:test")
    take(opened(store).named("dev"), tmp_path / "dist", "demo")
    backup = tmp_path / "backup"
    assert called(tmp_path, environment(tmp_path), "copy", store, backup).returncode == 0
    moment = system_runtime().now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    index = opened(store)
    publishing(store, tmp_path / "dist")(1)
    dev = index.named("dev")
    assert [file.version for file in dev.projects.get(DEMO).files] == ["1.0"]
    take(dev, tmp_path / "dist", "demo", version="2.0")
    index.lifecycle.change("delete", ALICE, DEMO, Selection(Version("1.0")), "")
    index.lifecycle.change("yank", ALICE, DEMO, Selection(Version("2.0")), "")

    typed("### Restore to a point in time", store, backup, TIME=moment, BACKUP=str(backup))

    index = opened(store)
    assert [file.version for file in index.named("dev").projects.get(DEMO).files] == ["1.0"]
    assert index.projects.get(DEMO).files == before
    assert index.projects.names.get_current().names == ("demo", "other")
    take(index, tmp_path / "dist", "demo", version="5.0")
    assert problems(store) == []


def every_object(index: Index) -> dict[Key, bytes]:
    """Return what a store holds, but what its own writes are told by."""
    entries = index.projects.store.list("")
    own = ("pending/", "changes", "derived/copied.json")
    keys = [entry.key for entry in entries if not entry.key.startswith(own)]
    bodies = {key: b"".join(index.projects.store.read(key)) for key in keys}
    bodies[PROJECT_NAMES] = bodies[PROJECT_NAMES].partition(b',"revision"')[0]
    return bodies


def test_a_store_moves_through_buckets_unchanged(store: Path, tmp_path: Path) -> None:
    """A store that is copied through two buckets into a folder stays what it was."""
    index = opened(store)
    index.lifecycle.change("yank", ALICE, DEMO, Selection(Version("1.0")), "broken")
    index.tokens.create(TokenRequest(name="ci"), by="local:ana")
    before = every_object(index)
    places = [str(store), "gs://one/team", "gs://two", str(tmp_path / "last")]
    with running_fake_gcs("one", "two") as server:
        variables_here = environment(tmp_path) | server.environment()
        for source, target in pairwise(places):
            line = block("Copy into a bucket of another project").replace("$BUCKET", "FROM")
            program, *words = shlex.split(line.replace("$BACKUP_BUCKET", "TO"))
            assert program == "wheelyard"
            typed_words = {"gs://FROM": source, "gs://TO": target}
            done = called(
                tmp_path, variables_here, *(typed_words.get(word, word) for word in words)
            )
            assert done.returncode == 0, done.stderr
    assert every_object(opened(tmp_path / "last")) == before
    assert problems(tmp_path / "last") == []
    take(opened(tmp_path / "last"), tmp_path / "dist", "demo", version="6.0")


def test_tokens_move_to_a_place_of_their_own(store: Path, tmp_path: Path) -> None:
    """Tokens can be moved into a place of their own, and hold there."""
    request = TokenRequest(name="ci")
    token, record = opened(store).tokens.create(request, by="local:ana")
    (tmp_path / "apart").mkdir()
    (store / "credentials").rename(tmp_path / "apart" / "credentials")
    assert opened(store, apart=str(tmp_path / "apart")).tokens.get(token) == record
    assert problems(store) == []


def test_an_older_version(store: Path) -> None:
    """Fields that a newer version has written stay; a store of another format is refused."""
    document, entry = store / "projects/demo.json", store / "journal/demo/0000000002.json"
    for path in (document, entry):
        path.write_bytes(path.read_bytes().replace(b'"what":', b'"since":"tomorrow","what":'))
    take(opened(store), store.parent / "dist", "demo", version="7.0")
    assert len(opened(store).projects.get(DEMO).files) == 3
    assert b'"since":"tomorrow"' in entry.read_bytes()
    assert problems(store) == []
    # a store of another format is left alone
    for number in (2, 4):
        (store / "wheelyard.json").write_text(f'{{"format":{number}}}\n')
        with pytest.raises(Exception, match="This store has format"):
            opened(store)


def is_quoted(text: str) -> bool:
    """Return whether the page quotes a message; three dots in a quotation stand for anything."""
    text = text.replace("commit 2", "commit 12")
    spans = [span for span in re.findall(r"`([^`\n]{20,})`", MESSAGES.read_text()) if " " in span]
    return any(re.match(re.escape(span).replace(r"\.\.\.", ".*"), text) for span in spans)


def assert_told(answer: Answer, status: int) -> None:
    """The answer has that status, and its message is on the page."""
    assert answer.status_code == status, answer.text
    assert is_quoted(answer.json()["message"]), answer.text


def test_messages_of_a_folder(tmp_path: Path) -> None:
    """What a client is told where the folder is damaged or away is what the page says."""
    package, more = make_wheel("acme-core"), make_wheel("acme-core", "2.0")
    with running_server(tmp_path) as server:
        publish(server, package)
        (file,) = (server.store / "files").rglob("*.whl")
        document = server.store / "projects" / "acme-core.json"
        body, first = file.read_bytes(), document.read_bytes()
        file.write_bytes(body[:-1])
        lost = server.get(f"/{file.relative_to(server.store)}")
        assert is_quoted(lost.json()["message"].replace("-1.0-py3-none-any.whl", "-1.0.tar.gz"))
        publish(server, more)
        document.write_bytes(first)
        assert_told(post(server, make_wheel("acme-core", "3.0")), 503)
        document.write_bytes(b"{")
        assert_told(server.get("/simple/acme-core/"), 503)
        server.store.rename(tmp_path / "away")
        server.store.mkdir()
        assert_told(server.get("/simple/other/"), 503)
        assert server.get("/ready").status_code == 503
        assert server.get("/health").status_code == 200
        server.store.rmdir()
        (tmp_path / "away").rename(server.store)
