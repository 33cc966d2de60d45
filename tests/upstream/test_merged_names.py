"""Names whose files come from several upstream indexes of an index."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.distributions import make_wheel
from tests.fake_store import FakeStore
from tests.fake_time import START, Clock
from tests.http.in_process import InProcessServer
from tests.upstream.chains import FIRST, SECOND, chained, page, versions
from tests.upstream.fake_pages import FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import ReadResponse, look
from wheelyard.catalog import keys
from wheelyard.errors import NotFound
from wheelyard.http import upstream_reader
from wheelyard.storage.base import Key
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.decisions import Deciding

ML: Final = {
    "name": "ml",
    "layers": ["ml", FIRST, SECOND],
    "merge": ["torch*"],
    "read": "anyone",
}
OVER: Final = {"name": "over", "layers": ["over", "ml"], "read": "anyone"}
OLD: Final = START - timedelta(days=30)


@pytest.fixture
def torch(upstream: FakeUpstream, second_upstream: FakeUpstream) -> FakeUpstream:
    """The first upstream index, which has a build of its own; the second one has the releases."""
    upstream.publish(public_wheel("torch", "2.0+cu121", "Summary: GPU"), public_wheel("six", "1.0"))
    second_upstream.publish(
        public_wheel("torch", "2.0"), public_wheel("torch", "2.1", "Summary: CPU")
    )
    second_upstream.publish(public_wheel("six", "9.0"))
    return upstream


def links(server: InProcessServer, index: str, name: str = "torch") -> dict[str, str]:
    """Return the path of each file on the page of a project in an index."""
    base = f"/{index}/simple/{name}/"
    files = page(server, index, name).files
    return {filename: urljoin(base, str(file["url"])) for filename, file in files.items()}


@pytest.mark.parametrize("index", ["ml", "over"])
def test_files_come_from_all(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, index: str
) -> None:
    """A merged name has the files of each upstream index, and each file is sent by its own one."""
    with chained(tmp_path, torch, second_upstream, ML, OVER) as server:
        for _ in range(3):
            assert versions(server, index, "torch") == ["2.0", "2.0+cu121", "2.1"]
            assert versions(server, index, "six") == ["1.0"]
            assert versions(server, "", "torch") == ["2.0+cu121"]
            server.clock.advance(seconds=601)
        turns = [server.get(f"/{index}/simple/torch/").was_quick for _ in range(2)]
        assert turns == [False, True]
        for filename, link in links(server, index).items():
            place = torch if "cu121" in filename else second_upstream
            assert look(server, link).status == 200
            assert look(server, f"{link}.metadata").status == 200
            assert any(filename in unquote(asked.path) for asked in place.asked_files("torch"))
        found = json.loads(look(server, f"/{index}/pypi/torch/json").body)
        assert sorted(found["releases"]) == ["2.0", "2.0+cu121", "2.1"]
        assert found["info"]["summary"] == "CPU"
        web = look(server, f"/{index}/project/torch/", accept="text/html")
        assert b"first and second" in web.body
        metrics = look(server, "/metrics").body.decode()
    assert "wheelyard_upstream_owner_change_total 0" in metrics


def test_versions_without_files_are_listed(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A merged name has the versions that any of its upstream indexes lists without files, too."""
    second_upstream.behave("torch", Fault.OTHER_FORMATS)
    with chained(tmp_path, torch, second_upstream, ML) as server:
        listed = page(server, "ml", "torch").page["versions"]

    assert sorted(listed) == ["2.0", "2.0+cu121", "2.1", "8.0", "9.0"]


