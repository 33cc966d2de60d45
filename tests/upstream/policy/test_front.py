"""The policy as clients meet it: on pages, at direct URLs, and in `why`."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import decode
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.fake_store import ALWAYS, FakeStore, FaultKind
from tests.fake_store import Fault as StoreFault
from tests.fake_time import START, Clock
from tests.http.in_process import InProcessServer
from tests.upstream.fake_pages import FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.reading import file_of, look, page_of
from tests.upstream.settings import front
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.errors import NotFound
from wheelyard.model.access import Action, parse_pattern
from wheelyard.model.public_packages import Explanation, NameAnswer
from wheelyard.model.rule_reasons import Code
from wheelyard.remedies import Advice, Remedy
from wheelyard.settings.sections import AccessSettings
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.decisions import Deciding
from wheelyard.upstream.sidecars import core_metadata_of

REQUESTS = NormalizedName("requests")
OLD, NEW = "requests-1.0-py3-none-any.whl", "requests-2.0-py3-none-any.whl"
AGPL = "License: AGPL-3.0"


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream with an old release and one of yesterday, under the AGPL."""
    upstream.publish(
        FakeFile.of(public_wheel("requests", "1.0")),
        FakeFile.of(public_wheel("requests", "2.0", AGPL), START - timedelta(days=1)),
    )
    return upstream


@contextmanager
def serving(folder: Path, public: FakeUpstream, **settings: Any) -> Iterator[InProcessServer]:  # noqa: ANN401
    """Yield a server before it, with these settings."""
    with front(folder, public, **settings) as running:
        yield running


def ana(server: InProcessServer) -> Deciding:
    """Return what makes decisions in the name of Ana."""
    return Deciding(server.index.server.decisions, "local:ana", None, server.index.upstream)


def why(server: InProcessServer, name: str, version: str = "") -> Explanation:
    """Return what `wheelyard upstream why` says."""
    assert server.index.upstream is not None
    wanted = Version(version) if version else None
    return server.index.upstream.explain(NormalizedName(name), wanted, may_read=True)


def hidden(found: Explanation) -> dict[str, list[str]]:
    """Return the codes of the reasons why files are hidden, by filename."""
    return {
        each.filename: [reason.code for reason in each.reasons]
        for each in found.files
        if not each.shown
    }


