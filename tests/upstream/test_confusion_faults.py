"""Dependency confusion with faults of the store, several instances and several upstreams."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urljoin

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.fake_store import FakeStore, FaultKind
from tests.fake_store import Fault as StoreFault
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer
from tests.http.packages import post_form
from tests.http.servers import token_of
from tests.operations.in_memory_index import ALICE
from tests.upstream.fake_pages import Fault, basic
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.reading import SOURCE, link_of, look, page_of
from tests.upstream.settings import front
from wheelyard.catalog import keys
from wheelyard.errors import Forbidden, NotFound
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.decisions import Deciding

NAME = canonicalize_name("acme-core")
FIRST = Selection(Version("1.0"))


@pytest.fixture
def store() -> MemoryStore:
    """A store that a private package is in."""
    return MemoryStore(Clock().seconds)


@pytest.fixture
def stocked_store(store: MemoryStore, upstream: FakeUpstream, tmp_path: Path) -> MemoryStore:
    """A store with `acme-core` 1.0; the upstream has 99.0 of it and `requests`."""
    upstream.publish(public_wheel("requests", "2.0"))
    with front(tmp_path, upstream, store=store, enabled=False) as early:
        early.publish(private_wheel("acme-core", "1.0"))
    upstream.publish(public_wheel("acme-core", "99.0"))
    return store


def test_upstream_is_off(upstream: FakeUpstream, tmp_path: Path) -> None:
    """An upstream that is configured and not enabled is never asked."""
    upstream.publish(public_wheel("requests", "2.0"))
    with front(tmp_path, upstream, enabled=False) as server:
        assert page_of(server, "requests").status == 404
        server.publish(private_wheel("requests", "1.0"))

    assert upstream.requests == []


@pytest.mark.parametrize(
    "fault",
    [
        StoreFault(FaultKind.NOT_DONE, "get", "projects/*", times=10**6),
        StoreFault(FaultKind.NOT_DONE, "get", "projects.json", times=10**6),
        StoreFault(FaultKind.NOT_DONE, "get", "*", times=10**6),
        StoreFault(FaultKind.NOT_DONE, "list", "*", times=10**6),
        StoreFault(FaultKind.NOT_DONE, "*", "*", times=10**6),
    ],
    ids=lambda fault: f"{fault.verb} {fault.key}".replace("/", ""),
)
@pytest.mark.parametrize("name", ["acme-core", "requests"])
def test_store_does_not_answer(
    stocked_store: MemoryStore, upstream: FakeUpstream, tmp_path: Path, fault: StoreFault, name: str
) -> None:
    """While the store does not say whether a name is private, no public package is shown."""
    faulty = FakeStore(stocked_store)
    with front(tmp_path, upstream, store=faulty) as server:
        faulty.follow(fault)
        for target in (f"/simple/{name}/", f"/pypi/{name}/json", f"/project/{name}/"):
            seen = look(server, target)
            assert seen.status == 503 or (seen.status == 200 and b"99.0" not in seen.body)
            assert name != "acme-core" or upstream.asked(name) == []
        if fault.verb != "list":
            assert upstream.requests == []


def test_store_is_empty(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A store without its first object, such as a wrong bucket, is an error and no free name."""
    upstream.publish(public_wheel("requests", "2.0"))
    store = FakeStore(MemoryStore(Clock().seconds))
    with front(tmp_path, upstream, store=store) as server:
        store.inner = MemoryStore(Clock().seconds)

        assert page_of(server, "requests").status == 503
        assert upstream.requests == []


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_two_instances(
    store: MemoryStore, upstream: FakeUpstream, tmp_path: Path, kind: str
) -> None:
    """What one instance publishes, the other takes for private at once, whatever it has cached."""
    package = public_wheel("lately", "99.0")
    upstream.publish(package)
    (tmp_path / "second").mkdir()
    shared = store if kind == "memory" else LocalStore(tmp_path / "store", Random(1))
    with (
        front(tmp_path, upstream, store=shared, shadow=("lately",)) as first,
        front(tmp_path / "second", upstream, store=shared) as second,
    ):
        link = link_of(second, "lately", package.filename)
        for _ in range(3):  # the third answer repeats the second
            assert page_of(second, "lately").headers[SOURCE] == "upstream"
            assert look(second, link).status == 200
        first.publish(private_wheel("lately", "1.0"))
        asked = len(upstream.asked("lately"))

        assert list(page_of(second, "lately").files) == ["lately-1.0-py3-none-any.whl"]
        for target in (link, f"{link}.metadata", "/pypi/lately/99.0/json"):
            assert look(second, target).status == 404, target
        assert len(upstream.asked("lately")) == asked


