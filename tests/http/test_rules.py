"""Rules of main and of indexes with packages of their own, as clients see them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.json import decode
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.advice import texts_of
from tests.distributions import Distribution, make_wheel
from tests.fake_time import START, Clock
from tests.http.in_process import InProcessServer, in_process
from tests.http.index_pages import JSON, versions
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN
from wheelyard.api.health_operations import show_health
from wheelyard.api.operation import Call
from wheelyard.errors import Conflict, Invalid
from wheelyard.model.stored_indexes import IndexMade
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.promotion import IndexSide, Promotion
from wheelyard.settings.sections import Settings
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.warnings import server_warnings

HTML: Final = ("Accept", "text/html")
INDEXES: Final = (
    {"name": "dev", "cooldown_days": 7, "deny": ["secret*"]},
    {"name": "team", "layers": ["team", "dev"], "yanked": False},
    {"name": "stable", "layers": ["main"]},
    {"name": "both", "layers": ["dev", "main"], "merge": ["demo"]},
    {"name": "prod", "promote_from": ["dev"], "cooldown_days": 2},
)
MAIN_RULES: Final = {**OPEN_MAIN, "prereleases": False, "versions": {"demo": "<3"}}
TABLES: Final = toml_of(main=MAIN_RULES, index=[{**table, "read": "anyone"} for table in INDEXES])
OLD, NEW = make_wheel("demo", "1.0"), make_wheel("demo", "2.0rc1")
FILTER: Final = 'not prerelease and name != "tools"'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Yield a server whose indexes have rules, and which anybody may read."""
    with in_process(tmp_path, tables=TABLES) as running:
        yield running


def names(server: InProcessServer, prefix: str) -> list[str]:
    """Return the names of the projects that an index lists."""
    page = decode(server.get(f"{prefix}/simple/", JSON).body)
    return [project["name"] for project in page["projects"]]


def listed(server: InProcessServer, prefix: str) -> list[str]:
    """Return the names of the projects that the API lists of an index."""
    page = decode(server.get(f"{prefix}/api/v1/projects").body)
    return [project["name"] for project in page["projects"]]


def file(server: InProcessServer, prefix: str, made: Distribution) -> tuple[int, str]:
    """Return the status of a file of demo, and the code of an error."""
    answer = server.get(f"{prefix}/files/demo/{made.sha256}/{made.filename}")
    return answer.status, "" if answer.status == 200 else str(decode(answer.body)["error"])


def why(server: InProcessServer, prefix: str, version: str) -> Any:  # noqa: ANN401 - JSON
    """Return what the API says of the only file of a version of demo."""
    target = f"{prefix}/api/v1/upstream/why?project=demo&version={version}"
    (explained,) = decode(server.get(target).body)["files"]
    return explained


def test_main_hides_by_its_rules(server: InProcessServer) -> None:
    """The rules of main are about its own packages: pages, files, lists, the search and the API."""
    server.publish(OLD, NEW, make_wheel("demo", "3.0"), make_wheel("early", "1.0rc1"))

    page = server.get("/project/demo/releases/", HTML).body.decode()
    without_project = server.get(f"/packages/{NEW.filename}")

    assert versions(server, "/simple/demo/") == ["1.0"]
    assert versions(server, "/simple/early/") == []
    assert names(server, "") == ["demo"]
    assert file(server, "", OLD) == (200, "")
    assert file(server, "", NEW) == (404, "view")
    assert (without_project.status, decode(without_project.body)["error"]) == (404, "view")
    assert server.get("/pypi/demo/2.0rc1/json").status == 404
    assert decode(server.get("/pypi/demo/json").body)["info"]["version"] == "1.0"
    assert listed(server, "") == ["demo"]
    shown = decode(server.get("/api/v1/projects/demo").body)["files"]
    assert [each["filename"] for each in shown] == [OLD.filename]
    assert b"early" not in server.get("/search.json").body
    assert "by the rules of the index main: demo 2.0rc1 is a pre-release" in page
    assert "Of demo, only versions &lt;3 are shown here, and not 3.0." in page


def test_another_index_has_of_main_what_main_shows(server: InProcessServer) -> None:
    """An index whose layer is main shows no file that the rules of main hide."""
    server.publish(OLD, NEW)

    assert versions(server, "/stable/simple/demo/") == ["1.0"]
    assert file(server, "/stable", NEW) == (404, "view")
    assert names(server, "/stable") == ["demo"]


def test_a_file_that_one_layer_hides_is_sent_as_another_shows_it(server: InProcessServer) -> None:
    """A file of a merged name is sent if a layer shows it, though a layer above has it hidden."""
    server.publish_to("dev", OLD)
    server.publish(OLD)

    assert versions(server, "/both/simple/demo/") == ["1.0"]
    assert file(server, "/dev", OLD) == (404, "view")
    assert file(server, "/both", OLD) == (200, "")


