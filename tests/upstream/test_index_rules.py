"""Rules of indexes about public packages: what is unknown, what is lifted, and what lasts."""

import json
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.advice import texts_of
from tests.distributions import make_wheel
from tests.fake_time import START, Clock
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from tests.upstream.fake_pages import JSON, FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import ReadResponse, look
from tests.upstream.settings import close, front, upstream_section
from wheelyard.model.stored_indexes import IndexChanged, IndexMade
from wheelyard.settings.sections import Settings
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.decisions import Deciding
from wheelyard.wiring.warnings import server_warnings

OLD, NEW = "requests-1.0-py3-none-any.whl", "requests-2.0-py3-none-any.whl"
REQUESTS: Final = NormalizedName("requests")
CVSS: Final = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
"""The vector of the score 9.8."""


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream with an old release, and one of yesterday under the AGPL."""
    upstream.publish(
        FakeFile.of(public_wheel("requests", "1.0", "License: MIT")),
        FakeFile.of(
            public_wheel("requests", "2.0", "License: AGPL-3.0"), START - timedelta(days=1)
        ),
    )
    return upstream


@contextmanager
def ruled(
    folder: Path,
    public: FakeUpstream,
    keys: Mapping[str, Any],
    *,
    store: MemoryStore | None = None,
    main: Mapping[str, object] = OPEN_MAIN,
    **more: Any,  # noqa: ANN401 - of `[upstream]`
) -> Iterator[InProcessServer]:
    """Yield a server whose indexes `stable`, with packages of its own, and `over` have rules."""
    indexes: tuple[dict[str, Any], ...] = (
        {"name": "stable", "layers": ["stable", "upstream"], "read": "anyone", **keys},
        {"name": "over", "layers": ["over", "stable"], "read": "anyone"},
    )
    section = upstream_section(public, **more)
    store = store or MemoryStore(Clock().seconds)
    if "filter" in keys:  # as an earlier version has made it
        with in_process(folder, store=store) as server:
            made = tuple(IndexMade(at=START, by="local:old", keys=table) for table in indexes)
            server.index.server.definitions.records.change(lambda _: made)
        indexes = ()
    settings, tables = Settings(upstream=section), toml_of(main=main, index=indexes)
    with in_process(folder, settings, store=store, tables=tables) as server:
        try:
            yield server
        finally:
            close(server.index)


def page(server: InProcessServer, prefix: str = "/stable", name: str = "requests") -> ReadResponse:
    """Ask for the page of a project, as an installer does."""
    return look(server, f"{prefix}/simple/{name}/", accept=JSON)


def file(server: InProcessServer, filename: str, prefix: str = "/stable") -> tuple[int, str]:
    """Return the status of a file by the link of main, and the code of an error."""
    url = str(page(server, "").files[filename]["url"]).removeprefix("../..")
    seen = look(server, f"{prefix}{url}")
    return seen.status, "" if seen.status == 200 else json.loads(seen.body)["error"]


def found(server: InProcessServer) -> list[str]:
    """Return the latest versions of the projects that a search of the index `stable` finds."""
    stable = server.index.named("stable")
    stable.search.start = lambda work: work()
    assert stable.upstream is not None
    stable.upstream.pages.flush()
    return [version for _, version, *_ in json.loads(look(server, "/stable/search.json").body)]


def write_osv(at: Path, *versions: str) -> None:
    """Write a database in which these versions of requests have a hole of the score 9.8."""
    affected = {"package": {"ecosystem": "PyPI", "name": "requests"}, "versions": [*versions]}
    severity = [{"type": "CVSS_V3", "score": CVSS}]
    at.write_text(json.dumps([{"id": "CVE-1", "affected": [affected], "severity": severity}]))


@pytest.mark.parametrize("prefix", ["", "/stable", "/over"])
def test_a_private_name_with_hidden_files_asks_no_upstream(
    tmp_path: Path, upstream: FakeUpstream, prefix: str
) -> None:
    """A name is private whatever rules hide: in main, in an index, and in one that has it."""
    upstream.publish(public_wheel("acme", "99.0"))
    main = {"promote_only": False, "prereleases": False}
    keys = {"prereleases": False}
    with ruled(tmp_path, upstream, keys, main=main, check_upload=False) as server:
        place = "stable" if prefix else "main"
        private = make_wheel("acme", "1.0rc1")
        server.publish_to(place, private)
        paths = (
            f"{prefix}/simple/acme/",
            f"{prefix}/files/acme/{private.sha256}/{private.filename}",
            f"{prefix}/project/acme/",
            f"{prefix}/pypi/acme/json",
            f"{prefix}/api/v1/upstream/why?project=acme",
        )
        answers = [look(server, path) for path in paths]

        assert page(server, prefix, "acme").files == {}
        assert [answer.status for answer in answers[:2]] == [200, 404]
        assert not any(b"99.0" in answer.body for answer in answers)
        assert upstream.asked("acme") == []


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({"cooldown_days": 7}, [OLD]),
        ({"snapshot": "2025-12-30"}, [OLD]),
        ({"blocked_licenses": ["AGPL-*"]}, [OLD]),
        ({"allowed_licenses": ["MIT"]}, [OLD]),
        ({"versions": {"req*": ">1"}}, [NEW]),
        ({"versions": {"requests": "<2", "*": "<1"}}, []),
        ({"allow": ["acme-*"]}, []),
        ({"deny": ["requests"]}, []),
        ({"attested": True}, []),
        ({"approval": True}, []),
        ({"cooldown_days": 7, "cooldown_allow": ["requests"]}, [OLD, NEW]),
    ],
    ids=reprlib.repr,
)
def test_each_key_hides_public_files(
    tmp_path: Path, public: FakeUpstream, keys: dict[str, Any], shown: list[str]
) -> None:
    """An index, and one that has it as a layer, show what the key leaves; main shows all."""
    with ruled(tmp_path, public, keys) as server:
        for prefix in ("/stable", "/over"):
            assert [*page(server, prefix).files] == shown
        assert [*page(server, "").files] == [OLD, NEW]


def test_a_rule_without_licences_fetches_no_metadata(tmp_path: Path, public: FakeUpstream) -> None:
    """For a page of an index without rules about licences, no core metadata is fetched."""
    with ruled(tmp_path, public, {"cooldown_days": 7}) as server:
        assert [*page(server).files] == [OLD]
        assert {each.path for each in public.requests} == {"/simple/requests/"}


def test_a_filter_of_an_earlier_version_hides_public_files(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """An index that keeps a filter, and one that has it as a layer, show no file, and main all."""
    with ruled(tmp_path, public, {}) as server:
        administration = server.index.server.index_administration
        stable = administration.in_force.stored().find("stable")
        assert stable is not None
        keys = {**stable.keys, "filter": "not yanked"}
        kept = IndexChanged(at=START, by="local:ana", keys=keys)
        administration.commit(lambda _: (kept,))
        for prefix in ("/stable", "/over"):
            assert [*page(server, prefix).files] == []
        assert [*page(server, "").files] == [OLD, NEW]


@pytest.mark.parametrize(
    "keys",
    [
        {"prereleases": False, "yanked": False, "attested": True},
        {"versions": {"requests": ">=2"}, "allowed_licenses": ["MIT", "unknown"]},
    ],
)
def test_the_upstream_has_the_same_keys(
    tmp_path: Path, upstream: FakeUpstream, keys: dict[str, Any]
) -> None:
    """What a key of [upstream] hides is refused by its code, in main and in each index."""
    upstream.publish(
        FakeFile.of(public_wheel("requests", "1.0", "License: MIT")),
        FakeFile.of(public_wheel("requests", "2.0rc1", "License: MIT")),
    )
    with front(tmp_path, upstream, **keys) as server:
        answer = json.loads(look(server, "/api/v1/upstream/why?project=requests").body)
        files = answer["files"]
        codes = [[reason["code"] for reason in each.get("reasons", ())] for each in files]

    expected = {
        "prereleases": [["not_attested"], ["prerelease", "not_attested"]],
        "versions": [["version"], ["version"]],
    }
    assert codes == expected[next(iter(keys))]


def test_the_upstream_allows_some_licences(tmp_path: Path, public: FakeUpstream) -> None:
    """A release under a licence that [upstream] does not allow is found when it is wanted."""
    with front(tmp_path, public, allowed_licenses=("MIT",)) as server:
        before = [*page(server, "").files]
        answers = [file(server, name, "") for name in (NEW, OLD)]
        after = [*page(server, "").files]

    assert before == [OLD, NEW]
    assert answers == [(403, "licence"), (200, "")]
    assert after == [OLD]


def test_an_approval_lifts_rules_of_every_index(tmp_path: Path, public: FakeUpstream) -> None:
    """An approved version has no cooldown in any index, and `despite` lifts its rule there."""
    keys = {"cooldown_days": 7, "blocked_licenses": ["AGPL-*"]}
    with ruled(tmp_path, public, keys, cooldown_days=3) as server:
        index = server.index
        deciding = Deciding(index.server.decisions, "local:ana", None, index.upstream)
        before = [[*page(server, prefix).files] for prefix in ("", "/stable")]
        deciding.approve(REQUESTS, Version("2.0"), "read it")
        without_despite = [[*page(server, prefix).files] for prefix in ("", "/stable")]
        deciding.approve(REQUESTS, Version("2.0"), "read it", ["licence"])
        server.clock.advance(seconds=5)

        assert before == [[OLD], [OLD]]
        assert without_despite == [[OLD, NEW], [OLD]]
        assert [*page(server).files] == [OLD, NEW]
        assert file(server, NEW) == (200, "")


def test_the_approval_of_a_project_ends_no_cooldown(tmp_path: Path, public: FakeUpstream) -> None:
    """Who approves a project has looked at no file of it, so that its new files wait."""
    with ruled(tmp_path, public, {"cooldown_days": 7, "approval": True}) as server:
        index = server.index
        deciding = Deciding(index.server.decisions, "local:ana", None, index.upstream)
        deciding.approve(REQUESTS, None, "known")

        assert [*page(server).files] == [OLD]


def test_without_a_database_nobody_knows_a_hole(tmp_path: Path, public: FakeUpstream) -> None:
    """With min_cvss and without osv, public files are hidden, private ones not, and all say so."""
    with ruled(tmp_path, public, {"min_cvss": 9}) as server:
        server.publish_to("stable", make_wheel("own", "1.0"))
        explained = json.loads(look(server, "/stable/api/v1/upstream/why?project=requests").body)
        late = {"name": "late", "layers": ["upstream"], "min_cvss": 5}
        server.index.server.index_administration.add(late, "local:ana")
        warnings = texts_of(server_warnings(server.index))

        assert page(server).files == {}
        assert [*page(server, name="own").files] == ["own-1.0-py3-none-any.whl"]
        reason = explained["files"][0]["reasons"][0]["text"]
        assert "as there is no database of advisories in upstream.osv" in reason
        assert any("the index stable has min_cvss, and nobody knows" in text for text in warnings)
        assert sum("the index late has min_cvss" in text for text in warnings) == 1


def test_a_database_is_exchanged_while_a_server_runs(tmp_path: Path, public: FakeUpstream) -> None:
    """What a new database says counts within seconds in an index, also on a remembered page."""
    osv = tmp_path / "osv.json"
    write_osv(osv, "1.0")
    with ruled(tmp_path, public, {"min_cvss": 9}, osv=str(osv)) as server:
        first = [[*page(server).files] for _ in range(3)]
        write_osv(osv, "1.0", "2.0")
        server.clock.advance(seconds=5)
        second = [*page(server).files]
        osv.write_bytes(b"{")
        server.clock.advance(seconds=5)

        assert first == [[NEW]] * 3
        assert second == []
        assert page(server).files == {}


def test_a_new_database_counts_in_a_search(tmp_path: Path, public: FakeUpstream) -> None:
    """A version that a new database hides is found no more a minute later, if none was hidden."""
    osv = tmp_path / "osv.json"
    write_osv(osv)
    with ruled(tmp_path, public, {"min_cvss": 9}, osv=str(osv)) as server:
        before = [*page(server).files], found(server)
        write_osv(osv, "2.0")
        server.clock.advance(seconds=61)
        after = found(server)

    assert before == ([OLD, NEW], ["2.0"])
    assert after == ["1.0"]


def test_a_broken_database_hides_after_a_restart(tmp_path: Path, public: FakeUpstream) -> None:
    """A server that starts with a database that it cannot read shows no file of such an index."""
    osv, store = tmp_path / "osv.json", MemoryStore(Clock().seconds)
    write_osv(osv, "1.0")
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    with ruled(tmp_path / "first", public, {"min_cvss": 9}, store=store, osv=str(osv)) as server:
        before = [*page(server).files]
    osv.write_bytes(b"{")
    with ruled(tmp_path / "second", public, {"min_cvss": 9}, store=store, osv=str(osv)) as server:
        after = page(server).files

    assert (before, after) == ([NEW], {})


@pytest.mark.parametrize("least", [0, 5])
def test_a_database_that_lost_entries_opens_nothing(
    tmp_path: Path, public: FakeUpstream, least: int
) -> None:
    """A database that is refused after a restart, as it lacks entries, shows nothing more."""
    osv, store = tmp_path / "osv.json", MemoryStore(Clock().seconds)
    write_osv(osv, "1.0")
    others = [{"id": f"CVE-{number}", "affected": []} for number in range(2, 40)]
    osv.write_text(json.dumps([*json.loads(osv.read_text()), *others]))
    more: dict[str, Any] = {"store": store, "osv": str(osv), "min_cvss": least}
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    with ruled(tmp_path / "first", public, {"min_cvss": 9}, **more) as server:
        _load(server)
        before = [*page(server).files]
    osv.write_text(json.dumps(others[:1]))
    with ruled(tmp_path / "second", public, {"min_cvss": 9}, **more) as server:
        _load(server)
        after = [*page(server).files]

    assert before == [NEW]
    assert OLD not in after


def _load(server: InProcessServer) -> None:
    """Read the database, as the start of a server does."""
    assert server.index.upstream is not None
    server.index.upstream.policy.load()


def test_a_licence_that_was_found_lasts(tmp_path: Path, upstream: FakeUpstream) -> None:
    """What an index has refused for its licence is listed by no server after a restart."""
    wheels = [public_wheel("requests", f"{number}.0", "License: AGPL-3.0") for number in range(12)]
    upstream.publish(*map(FakeFile.of, wheels))
    store, keys = MemoryStore(Clock().seconds), {"allowed_licenses": ["MIT"]}
    for folder in ("first", "other", "second"):
        (tmp_path / folder).mkdir()
    refused = "requests-0.0-py3-none-any.whl"
    with (
        ruled(tmp_path / "first", upstream, keys, store=store) as server,
        ruled(tmp_path / "other", upstream, keys, store=store) as other,
    ):
        before = refused in {**look(other, "/stable/simple/requests/", accept=JSON).files}
        answer = file(server, refused)
        other.clock.advance(seconds=5)
        elsewhere = [*page(other).files]
    with ruled(tmp_path / "second", upstream, keys, store=store) as server:
        listed = json.loads(look(server, "/stable/simple/requests/", accept=JSON).body)["files"]

    assert answer == (404, "view")
    assert not before or refused not in elsewhere
    assert refused not in [each["filename"] for each in listed]


def test_an_exception_is_about_files_that_were_there(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """An exception for a version lets through what was there when an index first used it."""
    first = FakeFile.of(public_wheel("requests", "2.0"), START - timedelta(days=1))
    upstream.publish(first)
    keys = {"cooldown_days": 7, "cooldown_allow": ["requests==2.0"]}
    store = MemoryStore(Clock().seconds)
    with ruled(tmp_path, upstream, keys, store=store, page_ttl=0) as server:
        before = [*page(server).files]
        server.clock.advance(days=1)
        later = public_wheel("requests", "2.0")
        later = replace(later, filename=later.filename.replace("py3", "py2.py3"))
        upstream.publish(first, FakeFile.of(later, START + timedelta(days=1)))
        server.clock.advance(seconds=5)
        after = [*page(server).files]

    assert before == [NEW]
    assert after == [NEW]


def test_what_is_unknown_is_hidden(tmp_path: Path, public: FakeUpstream) -> None:
    """A file without a time of upload is hidden by each rule about time, in an index, too."""
    public.behave("requests", Fault.NO_UPLOAD_TIME)
    with ruled(tmp_path, public, {"cooldown_days": 7}) as server:
        hidden = page(server).files
        explained = json.loads(look(server, "/stable/api/v1/upstream/why?project=requests").body)
    with ruled(tmp_path, public, {"cooldown_days": 7, "cooldown_missing": "first_seen"}) as server:
        at_first = page(server).files
        server.clock.advance(days=7)
        later = [*page(server).files]

    assert hidden == {}
    reason = explained["files"][0]["reasons"][0]
    assert "has no time of upload, so it may be too new." in reason["text"]
    assert "changes_at" not in reason
    assert at_first == {}
    assert later == [OLD, NEW]


def test_a_licence_that_nobody_can_tell_is_hidden(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A release without a licence is hidden by both lists, unless `unknown` is allowed."""
    upstream.publish(public_wheel("requests", "1.0"))
    shown = dict[str, list[str]]()
    for number, keys in enumerate(
        (
            {"allowed_licenses": ["MIT"]},
            {"allowed_licenses": ["MIT", "unknown"]},
            {"blocked_licenses": ["GPL-*"]},
        )
    ):
        (tmp_path / str(number)).mkdir()
        with ruled(tmp_path / str(number), upstream, keys) as server:
            shown[str(keys)] = [*page(server).files]

    assert [*shown.values()] == [[], [OLD], []]
