"""Wheel variants of upstream indexes: shown with the document of that index, or not at all."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import Distribution, make_wheel
from tests.fake_time import START
from tests.upstream.chains import FIRST, SECOND, chained, page
from tests.upstream.fake_pages import FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.reading import file_of, link_of, look, page_of
from tests.upstream.settings import front
from tests.upstream.team import Team
from tests.variants.wheels import make_variant
from tests.waiting import until
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.indexes import Explainer

V2, V3, PLAIN = make_variant("v2"), make_variant("v3"), make_wheel()
NAME: Final = NormalizedName("demo")
DOCUMENT: Final = "demo-1.0-variants.json"
ALL: Final = sorted([V2.filename, V3.filename, PLAIN.filename, DOCUMENT])


def file(made: Distribution, days: int = 300) -> FakeFile:
    """Return a wheel as an upstream index lists it, which it has got days ago."""
    at = START - timedelta(days=days)
    return FakeFile(filename=made.filename, body=made.body, uploaded_at=at)


def document(*labels: str, filename: str = DOCUMENT) -> FakeFile:
    """Return the document of an upstream index, as no index here would write it."""
    body = json.dumps({"variants": {label: {} for label in labels}}, indent=4).encode()
    return FakeFile(filename=filename, body=body)


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream index with wheels for two machines and for any."""
    upstream.publish(*map(file, (V2, V3, PLAIN)), document("v2", "v3"))
    return upstream


@pytest.mark.parametrize("fault", [None, Fault.HTML_ONLY, Fault.NO_SIZE])
def test_the_document_is_that_of_the_upstream(
    tmp_path: Path, public: FakeUpstream, fault: Fault | None
) -> None:
    """The page has the wheels and the document of the upstream index, byte for byte."""
    public.behave("demo", *filter(None, [fault]))
    with front(tmp_path, public) as server:
        assert sorted(page_of(server, "demo").files) == ALL
        assert page_of(server, "demo").page["versions"] == ["1.0"]
        for _ in range(2):
            answer = file_of(server, "demo", DOCUMENT)
            assert (answer.status, answer.body) == (200, document("v2", "v3").body)
            assert "private" in answer.headers["cache-control"]
        assert file_of(server, "demo", V3.filename).body == V3.body
        assert len([each for each in public.asked_files("demo") if "json" in each.path]) == 1
        assert file_of(server, "demo", DOCUMENT, ".metadata").status == 404
        assert b"variants.json" not in look(server, "/pypi/demo/json").body


@pytest.mark.parametrize("fault", [None, Fault.NO_HASH])
def test_wheels_without_a_document_are_left_out(
    tmp_path: Path, public: FakeUpstream, fault: Fault | None
) -> None:
    """Without a document, or one with a digest, wheels with a label are left out, as `why` says."""
    public.behave("demo", *filter(None, [fault]))
    if fault is None:
        public.withdraw(DOCUMENT)
    with front(tmp_path, public) as server:
        assert list(page_of(server, "demo").files) == [PLAIN.filename]
        upstream = server.index.upstream
        assert upstream is not None
        explained = Explainer(upstream).explain(NAME, Version("1.0"), may_read=True)
        unused = {link.filename: link.why for link in explained.unused_links}
        assert unused[V3.filename] == f"is a wheel variant without {DOCUMENT}"
        assert unused.get(DOCUMENT) == (None if fault is None else "has no SHA-256")


def test_a_document_without_wheels_is_left_out(tmp_path: Path, public: FakeUpstream) -> None:
    """A document about wheels that the page does not have is left out."""
    public.publish(document("v3", filename="demo-2.0-variants.json"))
    with front(tmp_path, public) as server:
        assert sorted(page_of(server, "demo").files) == ALL


def test_a_rule_changes_no_document(tmp_path: Path, public: FakeUpstream) -> None:
    """Where a rule hides some wheels, the document stays as it is, until the last one is hidden."""
    public.publish(file(V3, days=1))
    with front(tmp_path, public, cooldown_days=7) as server:
        assert sorted(page_of(server, "demo").files) == sorted(set(ALL) - {V3.filename})
        assert file_of(server, "demo", DOCUMENT).body == document("v2", "v3").body
        link = link_of(server, "demo", DOCUMENT)
    public.publish(file(V2, days=1))
    with front(tmp_path, public, cooldown_days=7) as server:
        assert list(page_of(server, "demo").files) == [PLAIN.filename]
        assert look(server, link).status == 404


