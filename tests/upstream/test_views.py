"""Views whose layer is the upstream: what clients see of public packages through rules."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.fake_time import START
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from tests.upstream.fake_pages import JSON, FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import ReadResponse, look
from tests.upstream.settings import close, upstream_section
from wheelyard.api.operation import Call
from wheelyard.api.why_operations import WhyQuestion, explain_project
from wheelyard.settings.sections import Settings
from wheelyard.upstream.decisions import Deciding

OLD, NEW = "requests-1.0-py3-none-any.whl", "requests-2.0-py3-none-any.whl"
CVSS = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
"""The vector of the score 9.8."""


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream with an old release and one of yesterday, under the AGPL."""
    upstream.publish(
        FakeFile.of(public_wheel("requests", "1.0", "License: MIT")),
        FakeFile.of(
            public_wheel("requests", "2.0", "License: AGPL-3.0"), START - timedelta(days=1)
        ),
    )
    return upstream


@contextmanager
def viewed(
    folder: Path, public: FakeUpstream, keys: Mapping[str, object], osv: Path | None = None
) -> Iterator[InProcessServer]:
    """Yield a server whose index `stable` shows the upstream through rules."""
    indexes = (
        {"name": "stable", "layers": ["upstream"], **keys, "read": "anyone"},
        {"name": "team", "prereleases": False, "read": "anyone"},
        {"name": "over", "layers": ["over", "team", "stable"], "read": "anyone"},
    )
    section = upstream_section(public, osv=str(osv or ""))
    settings, tables = Settings(upstream=section), toml_of(index=indexes)
    with in_process(folder, settings, tables=tables) as server:
        try:
            yield server
        finally:
            close(server.index)


def page(server: InProcessServer, prefix: str = "/stable") -> ReadResponse:
    """Ask for the page of requests."""
    return look(server, f"{prefix}/simple/requests/", accept=JSON)


def file(
    server: InProcessServer, filename: str, suffix: str = "", prefix: str = "/stable"
) -> ReadResponse:
    """Ask a view for a file, by the link on the page of main."""
    url = str(page(server, "").files[filename]["url"]).removeprefix("../..")
    return look(server, f"{prefix}{url}{suffix}")


def error(seen: ReadResponse) -> tuple[int, str]:
    """Return status and code of an error."""
    return seen.status, json.loads(seen.body)["error"]


