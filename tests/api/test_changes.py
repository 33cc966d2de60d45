"""The list of changes, as a mirror or a webhook follows it."""

import json
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from wheelyard.api import project_operations
from wheelyard.storage.forwarding import ReadOnlyStore
from wheelyard.storage.memory import MemoryStore


def changes_since(server: InProcessServer, since: int) -> tuple[list[tuple[str, int]], int, bool]:
    """Return projects and revisions of an answer, its newest serial, and whether there is more."""
    answer = server.get(f"/api/v1/changes?since={since}")
    assert answer.status == 200
    parsed = json.loads(answer.body)
    listed = [(change["project"], change["revision"]) for change in parsed["changes"]]
    return listed, parsed["newest"], parsed["more"]


def test_each_change_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change comes once, in parts if there are many, and then only what is new."""
    monkeypatch.setattr(project_operations, "MAX_LISTED_CHANGES", 2)
    with in_process(tmp_path) as server:
        server.publish(make_wheel("a"), make_wheel("b"), make_wheel("c"))

        first, newest, more = changes_since(server, 0)

        assert (first, more) == ([("a", 1), ("b", 1)], True)
        assert changes_since(server, newest - 1) == ([("c", 1)], newest, False)
        assert changes_since(server, newest) == ([], newest, False)
        server.publish(make_wheel("b", "2.0"))
        assert changes_since(server, newest) == ([("b", 2)], newest + 1, False)


@pytest.mark.parametrize(
    "grants",
    [(), ({"who": ["anonymous"], "projects": ["a"], "actions": ["read"]},)],
    ids=["none", "some"],
)
def test_who_may_not_read_all_projects_is_asked_for_a_credential(
    tmp_path: Path, grants: tuple[dict[str, object], ...]
) -> None:
    """Without a credential, whoever may read some projects or none learns of no change."""
    tables = toml_of(main={**OPEN_MAIN, "read": "granted"}, grant=grants)
    with in_process(tmp_path, tables=tables) as server:
        server.publish(make_wheel("a"))
        answer = server.get("/api/v1/changes?since=0")

    assert answer.status == 401
    assert "Missing or invalid credential" in json.loads(answer.body)["message"]


@pytest.mark.parametrize("since", ["1e3", "1000.0", "-0", "+1", "", "%D9%A1"])
def test_only_digits_are_a_serial(tmp_path: Path, since: str) -> None:
    """The serial in a query is decimal digits alone; anything else is refused."""
    with in_process(tmp_path) as server:
        answer = server.get(f"/api/v1/changes?since={since}")

    assert answer.status == 400
    assert "since must be a number from 0 to" in json.loads(answer.body)["message"]


def test_read_only_server_lists_changes(tmp_path: Path) -> None:
    """A server that may write nothing lists the changes that have a serial already."""
    store = MemoryStore(Clock().seconds)
    with in_process(tmp_path, store=store) as writer:
        writer.publish(make_wheel("a"))
        before = changes_since(writer, 0)
        writer.publish(make_wheel("b"))
        with in_process(tmp_path, store=ReadOnlyStore(store)) as reader:
            assert changes_since(reader, 0) == before
            changed = changes_since(writer, 0)
            assert (
                changes_since(reader, 0) == changed == ([*before[0], ("b", 1)], changed[1], False)
            )