def test_one_that_does_not_answer(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """If one upstream index does not answer, a merged name is 503, and never a part of it."""
    for silent in (torch, second_upstream):
        silent.behave("torch", 503)
        (tmp_path / str(id(silent))).mkdir()
        with chained(tmp_path / str(id(silent)), torch, second_upstream, ML) as server:
            assert versions(server, "ml", "torch") == ["503"]
            silent.behave("torch")
            server.clock.advance(seconds=61)
            assert versions(server, "ml", "torch") == ["2.0", "2.0+cu121", "2.1"]


def test_equal_filenames(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Of equal filenames with other bytes, those of the first layer are shown and sent."""
    ours, theirs = (public_wheel("torch", "1.0", f"Summary: {who}") for who in ("ours", "theirs"))
    upstream.publish(ours)
    second_upstream.publish(theirs, public_wheel("torch", "2.0"))
    with chained(tmp_path, upstream, second_upstream, ML) as server:
        link = links(server, "ml")[ours.filename]
        assert ours.sha256 in link
        assert look(server, link).body == ours.body
        assert look(server, link.replace(ours.sha256, theirs.sha256)).status == 404
        upstream.drop("torch")
        upstream.publish(public_wheel("torch", "3.0"))
        server.clock.advance(seconds=601)
        assert versions(server, "ml", "torch") == ["2.0", "3.0"]  # never the other bytes
        assert look(server, link.replace(ours.sha256, theirs.sha256)).status == 404


def test_a_version_that_only_one_of_them_hides(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A version of which one upstream index shows a file is there, although another hides its."""
    new = FakeFile.of(make_wheel("torch", "1.0", tag="cp314-cp314-win32"), START)
    upstream.publish(new, FakeFile.of(public_wheel("torch", "2.0"), START))
    second_upstream.publish(FakeFile.of(public_wheel("torch", "1.0"), OLD))
    with chained(tmp_path, upstream, second_upstream, ML, cooldown_days=7) as server:
        assert versions(server, "ml", "torch") == ["1.0"]
        found = json.loads(look(server, "/ml/pypi/torch/1.0/json").body)
        assert [file["filename"] for file in found["urls"]] == ["torch-1.0-py3-none-any.whl"]
        assert b"days" in look(server, "/ml/pypi/torch/2.0/json").body


def test_a_file_that_has_left_its_page(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """With `keep_removed`, a kept file of a merged name stays at its link without its page."""
    wheel = public_wheel("torch", "2.2")
    second_upstream.publish(wheel)
    rules: dict[str, Any] = {"keep_removed": True, "page_ttl": 0}
    store = MemoryStore(Clock().seconds)
    with chained(tmp_path, torch, second_upstream, ML, store=store, **rules) as server:
        link = links(server, "ml")[wheel.filename]
        assert server.index.upstream is not None
        folder = keys.upstream(server.index.upstream.config.servers[1].id)
        file_key = keys.distribution(canonicalize_name("torch"), wheel.sha256, wheel.filename)
        store.put(Key(f"{folder}{file_key}"), wheel.body, None)
        second_upstream.withdraw(wheel.filename)
        server.clock.advance(seconds=1)
        assert versions(server, "ml", "torch") == ["2.0", "2.0+cu121", "2.1"]
        answer = look(server, link)

    assert (answer.status, answer.body) == (200, wheel.body)


def test_the_provenance_of_a_file_that_none_has(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The provenance of a file that no upstream index of a merged name lists is 404."""
    with chained(tmp_path, torch, second_upstream, ML) as server:
        path = "/ml/integrity/torch/2.0/torch-2.0-py3-none-win32.whl/provenance"
        assert look(server, path).status == 404


def test_a_project_that_is_gone(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """What a project that is gone had listed is not filled in, and the reasons agree with that."""
    upstream.publish(public_wheel("torch", "1.0", "Summary: ours"))
    theirs = public_wheel("torch", "1.0", "Summary: theirs")
    second_upstream.publish(theirs, public_wheel("torch", "2.0"))
    with chained(tmp_path, upstream, second_upstream, ML) as server:
        assert versions(server, "ml", "torch") == ["1.0", "2.0"]
        upstream.drop("torch")
        server.clock.advance(seconds=601)
        assert versions(server, "ml", "torch") == ["2.0"]
        link = f"/ml/files/torch/{theirs.sha256}/{theirs.filename}"
        assert look(server, link).status == 404
        explained = json.loads(look(server, "/ml/api/v1/upstream/why?project=torch").body)
        shown = {file["version"] for file in explained["files"] if file["shown"]}
        assert shown == {"2.0"}


def test_a_project_that_is_gone_and_forgotten(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A running server follows soon if an operator has what was gone forgotten elsewhere."""
    upstream.publish(public_wheel("torch", "1.0"))
    second_upstream.publish(
        public_wheel("torch", "1.0", "Summary: theirs"), public_wheel("torch", "2.0")
    )
    store = MemoryStore(Clock().seconds)
    with chained(tmp_path, upstream, second_upstream, ML, store=store) as server:
        versions(server, "ml", "torch")
        upstream.drop("torch")
        server.clock.advance(seconds=601)
        assert versions(server, "ml", "torch") == ["2.0"]
        assert server.index.upstream is not None
        server.index.upstream.pages.flush()
        with chained(tmp_path, upstream, second_upstream, ML, store=store) as other:
            assert other.index.upstream is not None
            other.index.upstream.pages.forget(canonicalize_name("torch"))
        server.clock.advance(seconds=6)
        assert versions(server, "ml", "torch") == ["1.0", "2.0"]


def test_a_name_that_one_of_them_has(
    upstream: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A merged name that one upstream index has is shown, and one that none has is 404."""
    second_upstream.publish(public_wheel("torchvision", "1.0"))
    with chained(tmp_path, upstream, second_upstream, ML) as server:
        assert versions(server, "ml", "torchvision") == ["1.0"]
        assert versions(server, "ml", "torchaudio") == ["404"]
        upstream.publish(public_wheel("torchvision", "2.0"))
        server.clock.advance(seconds=61)
        assert versions(server, "ml", "torchvision") == ["1.0", "2.0"]
        second_upstream.drop("torchvision")
        server.clock.advance(seconds=601)
        assert versions(server, "ml", "torchvision") == ["2.0"]


def test_guesses_of_merged_names_are_limited(
    upstream: FakeUpstream,
    second_upstream: FakeUpstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A merged name that none of the upstream indexes has counts once as a guess."""
    monkeypatch.setattr(upstream_reader, "UNKNOWN_NAMES_PER_MINUTE", 3)
    with chained(tmp_path, upstream, second_upstream, ML) as server:
        seen = [versions(server, "ml", f"torch-{number}") for number in range(4)]

    assert seen == [["404"], ["404"], ["404"], ["429"]]


@pytest.mark.parametrize("place", ["ml", "over"])
def test_a_private_name_is_never_merged(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path, place: str
) -> None:
    """A name that is private in any layer asks no upstream index, although `merge` has it."""
    with chained(tmp_path, torch, second_upstream, ML, OVER, check_upload=False) as server:
        server.publish_to(place, make_wheel("torch", "0.1"))
        assert versions(server, "over", "torch") == ["0.1"]
        assert torch.asked("torch") == second_upstream.asked("torch") == []
        shown = {"ml": ["0.1"], "over": ["2.0", "2.0+cu121", "2.1"]}
        assert versions(server, "ml", "torch") == shown[place]


def test_a_merged_name_that_becomes_private(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Once a merged name is published here, its public files are gone, also by their links."""
    with chained(tmp_path, torch, second_upstream, ML, check_upload=False) as server:
        public = links(server, "ml")
        assert all(look(server, link).status == 200 for link in public.values())
        server.publish_to("ml", make_wheel("torch", "0.1"))
        assert versions(server, "ml", "torch") == ["0.1"]
        for link in public.values():
            assert look(server, link).status == 404
            assert look(server, f"{link}.metadata").status == 404


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        ({"cooldown_days": 7}, ["2.0"]),
        ({"versions": {"torch": "<2.1"}}, ["2.0", "2.0+cu121"]),
        ({"blocked_licenses": ["AGPL-*"]}, ["2.0", "2.1"]),
        ({"deny": ["torch"]}, []),
    ],
)
@pytest.mark.parametrize("is_policy", [True, False])
def test_rules_hold_for_each(
    upstream: FakeUpstream,
    second_upstream: FakeUpstream,
    tmp_path: Path,
    rules: dict[str, Any],
    shown: list[str],
    *,
    is_policy: bool,
) -> None:
    """Rules of `[upstream]`, and of the index, hide files of each upstream index."""
    gpu = public_wheel("torch", "2.0+cu121", "License: AGPL-3.0")
    upstream.publish(FakeFile.of(gpu, START - timedelta(days=1)))
    mit = "License: MIT"
    second_upstream.publish(
        FakeFile.of(public_wheel("torch", "2.0", mit), OLD),
        FakeFile.of(public_wheel("torch", "2.1", mit), START - timedelta(days=1)),
    )
    if is_policy and "deny" in rules:
        shown = ["404"]
    more: dict[str, Any] = rules if is_policy else {}
    index = ML if is_policy else {**ML, **rules}
    with chained(tmp_path, upstream, second_upstream, index, **more) as server:
        if not (is_policy and "blocked_licenses" in rules):  # which is found out with the file
            assert versions(server, "ml", "torch") == shown
            explained = json.loads(look(server, "/ml/api/v1/upstream/why?project=torch").body)
            files = explained.get("files", [])
            explained_as_shown = sorted(file["version"] for file in files if file["shown"])
            assert explained_as_shown == (shown if shown != ["404"] else [])
        public = links(server, "ml") if shown != ["404"] else {}
        got = [look(server, link).status for name, link in public.items() if name != gpu.filename]
        assert set(got) <= {200}
        link = f"/ml/files/torch/{gpu.sha256}/{gpu.filename}"
        assert (look(server, link).status == 200) is ("2.0+cu121" in shown)


def test_what_each_of_them_is_asked_for(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """`allow` and `deny` of an upstream index hold for merged names, too."""
    second_upstream.publish(public_wheel("torch-extra", "1.0"))
    torch.publish(public_wheel("torch-extra", "2.0"))
    tables: tuple[dict[str, Any], ...] = ({"allow": ["torch"]}, {})
    with chained(tmp_path, torch, second_upstream, ML, tables=tables) as server:
        assert versions(server, "ml", "torch-extra") == ["1.0"]
        assert versions(server, "ml", "torch") == ["2.0", "2.0+cu121", "2.1"]
    assert torch.asked("torch-extra") == []


def test_why_and_refresh(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """What clients get of a merged name is explained for all of its files."""

    def why(server: InProcessServer) -> ReadResponse:
        return look(server, "/ml/api/v1/upstream/why?project=torch")

    with chained(
        tmp_path, torch, second_upstream, ML, store=MemoryStore(Clock().seconds)
    ) as server:
        explained = json.loads(why(server).body)
        assert sorted(file["version"] for file in explained["files"] if file["shown"]) == [
            *("2.0", "2.0+cu121", "2.1"),
        ]
        labels = [identifier.rpartition("-")[0] for identifier in explained["upstream"].split()]
        assert (labels, explained["fetched_at"]) == (["first", "second"], "2026-01-01T00:00:00Z")
        asked = server.index.named("ml").upstream
        assert asked is not None
        torch.publish(public_wheel("torch", "3.0"))
        renewed = asked.refresh(canonicalize_name("torch"), may_read=True)
        assert (renewed.upstream, renewed.files) == ("first and second", 4)
        assert renewed.new == ("torch-3.0-py3-none-any.whl",)
        second_upstream.behave("torch", 503)
        server.clock.advance(days=3)
        explained = json.loads(why(server).body)
        assert explained["answer"] == "unavailable"
        assert not any(file["shown"] for file in explained["files"])


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        (["all", "upstream"], ["2.0+cu121"]),
        (["all", "main", "over"], ["2.0+cu121"]),
        (["all", "low", "over"], ["2.0", "2.0+cu121", "2.1"]),
    ],
)
def test_all_upstream_indexes_are_one_layer(
    torch: FakeUpstream,
    second_upstream: FakeUpstream,
    tmp_path: Path,
    layers: list[str],
    shown: list[str],
) -> None:
    """Versions of the upstream indexes in `upstream` are not mixed, although `merge` has a name."""
    over = {"name": "over", "layers": ["over", "upstream"], "read": "anyone"}
    low = {"name": "low", "layers": ["low", SECOND], "read": "anyone"}
    whole = {"name": "all", "layers": layers, "merge": ["*"], "read": "anyone"}
    with chained(tmp_path, torch, second_upstream, whole, over, low) as server:
        for _ in range(2):
            assert versions(server, "all", "torch") == shown
            server.clock.advance(seconds=601)


def test_a_layer_merges_for_itself_alone(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A name that only a layer merges has the files of the first layer alone."""
    low = {"name": "low", "layers": ["low", SECOND], "merge": ["torch*"], "read": "anyone"}
    high = {"name": "high", "layers": ["high", FIRST, "low"], "read": "anyone"}
    with chained(tmp_path, torch, second_upstream, low, high) as server:
        assert versions(server, "high", "torch") == ["2.0+cu121"]
        assert versions(server, "low", "torch") == ["2.0", "2.1"]


def test_search_finds_the_newest_of_all(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A search tells the newest version of a merged name, whichever upstream index has it."""
    store = FakeStore(MemoryStore(Clock().seconds))
    with chained(tmp_path, torch, second_upstream, ML, OVER, store=store) as server:
        page(server, "ml", "torch")
        assert server.index.upstream is not None
        server.index.upstream.pages.flush()
        for index in ("ml", "over"):
            store.calls.clear()
            (facts,) = server.index.named(index).repository.shown_projects.table().projects
            assert (facts.name, facts.version) == ("torch", "2.1")
            # once each: the facts are those that any list of public packages has
            assert store.count("get", "upstream/*/pages/torch.*") == 2


def test_an_approval_of_what_another_index_shows(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """An approval of a version is about the first upstream index that has it, beside the owner."""
    name = canonicalize_name("torch")
    with chained(tmp_path, torch, second_upstream, ML, approval=True) as server:
        assert versions(server, "ml", "torch") == []
        deciding = Deciding(server.index.server.decisions, "local:bo", None, server.index.upstream)
        for version in ("2.1", "2.0+cu121"):
            deciding.approve(name, Version(version), "needed")
        with pytest.raises(NotFound, match="lists no file of it"):
            deciding.approve(name, Version("7.0"), "needed")
        server.clock.advance(seconds=20)
        assert versions(server, "ml", "torch") == ["2.0+cu121", "2.1"]
        assert versions(server, "", "torch") == ["2.0+cu121"]


def test_a_project_is_approved_while_another_index_is_silent(
    torch: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """An approval of a whole project needs the answer of its owner, and of no other index."""
    with chained(tmp_path, torch, second_upstream, approval=True) as server:
        second_upstream.behave("torch", 503)
        deciding = Deciding(server.index.server.decisions, "local:bo", None, server.index.upstream)
        deciding.approve(canonicalize_name("torch"), None, "needed")
        server.clock.advance(seconds=20)
        assert versions(server, "", "torch") != []