def test_a_new_public_file_is_hidden_until_it_is_old_enough(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """A file that does not fit is on no page of the view and behind none of its URLs."""
    with viewed(tmp_path, public, {"cooldown_days": 7}) as server:
        assert [*page(server, "").files] == [OLD, NEW]
        for prefix in ("/stable", "/over"):
            assert [*page(server, prefix).files] == [OLD]
        for suffix in ("", ".metadata"):
            assert error(file(server, NEW, suffix)) == (404, "view")
        assert file(server, OLD).status == 200
        server.clock.advance(days=6)
        assert [*page(server).files] == [OLD, NEW]
        assert file(server, NEW).status == 200


def test_a_package_of_which_all_is_hidden_is_not_listed(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """A list has no public package of which the rules of an index hide every file."""
    public.publish(FakeFile.of(public_wheel("fresh", "1.0"), START - timedelta(days=1)))
    with viewed(tmp_path, public, {"cooldown_days": 7}) as server:
        for name in ("fresh", "requests"):
            assert look(server, f"/simple/{name}/", accept=JSON).status == 200
        server.clock.advance(seconds=60)
        listed = {
            prefix: [
                project["name"]
                for project in json.loads(look(server, f"{prefix}/api/v1/projects").body)["public"]
            ]
            for prefix in ("", "/stable", "/over")
        }

    assert listed == {"": ["fresh", "requests"], "/stable": ["requests"], "/over": ["requests"]}


def test_an_installer_is_shown_what_fits_the_licence(tmp_path: Path, public: FakeUpstream) -> None:
    """The first page has no new release under another licence, and nobody gets its files."""
    with viewed(tmp_path, public, {"allowed_licenses": ["MIT", "BSD-*"]}) as server:
        for prefix in ("/stable", "/over"):
            assert [*page(server, prefix).files] == [OLD]
        assert error(file(server, NEW, ".metadata")) == (404, "view")
        assert error(file(server, NEW)) == (404, "view")
        assert file(server, OLD).status == 200


@pytest.mark.parametrize("prefix", ["/stable", "/over"])
def test_a_licence_of_many_releases_is_looked_up_later(
    tmp_path: Path, upstream: FakeUpstream, prefix: str
) -> None:
    """Of a project with many releases the old ones are hidden once somebody has asked for one."""
    wheels = [public_wheel("requests", f"{number}.0", "License: AGPL-3.0") for number in range(40)]
    upstream.publish(*map(FakeFile.of, wheels))
    with viewed(tmp_path, upstream, {"allowed_licenses": ["MIT"]}) as server:
        before = [*page(server, prefix).files]
        answer = error(file(server, before[0], prefix=prefix))
        server.clock.advance(seconds=5)
        after = [*page(server, prefix).files]

    assert len(before) == 10
    assert answer == (404, "view")
    assert after == []


def test_a_page_says_that_a_licence_hides_a_release(tmp_path: Path, public: FakeUpstream) -> None:
    """Already the first page of a project is about the newest release that the view shows."""
    with viewed(tmp_path, public, {"allowed_licenses": ["MIT"]}) as server:
        text = look(server, "/stable/project/requests/", accept="text/html").body.decode()

    assert "1 release is hidden by this index" in text
    assert "could not be read" not in text


def test_a_known_hole_hides_a_version(tmp_path: Path, public: FakeUpstream) -> None:
    """An index hides a version by the highest score of its advisories, and main shows it."""
    affected = {"package": {"ecosystem": "PyPI", "name": "requests"}, "versions": ["1.0"]}
    entry = {"id": "CVE-1", "affected": [affected]}
    osv = tmp_path / "osv.json"
    osv.write_text(json.dumps([entry | {"severity": [{"type": "CVSS_V3", "score": CVSS}]}]))

    with viewed(tmp_path, public, {"min_cvss": 9}, osv) as server:
        assert [*page(server, "").files] == [OLD, NEW]
        assert [*page(server).files] == [NEW]


def test_an_approval_shows_a_file(tmp_path: Path, public: FakeUpstream) -> None:
    """A view of what was approved shows a version as soon as somebody approves it."""
    with viewed(tmp_path, public, {"approval": True}) as server:
        before = [*page(server).files]
        index = server.index
        deciding = Deciding(index.server.decisions, "local:ana", None, index.upstream)
        deciding.approve(NormalizedName("requests"), Version("1.0"), "read it")

        assert before == []
        assert [*page(server).files] == [OLD]


def test_why_names_the_rule(tmp_path: Path, public: FakeUpstream) -> None:
    """What clients get of a public package through a view is explained file by file."""
    with viewed(tmp_path, public, {"cooldown_days": 7}) as server:
        index = server.index.named("stable")
        call = Call(index=index, caller=ALICE, caller_elsewhere=lambda _: ALICE)
        page(server)
        explained = explain_project(call, WhyQuestion(NormalizedName("requests")))
        day = explain_project(
            call,
            WhyQuestion(NormalizedName("requests"), as_of=(START - timedelta(days=900)).date()),
        )

    shown = {each.filename: each.shown for each in explained.files}
    (reason,) = explained.files[1].reasons
    assert shown == {OLD: True, NEW: False}
    assert "requests 2.0 appeared on 2025-12-31 00:00 UTC, less than 7 days ago." in reason.text
    assert reason.changes_at == START + timedelta(days=6)
    assert not any(each.shown for each in day.files)