def test_an_index_hides_its_own_packages_and_those_of_layers(server: InProcessServer) -> None:
    """Rules are about what an index has and what its layers show, until time ends a cooldown."""
    server.publish_to("dev", OLD, make_wheel("secret_plan", "1.0"))
    server.publish_to("team", make_wheel("own", "1.0"))
    before = [versions(server, f"{prefix}/simple/demo/") for prefix in ("/dev", "/team")]
    hidden = file(server, "/dev", OLD)
    listed = names(server, "/team")
    server.clock.advance(days=7)

    assert before == [[], []]
    assert hidden == (404, "view")
    assert listed == ["own"]
    assert [versions(server, f"{prefix}/simple/demo/") for prefix in ("/dev", "/team")] == [
        ["1.0"],
        ["1.0"],
    ]
    assert file(server, "/dev", OLD) == (200, "")
    assert names(server, "/dev") == ["demo"]
    assert names(server, "/team") == ["demo", "own"]


def test_who_is_told_why_is_told_until_when(server: InProcessServer) -> None:
    """The API, `why` and the page say which rule hides a file, and when time alone ends that."""
    server.publish_to("dev", OLD)

    explained = why(server, "/dev", "1.0")
    page = server.get("/dev/project/demo/releases/", HTML).body.decode()
    (reason,) = explained["reasons"]

    assert not explained["shown"]
    assert reason["code"] == "view"
    assert reason["changes_at"] == "2026-01-08T00:00:00Z"
    for text in (reason["text"], page):
        assert "hidden by the rules of the index dev: demo 1.0 appeared on 2026-01-01" in text
        assert "It is shown from 2026-01-08 00:00 UTC on." in text
    server.clock.advance(days=7)
    assert why(server, "/dev", "1.0")["shown"]


def test_a_page_is_repeated_until_a_cooldown_ends(server: InProcessServer) -> None:
    """A page of an index with rules comes from memory, and is made anew when time shows more."""
    server.publish_to("dev", OLD)
    path = "/dev/simple/demo/"
    for _ in range(2):
        versions(server, path)
    repeated = server.get(path, JSON)
    server.clock.advance(days=7)
    later = server.get(path, JSON)

    assert repeated.was_quick
    assert not later.was_quick
    assert decode(later.body)["versions"] == ["1.0"]


def test_a_list_outlasts_a_project_that_another_process_has_released(tmp_path: Path) -> None:
    """A project that is gone from a bucket is in no list, though its cooldown ends just then."""
    clock, demo = Clock(), NormalizedName("demo")
    store = MemoryStore(clock.seconds)
    with (
        in_process(tmp_path, store=store, clock=clock, near=False, tables=TABLES) as server,
        in_process(tmp_path / "other", store=store, clock=clock) as other,
    ):
        server.publish_to("dev", OLD, make_wheel("tools", "1.0"))
        clock.advance(days=7, seconds=-30)
        before = listed(server, "/dev")
        dev = other.index.named("dev")
        dev.lifecycle.change("delete", ALICE, demo, Selection(Version("1.0")), "")
        dev.names.release(ALICE, demo, "")
        clock.advance(seconds=30)

        assert (before, listed(server, "/dev")) == ([], ["tools"])


def test_what_is_yanked_goes_at_once(server: InProcessServer) -> None:
    """A file that is yanked is gone from an index without yanked files, and comes back."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=7)
    lifecycle, selection = server.index.named("dev").lifecycle, Selection(Version("1.0"))
    lifecycle.change("yank", ALICE, NormalizedName("demo"), selection, "broken")
    during = versions(server, "/team/simple/demo/")
    lifecycle.change("unyank", ALICE, NormalizedName("demo"), selection, "")

    assert during == []
    assert versions(server, "/team/simple/demo/") == ["1.0"]


def test_a_promoted_file_waits_from_its_promotion_on(server: InProcessServer) -> None:
    """In the index that it is promoted to, a cooldown counts from the promotion."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=30)
    dev, prod = (server.index.named(name) for name in ("dev", "prod"))
    Promotion(
        IndexSide(uploads=dev.uploads, caller=ALICE),
        IndexSide(uploads=prod.uploads, caller=ALICE),
        dev.server.runtime,
    ).promote(NormalizedName("demo"), Version("1.0"))
    at_first = versions(server, "/prod/simple/demo/")
    server.clock.advance(days=2)

    assert at_first == []
    assert versions(server, "/prod/simple/demo/") == ["1.0"]


def test_a_day_has_the_rules_as_of_that_day(server: InProcessServer) -> None:
    """A day of an index with rules hides what was too new then, and for ever."""
    server.publish_to("dev", OLD)
    server.clock.advance(days=30)

    assert versions(server, "/dev/as-of-2026-01-07/simple/demo/") == []
    assert versions(server, "/dev/as-of-2026-01-08/simple/demo/") == ["1.0"]
    of_day = decode(server.get("/dev/api/v1/upstream/why?project=demo&as_of=2026-01-07").body)
    assert "changes_at" not in of_day["files"][0]["reasons"][0]