def test_first_upstream_fails(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """While the first upstream does not answer, the second one is not asked instead."""
    second_upstream.publish(public_wheel("requests", "2.0"))
    upstream.behave("requests", 503)
    with two_upstreams(tmp_path, upstream, second_upstream) as server:
        assert page_of(server, "requests").status == 503
    assert second_upstream.asked("requests") == []


def test_second_upstream(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """What only the second upstream has comes from there; what both have, from the first."""
    upstream.publish(public_wheel("both", "1.0"))
    for name in ("both", "second"):
        second_upstream.publish(public_wheel(name, "2.0"))
    with two_upstreams(tmp_path, upstream, second_upstream) as server:
        assert list(page_of(server, "both").files) == ["both-1.0-py3-none-any.whl"]
        assert list(page_of(server, "second").files) == ["second-2.0-py3-none-any.whl"]
    assert second_upstream.asked("both") == []


def test_name_changes_its_owner(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A name that goes from the first upstream to the second is not followed."""
    upstream.publish(public_wheel("moving", "1.0"))
    with two_upstreams(tmp_path, upstream, second_upstream, page_ttl=1) as server:
        assert page_of(server, "moving").status == 200
        upstream.drop("moving")
        second_upstream.publish(public_wheel("moving", "2.0"))
        server.clock.advance(days=2)

        assert page_of(server, "moving").status == 404
        metrics = look(server, "/metrics").body.decode()
        moved = Deciding(server.index.server.decisions, "local:ana", None, server.index.upstream)
        with pytest.raises(NotFound, match="cannot be approved now: moving belongs to"):
            moved.approve(canonicalize_name("moving"), None, "")
    assert "wheelyard_upstream_owner_change_total 1" in metrics


def test_first_upstream_gets_a_name_later(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A name that the first upstream gets later is shown by no server until it is forgotten."""
    package = public_wheel("late", "1.0")
    second_upstream.publish(package)
    store = LocalStore(tmp_path / "store", Random(1))
    with two_upstreams(tmp_path, upstream, second_upstream, store=store) as server:
        link = link_of(server, "late", package.filename)
        upstream.publish(public_wheel("late", "2.0"))
        server.clock.advance(seconds=601)

        assert page_of(server, "late").status == 404
        assert look(server, link).status == 404
        with pytest.raises(Forbidden, match="is the name of a public package"):
            server.publish(private_wheel("late", "3.0"))
        metrics = look(server, "/metrics").body.decode()
    assert "wheelyard_upstream_owner_change_total 1" in metrics
    upstream.drop("late")
    with two_upstreams(tmp_path, upstream, second_upstream, store=store) as server:
        assert page_of(server, "late").status == 404
        assert server.index.upstream is not None
        (why,) = server.index.upstream.explain(
            canonicalize_name("late"), None, may_read=True
        ).reasons
        assert (why.code, "late belongs to the upstream index second" in why.text) == (
            "owner_change",
            True,
        )
        server.index.upstream.pages.forget(canonicalize_name("late"))
        assert list(page_of(server, "late").files) == ["late-1.0-py3-none-any.whl"]


def test_names_of_each_upstream(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Each upstream is asked for the names of its table, or else for those of `[upstream]`."""
    for name in ("lib-core", "requests", "denied", "unlisted"):
        upstream.publish(public_wheel(name, "1.0"))
        second_upstream.publish(public_wheel(name, "2.0"))
    tables: tuple[dict[str, Any], ...] = (
        {"allow": ["Lib_*"], "deny": []},
        {"page_ttl": 5},
    )
    rules = {"allow": ("requests", "denied"), "deny": ("denied",)}
    with two_upstreams(tmp_path, upstream, second_upstream, tables, **rules) as server:
        assert list(page_of(server, "lib-core").files) == ["lib_core-1.0-py3-none-any.whl"]
        for _ in range(2):
            assert list(page_of(server, "requests").files) == ["requests-2.0-py3-none-any.whl"]
            server.clock.advance(seconds=6)
        for name in ("denied", "unlisted"):
            assert page_of(server, name).status == 404
        assert page_of(server, "lib-core").status == 200
    assert [len(upstream.asked(name)) for name in ("lib-core", "requests", "denied")] == [1, 0, 0]
    assert [len(second_upstream.asked(name)) for name in ("lib-core", "requests", "denied")] == [
        0,
        2,
        0,
    ]


def test_restored_list_of_names(
    stocked_store: MemoryStore, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A project that an older list of names lacks, after a restore, still is private."""
    stocked_store.put(keys.PROJECT_NAMES, b'{"projects": []}', None)
    for patterns in ((), ("acme-*",)):
        with front(tmp_path, upstream, store=stocked_store, private=patterns) as server:
            assert list(page_of(server, "acme-core").files) == ["acme_core-1.0-py3-none-any.whl"]
            listed = json.loads(
                look(server, "/simple/", accept="application/vnd.pypi.simple.v1+json").body
            )["projects"]
            assert [project["name"] for project in listed] == ["acme-core"]
    assert upstream.asked("acme-core") == []


def test_guessing_names(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A name that the upstream lacks is not asked for again within a minute, and then is."""
    with front(tmp_path, upstream) as server:
        for _ in range(5):
            assert page_of(server, "nothing-here").status == 404
        assert len(upstream.asked("nothing-here")) == 1
        upstream.publish(public_wheel("nothing-here", "1.0"))
        server.clock.advance(seconds=61)

        assert page_of(server, "nothing-here").status == 200


def test_policy_of_names(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A denied name, and one that the list of allowed names lacks, is asked for nowhere."""
    for name in ("requests", "denied", "other"):
        upstream.publish(public_wheel(name, "2.0"))
    rules: dict[str, Any] = {
        "allow": ("requests", "denied"),
        "deny": ("Denied",),
    }
    with front(tmp_path, upstream, **rules) as server:
        assert page_of(server, "requests").status == 200
        assert page_of(server, "denied").status == 404
        assert page_of(server, "other").status == 404
        shown = server.get("/project/denied/", ("accept", "text/html")).body
    assert b"<h1>Not among the packages here</h1>" in shown
    assert b"denied by the settings" in shown
    assert b"spelling" not in shown
    assert upstream.asked("denied") == upstream.asked("other") == []


def two_upstreams(
    folder: Path,
    first: FakeUpstream,
    second: FakeUpstream,
    tables: tuple[dict[str, Any], ...] = ({}, {}),
    **more: Any,  # noqa: ANN401
) -> AbstractContextManager[InProcessServer]:
    """Return a front before two upstreams; `tables` have more settings of each of them."""
    labelled = zip((first, second), ("first", "second"), tables, strict=True)
    tables = tuple(
        {"url": each.url, "label": label, "file_hosts": [each.file_host], **table}
        for each, label, table in labelled
    )
    own: dict[str, Any] = {"url": "", "label": "", "file_hosts": ()}
    return front(folder, first, index=tables, **own, **more)


def test_quarantine_is_shown_at_once(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A project that the upstream has quarantined shows no files once its page is asked again."""
    upstream.publish(public_wheel("bad", "1.0"))
    with front(tmp_path, upstream) as server:
        link = link_of(server, "bad", "bad-1.0-py3-none-any.whl")
        upstream.behave("bad", Fault.QUARANTINED)
        server.clock.advance(seconds=601)

        page = page_of(server, "bad").page
        assert page["project-status"]["status"] == "quarantined"
        assert page["files"] == []
        assert look(server, link).status == 403


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (500, 503),
        (503, 503),
        (429, 503),
        (401, 502),
        (403, 403),
        (Fault.BAD_JSON, 502),
    ],
)
def test_upload_while_the_upstream_fails(
    upstream: FakeUpstream, tmp_path: Path, fault: Fault | int, status: int
) -> None:
    """While nobody can say whether a name is public, its upload is answered with 503."""
    package = private_wheel("unsure", "1.0")
    upstream.behave("unsure", fault)
    with front(tmp_path, upstream) as server:
        answer = post_form(server, package)
        shadowed = post_form(server, private_wheel("team-new", "1.0"))
        index = look(server, "/simple/unsure/")

    assert answer.status == 503
    # its list of projects is answered, so that only this name is refused
    assert index.status == status
    assert shadowed.status == 200


def test_upload_while_the_upstream_is_gone(upstream: FakeUpstream, tmp_path: Path) -> None:
    """While the upstream is gone, private names alone take uploads, and others are 503."""
    upstream.stop()
    with front(tmp_path, upstream) as server:
        answer = post_form(server, private_wheel("unsure", "1.0"))
        shadowed = post_form(server, private_wheel("team-new", "1.0"))
        index = look(server, "/simple/unsure/")

    assert (answer.status, index.status, shadowed.status) == (503, 503, 200)


def test_rights(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Whoever may read anything may read public packages, and nobody asks for private names."""
    for name in ("requests", "acme-core", "acme-other"):
        upstream.publish(public_wheel(name, "99.0"))
    access = AccessSettings(private=True, private_names=("acme-*",))
    with front(tmp_path, upstream, access=access, private=()) as server:
        server.publish(private_wheel("acme-core", "1.0"))
        server.publish(private_wheel("team-old", "1.0"))
        reader = {"authorization": basic("__token__", token_of(server.index, "other", can="read"))}
        allowed = {"authorization": basic("__token__", token_of(server.index, can="read"))}
        by_upload = list(upstream.requests)
        for name in ("requests", "acme-core", "acme-other"):
            assert page_of(server, name).status == 401
        for name, status in (("team-old", 404), ("acme-core", 403), ("acme-other", 403)):
            assert page_of(server, name, **reader).status == status
        assert upstream.requests == by_upload

        page = page_of(server, "requests", **allowed)
        link = urljoin("/simple/requests/", page.files["requests-99.0-py3-none-any.whl"]["url"])
        assert look(server, link, **allowed).status == 200
        for suffix in ("", ".metadata"):
            assert look(server, link + suffix).status == 401
            assert look(server, link + suffix, **reader).status == 200
        assert page_of(server, "acme-other", **allowed).page["files"] == []
        private = next(iter(page_of(server, "team-old", **allowed).files.values()))["url"]
        link = urljoin("/simple/team-old/", private)
        assert look(server, link, **reader).status == 404
        assert look(server, "/pypi/team-old/json", **reader).status == 404
        assert look(server, "/project/team-old/", **reader).status == 404
        assert look(server, "/pypi/requests/json", **reader).status == 200
    assert upstream.asked("acme-core") == upstream.asked("acme-other") == []
    assert len(upstream.asked("team-old")) == 1


def test_release(stocked_store: MemoryStore, upstream: FakeUpstream, tmp_path: Path) -> None:
    """A name without files stays private after a restart without a cache, until it is released."""
    with front(tmp_path, upstream, store=stocked_store) as server:
        server.index.lifecycle.change("delete", ALICE, NAME, FIRST, "")
        assert page_of(server, NAME).page["files"] == []
    for stored in list(stocked_store.list("upstream/")):
        stocked_store.delete(stored.key)

    with front(tmp_path, upstream, store=stocked_store) as server:
        assert page_of(server, NAME).page["files"] == []
        assert upstream.asked(NAME) == []
        server.index.names.release(ALICE, NAME, "given up")
        assert list(page_of(server, NAME).files) == ["acme_core-99.0-py3-none-any.whl"]
