"""docs/backup.md and messages of docs/troubleshooting.md: copies, restores, moves, failures."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count, pairwise
from pathlib import Path

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.clients.harness import REPOSITORY, system_program
from tests.fake_gcs.server import running_fake_gcs
from tests.http.packages import post, publish, wheel
from tests.http.servers import Answer, RunningServer, running_server
from tests.operations.distributions import make_wheel
from tests.operations.in_memory_index import ALICE
from tests.waiting import until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, Settings, StoreSettings
from wheelyard.storage.base import Key
from wheelyard.wiring.index import Index, open_index
from wheelyard.wiring.stores import system_runtime

PAGE = REPOSITORY / "docs" / "backup.md"
MESSAGES = REPOSITORY / "docs" / "troubleshooting.md"
(TAR,) = re.finditer(
    r"^\$ (tar -C \./wheelyard-data .+ -czf) \S+ (.+)$", PAGE.read_text(), re.MULTILINE
)
PARTS = TAR[2].split()
"""The parts of a store in the order in which the page copies them."""
SOURCE = {"PYTHONPATH": str(REPOSITORY / "src")}
DEMO = NormalizedName("demo")


def tarred(store: Path, archive: Path) -> subprocess.CompletedProcess[str]:
    """Back a store up by the page's own line."""
    line = TAR[1].replace("./wheelyard-data", str(store))
    return run(*line.split(), archive, *(each for each in PARTS if (store / each).exists()))


def block(after: str) -> str:
    """Return the first block of shell lines behind some words of the page."""
    return PAGE.read_text().partition(after)[2].partition("```sh\n")[2].partition("```")[0]


def opened(folder: Path | str, apart: str = "") -> Index:
    """Open a store as the command line does."""
    access = AccessSettings(credentials_store=apart)
    return open_index(Settings(store=StoreSettings(location=str(folder)), access=access))


def problems(folder: Path, *, rebuild: bool = False) -> list[str]:
    """Return what `wheelyard check` finds damaged."""
    return opened(folder).check.run(rebuild=rebuild).problems


def run(
    *command: str | Path, folder: Path | None = None, **found: str
) -> subprocess.CompletedProcess[str]:
    """Run a program, and return how it has ended."""
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", **SOURCE, **found}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, check=False, text=True
    )


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


def copied(store: Path, copy: Path, between: Callable[[int], None]) -> None:
    """Copy the parts of a store, and let something happen after each of them."""
    copy.mkdir()
    for number, name in enumerate(PARTS):
        if (store / name).is_dir():
            shutil.copytree(store / name, copy / name)
        elif (store / name).exists():
            shutil.copy2(store / name, copy / name)
        between(number)


def publishing(store: Path, dist: Path) -> Callable[[int], None]:
    """Return what publishes and yanks, of old projects and new ones, each time it is called."""
    index = opened(store)

    def publish_more(number: int) -> None:
        take(index, dist, "demo", "other", f"new{number}", version=f"3.{number}")
        chosen = Selection(Version(f"3.{number}"))
        index.lifecycle.yank(ALICE, DEMO, chosen, "broken")

    return publish_more


def test_published_meanwhile(store: Path, tmp_path: Path) -> None:
    """Whatever is published and yanked during a backup, the copy is sound once it is folded."""
    copy = tmp_path / "copy"
    copied(store, copy, publishing(store, tmp_path / "dist"))

    assert problems(copy, rebuild=True) == []
    assert problems(copy) == []
    kept = {file.filename for file in opened(copy).projects.get(DEMO).files}
    assert {"demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"} <= kept


def test_deleted_meanwhile(store: Path, tmp_path: Path) -> None:
    """A file that is deleted before its bytes are copied is named, and can be deleted there too."""
    copy, when = tmp_path / "copy", PARTS.index("files") - 1

    def delete(number: int) -> None:
        if number == when:
            opened(store).lifecycle.delete(ALICE, DEMO, Selection(Version("1.0")), "")

    copied(store, copy, delete)

    found = problems(copy, rebuild=True)
    assert found
    assert all("files/demo/" in each and "missing" in each for each in found)
    opened(copy).lifecycle.delete(ALICE, DEMO, Selection(Version("1.0")), "")
    assert problems(copy) == []