def test_histories_name_no_hidden_file(server: InProcessServer) -> None:
    """The history and the feed of main lack what it hides; its journal is for who manages it."""
    server.publish(OLD, NEW)

    for path in ("/project/demo/history/", "/project/demo/feed.xml", "/feed.xml"):
        page = server.get(path, HTML).body.decode()
        assert OLD.filename in page
        assert "2.0rc1" not in page
    assert server.get("/api/v1/projects/demo/journal").status == 404
    assert decode(server.get("/api/v1/projects/demo").body)["commit"] is None


def _stored_filter(folder: Path, store: MemoryStore) -> None:
    """Write what an earlier version has: an index with a filter, made by a command."""
    with in_process(folder, Settings(), store=store) as server:
        server.publish(OLD, NEW)
        keys = {"name": "stable", "layers": ["main"], "filter": FILTER, "read": "anyone"}
        made = IndexMade(at=START, by="local:old", keys=keys)
        server.index.server.definitions.records.change(lambda _: (made,))


def test_a_filter_of_an_earlier_version_hides_all(tmp_path: Path) -> None:
    """An index of the store that has a filter shows nothing until it has keys in its place."""
    store = MemoryStore(Clock().seconds)
    (tmp_path / "old").mkdir()
    _stored_filter(tmp_path / "old", store)
    with in_process(tmp_path, Settings(), store=store) as server:
        before = versions(server, "/stable/simple/demo/")
        hidden = file(server, "/stable", OLD)
        said = why(server, "/stable", "1.0")["reasons"][0]["text"]
        (warning,) = texts_of(
            caution for caution in server_warnings(server.index) if "filter" in caution.message
        )
        health = " ".join(
            caution.message
            for caution in show_health(Call(index=server.index, caller=ALICE)).warnings
        )
        administration = server.index.server.index_administration
        with pytest.raises(Conflict) as caught:
            administration.change("stable", {"merge": ["a-*"]}, "local:ana")
        with pytest.raises(Conflict, match="with keys of rules in its place"):
            administration.change("stable", {"filter": None, "yanked": True}, "local:ana")
        keys = {"filter": None, "prereleases": False, "deny": ["tools"]}
        administration.change("stable", keys, "local:ana")

        assert (before, hidden) == ([], (404, "view"))
        assert f"as it has a filter, and there are none any more: {FILTER}." in said
        for text in (warning, health, caught.value.message):
            assert 'Keys that say the same: prereleases = false, deny = ["tools"].' in text
        assert "index change stable filter= prereleases=false deny=tools" in warning
        assert caught.value.code == "removed_rule"
        assert versions(server, "/stable/simple/demo/") == ["1.0"]
        assert file(server, "/stable", NEW) == (404, "view")


def test_a_filter_without_keys_is_named(tmp_path: Path) -> None:
    """Of a filter of an earlier version, the start says which condition no key stands for."""
    table = {
        "name": "either",
        "layers": ["main"],
        "filter": "yanked or prerelease",
        "read": "anyone",
    }
    with in_process(tmp_path, Settings()) as server:
        made = IndexMade(at=START, by="local:old", keys=table)
        server.index.server.definitions.records.change(lambda _: (made,))
        server.publish(OLD)
        warnings = texts_of(server_warnings(server.index))

        assert versions(server, "/either/simple/demo/") == []
        assert any("No key says the same as: yanked or prerelease." in text for text in warnings)


def test_no_command_opens_what_a_filter_hid(tmp_path: Path) -> None:
    """Of a filter without keys for all of it, no command is told that takes it away as it is."""
    with in_process(tmp_path, Settings()) as server:
        keys = {"name": "either", "layers": ["main"], "filter": "approved and (yanked or attested)"}
        made = IndexMade(at=START, by="local:old", keys=keys)
        server.index.server.definitions.records.change(lambda _: (made,))
        (warning,) = [text for text in texts_of(server_warnings(server.index)) if "filter" in text]

    assert "No key says the same as: yanked or attested." in warning
    assert "Keys for its other conditions: approval = true." in warning
    assert "index change either KEY=VALUE" in warning
    assert "filter=" not in warning


def test_nobody_makes_a_filter_any_more(tmp_path: Path) -> None:
    """No command and no page makes an index with a filter, or gives another one to it."""
    store = MemoryStore(Clock().seconds)
    (tmp_path / "old").mkdir()
    _stored_filter(tmp_path / "old", store)
    with in_process(tmp_path, Settings(), store=store) as server:
        administration = server.index.server.index_administration
        with pytest.raises(Invalid, match="filter: there is no such key"):
            administration.add({"name": "other", "filter": "yanked"}, "local:ana")
        with pytest.raises(Invalid, match="filter: there is no such key"):
            administration.change("stable", {"filter": "yanked"}, "local:ana")