def test_a_new_file_is_hidden_until_it_is_old_or_approved(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """A new file is on no page and behind no URL, until it is old enough or somebody approves."""
    with serving(tmp_path, public) as server:
        url = page_of(server, "requests").files[NEW]["url"].removeprefix("../..")
    with serving(tmp_path, public, cooldown_days=7) as server:
        first = page_of(server, "requests")
        assert [*first.files] == [OLD]
        assert first.page["versions"] == ["1.0"]
        assert hidden(why(server, "requests")) == {NEW: ["cooldown"]}
        refused = look(server, url)
        for suffix in ("", ".metadata"):
            refused = look(server, url + suffix)
            assert (refused.status, json.loads(refused.body)["error"]) == (403, "cooldown")
        assert b"It is shown from 2026-01-07 00:00 UTC on." in refused.body
        of_version = look(server, "/pypi/requests/2.0/json")
        assert (of_version.status, json.loads(of_version.body)["error"]) == (404, "cooldown")
        ana(server).approve(REQUESTS, Version("2.0"), "fix")
        assert [*page_of(server, "requests").files] == [OLD, NEW]
        assert look(server, url).status == 200
        ana(server).block(REQUESTS, Version("2.0"), "no")
        assert look(server, url).status == 403
        again = page_of(server, "requests")
        assert [*again.files] == [OLD]
        assert again.headers["etag"] == first.headers["etag"]
    with serving(tmp_path, public, cooldown_days=7) as server:
        assert [*page_of(server, "requests").files] == [OLD]
        server.clock.advance(days=6)
        assert [*page_of(server, "requests").files] == [OLD, NEW]


def test_a_blocked_licence_hides_a_file_after_the_first_request(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """A blocked licence is found in the metadata at the first request, and hidden from then on."""
    with serving(tmp_path, public, blocked_licenses=("AGPL-*",)) as server:
        assert [*page_of(server, "requests").files] == [OLD, NEW]
        refused = file_of(server, "requests", NEW, ".metadata")
        assert (refused.status, json.loads(refused.body)["error"]) == (403, "licence")
        assert [*page_of(server, "requests").files] == [OLD]
        assert file_of(server, "requests", OLD).status == 200
        assert hidden(why(server, "requests", "2.0")) == {NEW: ["licence"]}
    assert [each.path for each in public.asked("requests") if each.path.endswith(NEW)] == []


def test_a_licence_offline(tmp_path: Path, public: FakeUpstream) -> None:
    """Offline, a page has only files of a known, allowed licence; it is 503 if the store fails."""
    public.publish(FakeFile.of(public_wheel("requests", "3.0")))
    unknown, store = "requests-3.0-py3-none-any.whl", MemoryStore(Clock().seconds)
    with serving(tmp_path, public, store=store) as server:
        upstream = server.index.upstream
        found = upstream.pages.ask_if_due(REQUESTS) if upstream else None
        assert upstream is not None
        assert found is not None
        for file in found.page.files:
            upstream.files.bring(found.page, file)
            if file.filename != unknown:
                upstream.files.bring_sidecar(core_metadata_of(found.page, file))
    public.stop()
    with serving(tmp_path, public, store=store, offline=True) as server:
        assert [*page_of(server, "requests").files] == [OLD, NEW, unknown]
    with serving(
        tmp_path, public, store=store, offline=True, blocked_licenses=("AGPL-*",)
    ) as server:
        assert [*page_of(server, "requests").files] == [OLD]
        assert hidden(why(server, "requests")) == {NEW: ["licence"], unknown: ["offline"]}
        assert hidden(why(server, "requests", "3.0")) == {unknown: ["offline"]}
    away = StoreFault(FaultKind.NOT_DONE, "*", f"*/{OLD}.metadata", times=ALWAYS)
    with serving(
        tmp_path, public, store=FakeStore(store, away), offline=True, blocked_licenses=("AGPL-*",)
    ) as server:
        assert page_of(server, "requests").status == 503


def test_what_nobody_has_approved_is_not_looked_up(tmp_path: Path, public: FakeUpstream) -> None:
    """What nobody has approved is not even looked up; `why` says so, and what to do."""
    with serving(tmp_path, public, approval=True) as server:
        assert not page_of(server, "requests").files
        found = why(server, "requests")
        assert found.answer is NameAnswer.REFUSED
        assert [each.code for each in found.reasons] == ["not_approved"]
        assert found.reasons[0].advice == Advice(Remedy.REQUEST_PACKAGE, "requests")
        assert public.asked("requests") == []
        ana(server).approve(REQUESTS, Version("1.0"), "")
        assert [*page_of(server, "requests").files] == [OLD]
        assert hidden(why(server, "requests")) == {NEW: [Code.NOT_APPROVED]}


def test_the_page_of_a_blocked_name_is_not_late(tmp_path: Path, public: FakeUpstream) -> None:
    """Nobody is asked about a name that is blocked, so `why` does not call its page late."""
    with serving(tmp_path, public) as server:
        page_of(server, "requests")
        ana(server).block(REQUESTS, None, "steals tokens")
        server.clock.advance(days=1)

        found = why(server, "requests")

    assert (found.answer, found.is_stale) == (NameAnswer.REFUSED, False)
    assert hidden(found).keys() == {OLD, NEW}


def test_a_block_says_more_than_a_missing_approval(tmp_path: Path, public: FakeUpstream) -> None:
    """Where only what is approved is shown, a block still says who has blocked it, and why."""
    by = "requests 2.0 was blocked on 2026-01-01 by ana, on the command line: steals tokens."
    with serving(tmp_path, public, approval=True) as server:
        ana(server).block(REQUESTS, Version("2.0"), "steals tokens")
        assert by in look(server, "/project/requests/", accept="text/html").body.decode()
        of_version = why(server, "requests", "2.0")
        assert [each.code for each in of_version.reasons] == [Code.BLOCKED]
        assert of_version.reasons[0].text.startswith(by)
        for path in ("/pypi/requests/2.0/json", f"/files/requests/{'0' * 64}/{NEW}"):
            answer = look(server, path)
            assert (by.encode() in answer.body, b'"blocked"' in answer.body) == (True, True)
        other = look(server, "/pypi/requests/1.0/json").body
        assert (b"requests is not approved" in other, b"tokens" in other) == (True, False)
        assert public.asked("requests") == []


def test_a_block_is_the_first_reason_while_the_upstream_is_away(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """While no upstream answers, `why` says of a blocked file first who has blocked it."""
    with serving(tmp_path, public) as server:
        page_of(server, "requests")
        ana(server).block(REQUESTS, Version("2.0"), "steals tokens")
        public.behave("requests", 503)
        server.clock.advance(days=30)
        found = why(server, "requests")

    away = "upstream_unavailable"
    assert hidden(found) == {OLD: [away], NEW: [Code.BLOCKED, away]}


def test_why_tells_all_answers_apart(tmp_path: Path, public: FakeUpstream) -> None:
    """`why` tells apart private names, unknown ones, and an upstream that does not answer."""
    public.behave("requests", Fault.ALTERNATE_LOCATIONS)
    with serving(tmp_path, public) as server:
        server.publish(private_wheel("acme-core", "1.0"))
        public.requests.clear()
        assert why(server, "acme-core").answer is NameAnswer.PRIVATE
        assert "pattern" in why(server, "team-x").reasons[0].text
        assert public.asked("acme-core") == public.asked("team-x") == []
        assert why(server, "nothing").answer is NameAnswer.UNKNOWN
        found = why(server, "requests")
        assert (found.answer, found.is_stale) == (NameAnswer.UPSTREAM, False)
        assert found.upstream.startswith("public-")
        assert len(found.alternate_locations) > 0
        assert hidden(found) == {}
        assert [each.filename for each in why(server, "requests", "1").files] == [OLD]
        assert why(server, "requests", "7").files == ()
        sent = look(server, "/api/v1/upstream/why?project=Requests&version=1.0")
        assert decode(sent.body, type=Explanation) == why(server, "requests", "1.0")
        public.stop()
        assert why(server, "other").answer is NameAnswer.UNAVAILABLE


def test_versions_without_files(tmp_path: Path, public: FakeUpstream) -> None:
    """Versions without files stay on a page unless hidden; `why` names the format not shown."""
    public.behave("requests", Fault.OTHER_FORMATS)
    with serving(tmp_path, public) as server:
        assert page_of(server, "requests").page["versions"] == ["1.0", "2.0", "8.0", "9.0"]
        (other,) = why(server, "requests", "9.0").files
        assert (other.filename, other.shown) == ("requests-9.0.tar.bz2", False)
        assert other.reasons[0].code == "format"
        assert "requests-9.0.tar.bz2" in other.reasons[0].text
        ana(server).block(REQUESTS, Version("8.0"), "")
        assert page_of(server, "requests").page["versions"] == ["1.0", "2.0", "9.0"]
        with pytest.raises(NotFound, match="lists no file of it that can be shown"):
            ana(server).approve(REQUESTS, Version("9.0"), "")
    with serving(tmp_path, public, approval=True) as server:
        ana(server).approve(REQUESTS, Version("1.0"), "")
        assert page_of(server, "requests").page["versions"] == ["1.0"]


def test_why_for_readers_of_something(tmp_path: Path, public: FakeUpstream) -> None:
    """Whoever can install a public package is told about it, and nothing of private names."""
    closed = AccessSettings(private=True)
    with serving(tmp_path, public, access=closed, deny=("bad",)) as server:
        server.publish(private_wheel("acme-core", "1.0"))
        wanted = TokenRequest(name="ci", actions=Action.READ, projects=(parse_pattern("acme-x"),))
        token, _ = server.index.tokens.create(wanted, "local:ana")
        sent = {
            name: look(
                server,
                f"/api/v1/upstream/why?project={name}",
                authorization=f"Bearer {token.text}",
            )
            for name in ("requests", "acme-core", "nothing", "bad", "team-x")
        }

        assert decode(sent.pop("requests").body, type=Explanation).answer is NameAnswer.UPSTREAM
        assert {each.status for each in sent.values()} == {404}
        bodies = {each.body.replace(name.encode(), b"") for name, each in sent.items()}
        assert len(bodies) == 1
        assert look(server, "/api/v1/upstream/why?project=requests").status == 401


def test_metrics_have_the_figures_of_the_vulnerabilities(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """The metrics say how old the list of vulnerabilities is, what is in it, and if it shrinks."""
    osv = tmp_path / "osv.json"
    names = ("age_seconds", "entries", "skipped_entries", "refused")

    def figures(server: InProcessServer) -> list[str]:
        text = server.get("/metrics").text
        found = dict(re.findall("^wheelyard_upstream_osv_([a-z_]+) (.*)$", text, re.MULTILINE))
        return [found[name] for name in names]

    def write(entries: int, *, hours_old: int) -> None:
        osv.write_text(json.dumps([None, *({"id": f"MAL-{number}"} for number in range(entries))]))
        written_at = (START - timedelta(hours=hours_old)).timestamp()
        os.utime(osv, (written_at, written_at))

    write(30, hours_old=2)
    with serving(tmp_path, public, osv=str(osv)) as server:
        page_of(server, "requests")
        assert figures(server) == ["7200.0", "30.0", "1.0", "0.0"]
        write(9, hours_old=1)
        server.clock.advance(seconds=5)
        page_of(server, "requests")
        assert figures(server) == ["7205.0", "30.0", "1.0", "1.0"]
