"""A server is killed in the middle of uploads, again and again: what it answered stays."""

import hashlib
import json
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from signal import SIGKILL

import pytest

from tests.distributions import make_wheel
from tests.durability.serving import Crowd, environment, first_token, get, server, wheelyard
from tests.forking import ProcessEnvironment
from tests.http_server import ServerProcess, fork_server
from tests.ports import free_port
from tests.waiting import until
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index

KILLS = 40
CLIENTS = 4
MOST_CHANGES = 100
"""Changes of the store before a server kills itself; its start makes 8, and an upload 14."""


@pytest.mark.slow
def test_what_was_answered_stays(tmp_path: Path) -> None:
    """After each kill of a server, every answered upload is listed and served whole."""
    store, log, random = tmp_path / "store", tmp_path / "log", Random(1)
    distributions = (
        make_wheel(f"demo{number % 3}", f"{number}.0", content=bytes(1000)) for number in count(1)
    )
    answered: dict[str, str] = {}
    for turn in range(KILLS):
        port, steps = free_port(), random.randint(1, MOST_CHANGES) if turn % 2 else 0
        dependencies = ProcessEnvironment(
            folder=tmp_path,
            environment=environment(),
            output=log,
            errors=log,
            store=str(store),
            steps=steps,
        )
        killed = fork_server("--store", str(store), port=port, dependencies=dependencies)
        until(partial(_has_begun, killed), log.read_text)
        # what the last one has left was removed, and its own first writes end soon
        until(partial(_has_swept, killed, store), log.read_text)
        crowd = Crowd(port, first_token(log), distributions)
        with crowd.publishing(CLIENTS):
            if not steps:
                # some die before they have answered anybody, and some after
                enough = partial(crowd.has_answered, turn // 2 % 4)
                until(enough, log.read_text)
                _verify_some(port, answered, random)
                killed.kill()
            status = killed.join()
        assert status == -SIGKILL, log.read_text()
        answered |= {each.filename: each.sha256 for each in crowd.answered}
        _verify_listed(store, answered)

    assert len(answered) > KILLS
    with server(store, log) as last:
        _verify_some(last.port, answered, random, len(answered))
    _verify_store(store)


def _has_swept(killed: ServerProcess, store: Path) -> bool:
    return not killed.is_alive() or not list((store / ".spool").iterdir())


def _has_begun(killed: ServerProcess) -> bool:
    """Return whether a server answers, or has killed itself before it could."""
    return get(killed.port, "/health")[0] == 200 or not killed.is_alive()


def _verify_listed(store: Path, answered: dict[str, str]) -> None:
    index = open_index(Settings(store=StoreSettings(location=str(store))))
    names = index.projects.names.get().value
    listed = {
        file.filename: file.sha256
        for name in (names.names if names else ())
        for file in index.projects.get(name).files
    }
    assert answered.items() <= listed.items()


def _verify_some(port: int, answered: dict[str, str], random: Random, how_many: int = 3) -> None:
    """Read pages and files as a client does."""
    for filename in random.sample(sorted(answered), min(how_many, len(answered))):
        project = filename.partition("-")[0]
        status, page = get(port, f"/simple/{project}/")
        assert status == 200
        listed = {file["filename"]: file for file in json.loads(page)["files"]}
        assert listed[filename]["hashes"]["sha256"] == answered[filename]
        path = f"/files/{project}/{answered[filename]}/{filename}"
        status, body = get(port, path)
        assert (status, hashlib.sha256(body).hexdigest()) == (200, answered[filename])


def _verify_store(store: Path) -> None:
    """Assert that `check` finds nothing, and every file has the digest in its key."""
    done = wheelyard("check", "--store", str(store))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    again = wheelyard("check", "--store", str(store), "--rebuild", "--json")
    findings = json.loads(again.stdout)
    assert again.returncode == 0
    assert (findings["problems"], findings["mended"]) == ([], [])
    for path in store.joinpath("files").rglob("*.whl"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.parent.name
    for path in store.rglob("*.json"):
        json.loads(path.read_bytes())
