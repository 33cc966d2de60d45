"""A command that applies a file is killed at each change of the store, beside two servers."""

import json
import shutil
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import Final

import pytest

from tests.distributions import make_wheel
from tests.durability.serving import environment, get, server
from tests.forking import ProcessEnvironment, fork
from tests.operations.in_memory_index import ALICE
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.model.index_name import MAIN
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index

TABLES: Final = """
[main]
read = "{main}"
promote_only = false
[[index]]
name = "dev"
layers = {layers}
[[index]]
name = "secret"
[[index]]
name = "pub"
[[grant]]
who = ["anonymous"]
projects = ["*"]
actions = ["read"]
index = "{open}"
"""
EARLIER: Final = TABLES.format(main="anyone", layers='["dev"]', open="dev")
LATER: Final = TABLES.format(main="granted", layers='["dev", "secret"]', open="pub")
INDEXES: Final = {"": MAIN, "/dev": "dev", "/secret": "secret", "/pub": "pub"}
"""The paths of indexes, and their names."""
MOST_STEPS: Final = 400


def apply(store: Path, text: str, steps: int = 0) -> int:
    """Apply a file, killed at a change of the store, and return the status of the process."""
    file = store.parent / "index.toml"
    file.write_text(text)
    log = store.parent / "apply.txt"
    dependencies = ProcessEnvironment(
        folder=store.parent,
        environment=environment(),
        output=log,
        errors=log,
        store=str(store),
        steps=steps,
    )
    command = ("apply", file, "--prune", "--again", "--store", store)
    status = fork(command, dependencies).wait(TIMEOUT_SECONDS)
    assert status in {0, -SIGKILL}, log.read_text()
    return status


def read_by_anybody(port: int) -> set[tuple[str, str]]:
    """Return which files an anonymous reader gets of a server, with the index that is asked."""
    readable = set[tuple[str, str]]()
    for path, name in INDEXES.items():
        status, body = get(port, f"{path}/simple/demo/")
        assert status in {200, 401, 403, 404}
        if status == 200:
            readable |= {(name, file["filename"]) for file in json.loads(body)["files"]}
    return readable


@pytest.mark.slow
def test_a_killed_command_opens_nothing(tmp_path: Path) -> None:
    """Wherever `apply` is killed, nobody reads more than before or after; a rerun completes."""
    store = tmp_path / "store"
    assert apply(store, EARLIER) == 0
    index = open_index(Settings(store=StoreSettings(location=str(store))))
    for number, name in enumerate(INDEXES.values()):
        distribution = make_wheel(version=f"{number + 1}.0")
        index.named(name).uploads.accept(distribution.arrival(tmp_path), ALICE)
    with (
        server(store, tmp_path / "one.txt") as one,
        server(store, tmp_path / "other.txt") as other,
    ):
        before = read_by_anybody(one.port)
        apply(store, LATER)
        after = read_by_anybody(other.port)
        assert before != after
        assert read_by_anybody(one.port) == after
        for steps in count(1):
            # each turn leads from what the one before it has left to the other
            text, then = (EARLIER, before) if steps % 2 else (LATER, after)
            status = apply(store, text, steps)
            for serving in (one, other):
                assert read_by_anybody(serving.port) <= before | after
            apply(store, text)
            for serving in (one, other):
                assert read_by_anybody(serving.port) == then
            if status == 0:
                break
            assert steps < MOST_STEPS
    shutil.rmtree(store)