def busy(server: RunningServer, stop: threading.Event, answers: list[Answer]) -> None:
    """Publish and delete without a pause, and note what is answered."""
    for number in count():
        if stop.is_set():
            return
        name = f"busy{number % 3}"
        answers.append(post(server, wheel(name, f"1.{number}", filler=bytes(200_000))))
        if number % 4 == 3:
            server.change(name, "delete", version=f"1.{number}")


@pytest.mark.slow
def test_a_busy_server(tmp_path: Path) -> None:
    """Backups of a server that works on, made by the page's own line, can be restored."""
    with running_server(tmp_path / "site") as server:
        before = [wheel("calm", f"1.{number}") for number in range(5)]
        publish(server, *before)
        stop, answers = threading.Event(), list[Answer]()
        thread = threading.Thread(target=busy, args=(server, stop, answers))
        thread.start()
        made = [tmp_path / f"{number}.tar.gz" for number in range(3)]
        for archive in made:
            before_it = len(answers)
            until(lambda least=before_it + 3: len(answers) > least)  # type: ignore[misc]
            done = tarred(server.store, archive)
            assert done.returncode in {0, 1}, done.stderr
        stop.set()
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    for archive in made:
        place = tmp_path / archive.name.partition(".")[0]
        place.mkdir()
        assert run("tar", "-C", place, "-xzf", archive).returncode == 0
        found = problems(place, rebuild=True)
        assert [each for each in found if not re.match(r"busy.: files/.+ missing", each)] == []
        kept = opened(place).projects.get(NormalizedName("calm")).by_filename
        assert set(kept) == {each.filename for each in before}


def test_a_folder_for_each_day(store: Path, tmp_path: Path) -> None:
    """The lines for rsync make a whole copy, and a second one that takes next to no room."""
    path = f"{Path(system_program('rsync')).parent}:{os.defpath}"
    script = block("takes no space").replace("/srv/backup", str(tmp_path / "backup"))
    script = script.replace("/var/lib/wheelyard\n", f"{store}\n")
    for name in ("%Y-%m-%d", "later-%Y"):
        done = run("/bin/sh", "-c", script.replace("%Y-%m-%d", name), PATH=path)
        assert done.returncode == 0, done.stderr
        take(opened(store), tmp_path / "dist", "demo", version=f"4.{len(name)}")
    days = [each for each in sorted((tmp_path / "backup/wheelyard").iterdir()) if each.is_dir()]
    for day in days:
        assert problems(day, rebuild=True) == []
    (old,) = days[0].glob("files/demo/*/demo-1.0-py3-none-any.whl")
    assert old.samefile(days[1] / old.relative_to(days[0]))