def test_a_page_has_the_newest_document(tmp_path: Path, public: FakeUpstream) -> None:
    """A page shows another document of the upstream index, though the wheels are the same."""
    with front(tmp_path, public) as server:
        old = link_of(server, "demo", DOCUMENT)
        public.publish(document("v2", "v3", "v4"))
        server.clock.advance(hours=1)
        page_of(server, "demo", cache_control="no-cache")
        assert link_of(server, "demo", DOCUMENT) != old


def test_who_has_an_older_page_gets_its_document(tmp_path: Path, public: FakeUpstream) -> None:
    """A document that was fetched here is served after the upstream index has a newer one."""
    store = MemoryStore(lambda: 0.0)
    with front(tmp_path, public, store=store) as server:
        old = link_of(server, "demo", DOCUMENT)
        assert look(server, old).status == 200
        # the client has all bytes a moment before the store has them
        until(lambda: any(entry.key.endswith(DOCUMENT) for entry in store.list("upstream/")))
    public.publish(document("v2", "v3", "v4"))
    with front(tmp_path, public, store=store, page_ttl=0) as server:
        server.clock.advance(hours=1)
        page_of(server, "demo")
        assert link_of(server, "demo", DOCUMENT) != old
        assert look(server, old).body == document("v2", "v3").body
        assert file_of(server, "demo", DOCUMENT).body == document("v2", "v3", "v4").body
        assert look(server, old.replace(document("v2", "v3").sha256, "0" * 64)).status == 404


def test_of_two_indexes_the_first_document_counts(
    tmp_path: Path, public: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """For a merged name, wheels with a label come from the first index that has a document."""
    other = make_variant("v4", tag="py2-none-any")
    plain = make_wheel(tag="py2-none-any")
    table = {"name": "ml", "layers": ["ml", FIRST, SECOND], "merge": ["demo"], "read": "anyone"}
    later = make_variant("v4", version="2.0")
    second_upstream.publish(*map(file, (other, plain, later)))
    second_upstream.publish(document("v4"), document("v4", filename="demo-2.0-variants.json"))
    with chained(tmp_path, public, second_upstream, table) as server:
        files = page(server, "ml", "demo").files
        assert sorted(files) == sorted(
            [*ALL, plain.filename, later.filename, "demo-2.0-variants.json"]
        )
        for filename, body in (
            (DOCUMENT, document("v2", "v3").body),
            ("demo-2.0-variants.json", document("v4").body),
        ):
            path = urljoin("/ml/simple/demo/", files[filename]["url"])
            assert look(server, path).body == body


def keep(team: Team, *files: FakeFile) -> None:
    """Bring files of the upstream index into the store, as a server does for a client."""
    with team.index() as index:
        assert index.upstream is not None
        found = index.upstream.pages.ask_if_due(NAME)
        assert found is not None
        listed = {each.filename: each for each in (*found.page.files, *found.page.variants)}
        for each in files:
            index.upstream.files.bring(found.page, listed[each.filename])


def test_a_site_has_what_is_stored(tmp_path: Path, public: FakeUpstream) -> None:
    """A static site has the wheels with a label as soon as the store has their document."""
    team = Team(tmp_path, public)
    keep(team, file(V3), file(PLAIN))
    team.export()
    page = json.loads((team.site / "simple/demo/index.json").read_bytes())
    assert [each["filename"] for each in page["files"]] == [PLAIN.filename]

    keep(team, document("v2", "v3"))
    for _ in range(2):
        team.export()

    page = json.loads((team.site / "simple/demo/index.json").read_bytes())
    assert [each["filename"] for each in page["files"]] == sorted(set(ALL) - {V2.filename})
    (link,) = (each["url"] for each in page["files"] if each["filename"] == DOCUMENT)
    assert (team.site / link.removeprefix("../../")).read_bytes() == document("v2", "v3").body