def test_as_it_was(store: Path, tmp_path: Path) -> None:
    """The lines for a day in the past bring back what was deleted since, and nothing newer."""
    before = opened(store).projects.get(DEMO).files
    backup = tmp_path / "backup.tar.gz"
    assert tarred(store, backup).returncode == 0
    now = system_runtime().now()
    for path in (store / "journal").rglob("*.json"):
        os.utime(path, ((now - timedelta(days=2)).timestamp(),) * 2)
    moment = (now - timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S UTC")
    index = opened(store)
    publishing(store, tmp_path / "dist")(1)
    index.lifecycle.delete(ALICE, DEMO, Selection(Version("1.0")), "")
    index.lifecycle.yank(ALICE, DEMO, Selection(Version("2.0")), "")

    product = tmp_path / "wheelyard"
    product.write_text(f'#!/bin/sh\nexec {sys.executable} -m wheelyard "$@"\n')
    product.chmod(0o755)
    found = {"TIME": moment, "BACKUP": str(backup), "PATH": f"{tmp_path}:{os.defpath}"}
    done = run("/bin/sh", "-ec", block("### Restore to a point in time"), folder=store, **found)

    assert done.returncode == 0, done.stderr
    index = opened(store)
    assert index.projects.get(DEMO).files == before
    assert index.projects.names.get_current().names == ("demo", "other")
    take(index, tmp_path / "dist", "demo", version="5.0")
    assert problems(store) == []


def every_object(index: Index) -> dict[Key, bytes]:
    """Return what a store holds."""
    keys = [entry.key for entry in index.projects.store.list("")]
    return {key: b"".join(index.projects.store.read(key)) for key in keys}


def test_moving(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder through two buckets into another folder, everything stays what it is."""
    index = opened(store)
    index.lifecycle.yank(ALICE, DEMO, Selection(Version("1.0")), "broken")
    before = every_object(index)
    places = [str(store), "gs://one/team", "gs://two", str(tmp_path / "last")]
    with running_fake_gcs("one", "two") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        for source, target in pairwise(places):
            store_there = opened(target).projects.store
            for key, body in every_object(opened(source)).items():  # as rsync does
                store_there.put(key, body, None)
            assert every_object(opened(target)) == before
            assert opened(target).projects.get(DEMO) == index.projects.get(DEMO)
    assert problems(tmp_path / "last") == []
    take(opened(tmp_path / "last"), tmp_path / "dist", "demo", version="6.0")


def test_tokens_apart(store: Path, tmp_path: Path) -> None:
    """Tokens can be moved into a place of their own, and hold there."""
    request = TokenRequest(name="ci")
    token, record = opened(store).tokens.create(request, by="local:ana")
    (tmp_path / "apart").mkdir()
    (store / "credentials").rename(tmp_path / "apart" / "credentials")
    assert opened(store, apart=str(tmp_path / "apart")).tokens.get(token) == record
    assert problems(store) == []


def test_an_older_version(store: Path) -> None:
    """A version that does not know what a newer one has written does not write on top of it."""
    document, entry = store / "projects/demo.json", store / "journal/demo/0000000002.json"
    for path in (document, entry):
        path.write_bytes(path.read_bytes().replace(b'"what":', b'"since":"tomorrow","what":'))
    index = opened(store)
    assert len(index.projects.get(DEMO).files) == 2
    with pytest.raises(Exception, match="disagree about commit 2") as caught:
        take(index, store.parent / "dist", "demo", version="7.0")
    assert getattr(caught.value, "code", "") == "damaged_document"
    assert problems(store)
    # a store of another format is left alone, in the words of the page
    for number in (1, 3):
        (store / "wheelyard.json").write_text(f'{{"format":{number}}}\n')
        with pytest.raises(Exception, match="format") as caught:
            opened(store)
        assert str(caught.value) in MESSAGES.read_text()


def is_quoted(text: str) -> bool:
    """Return whether the page quotes a message; three dots in a quotation stand for anything."""
    text = text.replace("commit 2", "commit 12")
    spans = [span for span in re.findall(r"`([^`\n]{20,})`", MESSAGES.read_text()) if " " in span]
    return any(re.match(re.escape(each).replace(r"\.\.\.", ".*"), text) for each in spans)


def assert_told(answer: Answer, status: int) -> None:
    """The answer has that status, and its message is on the page."""
    assert answer.status_code == status, answer.text
    assert is_quoted(answer.json()["message"]), answer.text


def test_messages_of_a_folder(tmp_path: Path) -> None:
    """What a client is told where the folder is damaged or away is what the page says."""
    package, more = wheel("acme-core"), wheel("acme-core", "2.0")
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
        assert_told(post(server, wheel("acme-core", "3.0")), 503)
        document.write_bytes(b"{")
        assert_told(server.get("/simple/acme-core/"), 503)
        server.store.rename(tmp_path / "away")
        server.store.mkdir()
        assert_told(server.get("/simple/other/"), 503)
        assert server.get("/ready").status_code == 503
        assert server.get("/health").status_code == 200
        server.store.rmdir()
        (tmp_path / "away").rename(server.store)
