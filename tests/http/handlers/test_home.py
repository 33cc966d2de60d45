"""The home page, what a search finds, and the lists of names, for callers with different rights."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.servers import token_of
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.project import Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.rendering.web import home_page
from wheelyard.rendering.web.page_numbers import PageNumbers
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.settings.upstream_section import UpstreamSettings

HTML = ("accept", "text/html")
LINK = re.compile(r'href="[./]*project/([a-z0-9-]+)/"')


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcessServer]:
    """A server where anybody may read."""
    with in_process(tmp_path) as app:
        yield app


def page(app: InProcessServer, target: str, token: str = "") -> InProcessResponse:
    """Ask for a page, as whoever has the token."""
    login = [("authorization", f"Bearer {token}")] if token else []
    return app.get(target, HTML, *login)


def shown(app: InProcessServer, target: str, token: str = "") -> list[str]:
    """Return the projects that a page links to, in their order."""
    answer = page(app, target, token)
    assert answer.status == 200, answer
    return LINK.findall(answer.body.decode())


def test_latest_uploads_come_first(app: InProcessServer) -> None:
    """The newest uploads come first, also yanked ones or in quarantine; deleted ones come last."""
    for name in ("a", "b", "c", "d"):
        app.clock.advance(hours=1)
        app.publish(make_wheel(name, "1.0", "Summary: What it is"))
    assert shown(app, "/") == ["d", "c", "b", "a"]
    body = page(app, "/").body.decode()
    assert "4 projects<" in body
    assert "What it is" in body

    life, selection = app.index.lifecycle, Selection(parse_version("1.0"))
    life.change("yank", ALICE, parse_name("b"), selection, "")
    life.change("delete", ALICE, parse_name("c"), selection, "")
    life.set_status(ALICE, parse_name("d"), Status.QUARANTINED, "")
    for target in ("/", "/-/projects/1/?sort=date"):
        assert shown(app, target) == ["d", "b", "a", "c"]
    body = page(app, "/").body.decode()
    assert body.count("<time") == 4
    assert re.findall(r'class="mark[^>]*>([^<]+)', body) == ["quarantined", "yanked", "no files"]


def test_results_come_on_pages(app: InProcessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scripts, results come on pages with links to the next and the previous one."""
    monkeypatch.setattr("wheelyard.rendering.web.home_page.RESULTS_ON_A_PAGE", 2)
    app.publish(*(make_wheel(name) for name in ("my-zoo", "zoo", "zoo-keeper", "ape")))

    assert shown(app, "/?q=Zoo") == ["zoo", "zoo-keeper"]
    first, second = page(app, "/?q=z%6Fo&page=1").body.decode(), page(app, "/?q=zoo&page=2")
    assert "3 projects found for <q>zoo</q>, page 1 of 2" in first
    assert 'href="?q=zoo&amp;page=2" rel="next"' in first
    assert 'rel="prev"' not in first
    assert 'href="?q=zoo&amp;page=1" rel="prev"' in second.body.decode()
    assert shown(app, "/?q=zoo&page=2") == ["my-zoo"]
    assert shown(app, "/?q=ape") == ["ape"]
    for bad in ("3", "0", "-1", "x", "9" * 30, "%F0%9F%98%80"):
        assert page(app, f"/?q=zoo&page={bad}").status == 404


def test_search_without_results_says_what_to_do(app: InProcessServer) -> None:
    """A search that finds nothing says what to do, and shows the words as text."""
    app.publish(make_wheel("a"))

    body = page(app, "/?q=%3Cscript%3E%22%27+b%26").body.decode()
    assert "0 projects found for <q>&lt;script&gt;&#34;&#39; b&amp;</q>" in body
    assert 'value="&lt;script&gt;&#34;&#39; b&amp;"' in body
    assert "Leave some words out" in body


def test_missing_project_leads_to_similar_ones(tmp_path: Path) -> None:
    """A name with a wrong letter leads to similar ones, as far as the caller may read them."""
    with in_process(tmp_path, Settings(access=AccessSettings(private=True))) as app:
        app.publish(make_wheel("acme-core"), make_wheel("acme-cord"), make_wheel("zebra"))
        every = token_of(app.index, can="read")
        one = token_of(app.index, "acme-cord", can="read")
        for target in ("/?q=acme-corx", "/project/acme-corx/", "/project/acme-corx/files/"):
            for token, names in ((every, ["acme-cord", "acme-core"]), (one, ["acme-cord"])):
                answer = page(app, target, token)
                assert "Did you mean" in answer.body.decode()
                assert LINK.findall(answer.body.decode()) == names
        # a project that is there, and a page of another kind
        compared = "/project/acme-core/compare/?old=9.9"
        for target in (compared, "/project/acme-core/history/99/", "/simple/acme-corx/"):
            missing = page(app, target, every)
            assert (missing.status, b"Did you mean" in missing.body) == (404, False)
        assert b"Did you mean" not in page(app, "/project/acme-corx/").body  # who has not signed in


@pytest.mark.parametrize("words", ["Six", "six seven"])
def test_search_without_results_names_public_packages(tmp_path: Path, words: str) -> None:
    """Where public packages come from this index, a search that finds nothing says so."""
    upstream = UpstreamSettings(enabled=True, url="https://index.example/simple/", offline=True)
    with in_process(tmp_path, Settings(upstream=upstream)) as app:
        body = page(app, f"/?q={words.replace(' ', '+')}").body.decode()

    assert "Any other public one is found by its whole name" in body
    assert "in the public index" not in body


def test_home_links_to_the_list_of_all_projects(
    app: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many projects, the home page links to a list of all, in pages with paths of their own."""
    monkeypatch.setattr(home_page, "PROJECTS_ON_HOME", 2)
    monkeypatch.setattr("wheelyard.rendering.web.home_page.PROJECTS_ON_A_PAGE", 2)
    app.publish(*(make_wheel(name) for name in ("a", "b", "c")))

    body = page(app, "/").body.decode()
    assert 'href="-/projects/1/">All 3 projects</a>' in body
    assert shown(app, "/-/projects/1/") == ["a", "b"]
    assert shown(app, "/-/projects/2/") == ["c"]
    assert 'href="../2/" rel="next"' in page(app, "/-/projects/1/").body.decode()
    for missing in ("0", "3", "01", "x"):
        assert page(app, f"/-/projects/{missing}/").status == 404
    assert page(app, "/?page=2").headers["location"] == "/-/projects/2/"


def test_lists_show_why_a_project_is_not_to_be_chosen(app: InProcessServer) -> None:
    """Every list says of a project that is not to be chosen why, and of no other one anything."""
    statuses = {"a": "archived", "b": "deprecated", "c": "quarantined", "d": "yanked"}
    app.publish(*(make_wheel(f"zoo-{name}") for name in "abcde"))
    for name in "abc":
        app.index.lifecycle.set_status(ALICE, parse_name(f"zoo-{name}"), Status(statuses[name]), "")
    selection = Selection(parse_version("1.0"))
    app.index.lifecycle.change("yank", ALICE, parse_name("zoo-d"), selection, "")

    for target in ("/", "/?q=zoo", "/-/projects/1/"):
        row = r'/zoo-(.)/">(?:(?!</li>).)*class="mark[^>]*>([a-z]+)<'
        marks = re.findall(row, page(app, target).body.decode(), re.DOTALL)
        assert dict(marks) == statuses
    found = json.loads(page(app, "/search.json").body)
    assert {entry[0][4:]: entry[4] for entry in found if len(entry) > 4} == statuses


def test_list_is_sorted_and_filtered(app: InProcessServer) -> None:
    """The list is sorted by name or by date, and filtered by status, on each of its pages."""
    for name in ("b", "c", "a"):
        app.clock.advance(hours=1)
        app.publish(make_wheel(name))
    app.index.lifecycle.set_status(ALICE, parse_name("b"), Status.DEPRECATED, "")
    app.index.lifecycle.set_status(ALICE, parse_name("c"), Status.DEPRECATED, "")

    assert shown(app, "/-/projects/1/") == ["a", "b", "c"]
    assert shown(app, "/-/projects/1/?show=all&sort=date") == ["a", "c", "b"]
    assert shown(app, "/-/projects/1/?show=deprecated&sort=date") == ["c", "b"]
    assert shown(app, "/-/projects/1/?show=active") == ["a"]
    assert "There is none of this kind" in page(app, "/-/projects/1/?show=yanked").body.decode()
    for bad in ("show=x", "sort=x", "sort=match", "show=all&show=active", "classifier=a%0Ab"):
        assert page(app, f"/-/projects/1/?{bad}").status == 400
        assert page(app, f"/?q=a&{bad.replace('match', 'best')}").status == 400


def test_pages_of_a_filtered_list_keep_the_filter(
    app: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The links to other pages of a list that is sorted or filtered lead to pages of that list."""
    monkeypatch.setattr("wheelyard.rendering.web.home_page.PROJECTS_ON_A_PAGE", 2)
    app.publish(*(make_wheel(name) for name in ("a", "b", "c")))

    link = 'href="../2/?show=active&amp;sort=date" rel="next"'
    assert link in page(app, "/-/projects/1/?show=active&sort=date").body.decode()


DJANGO = "Classifier: Framework :: Django"
TOPIC = "Classifier: Topic :: Office/Business"


def offered(app: InProcessServer, target: str, token: str = "") -> list[str]:
    """Return the classifiers that the form above a list offers."""
    body = page(app, target, token).body.decode()
    return re.findall(r"<option>([^<]+)", body)


def test_list_is_filtered_by_classifier(app: InProcessServer) -> None:
    """A list has the projects with a classifier, or one below it, as pages of projects link."""
    app.publish(
        make_wheel("a", "1.0", f"{DJANGO} :: 5.1", TOPIC),
        make_wheel("b", "1.0", DJANGO),
        make_wheel("c", "1.0", f"{DJANGO}-like"),
        make_wheel("d"),
    )
    app.index.lifecycle.set_status(ALICE, parse_name("b"), Status.DEPRECATED, "")

    body = page(app, "/project/b/").body.decode()
    (link,) = re.findall(r'href="[./]*(/-/projects[^"]*Django)"', body)
    assert shown(app, link) == ["a", "b"]
    assert "2 projects<" in page(app, link).body.decode()
    assert shown(app, link.lower()) == ["a", "b"]
    assert shown(app, f"{link}+::+5.1") == ["a"]
    assert shown(app, f"{link}&show=deprecated") == ["b"]
    assert "There is none of this kind" in page(app, f"{link}&show=archived").body.decode()
    assert offered(app, "/-/projects/1/") == offered(app, link)
    assert offered(app, link) == [
        "Framework :: Django",
        "Framework :: Django :: 5.1",
        "Framework :: Django-like",
        "Topic :: Office/Business",
    ]
    for strange in (f"classifier={'x' * 129}", "classifier=%00"):
        assert page(app, f"/-/projects/1/?{strange}").status == 400
    assert shown(app, "/-/projects/1/?classifier=Nobody+has+it") == []


def test_results_are_sorted_and_filtered(
    app: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results come by the best match, or sorted and filtered as lists are, on all their pages."""
    monkeypatch.setattr("wheelyard.rendering.web.home_page.RESULTS_ON_A_PAGE", 2)
    for name in ("my-zoo", "zoo", "old-zoo", "a-zoo"):
        app.clock.advance(hours=1)
        app.publish(make_wheel(name, "1.0", DJANGO))
    app.publish(make_wheel("ape", "1.0", TOPIC))
    app.index.lifecycle.set_status(ALICE, parse_name("old-zoo"), Status.ARCHIVED, "")

    assert shown(app, "/?q=zoo") == ["zoo", "a-zoo"]
    assert shown(app, "/?q=zoo&sort=date") == ["a-zoo", "old-zoo"]
    assert shown(app, "/?q=zoo&sort=name&show=active&classifier=framework") == ["a-zoo", "my-zoo"]
    body = page(app, "/?q=zoo&sort=name&show=active&classifier=framework").body.decode()
    assert "3 projects found" in body
    assert '<input type="hidden" name="q" value="zoo">' in body
    (following,) = re.findall(r'href="([^"]*)" rel="next"', body)
    assert shown(app, f"/{following.replace('&amp;', '&')}") == ["zoo"]
    assert offered(app, "/?q=zoo") == ["Framework :: Django"]

    nothing = page(app, "/?q=zoo&show=yanked").body.decode()
    assert 'There is none of this kind. <a href="?q=zoo">Show all results</a>' in nothing
    assert "Did you mean" not in nothing


def test_nobody_is_offered_what_others_have(tmp_path: Path) -> None:
    """Classifiers of projects that the caller may not read are not offered, and find nothing."""
    with in_process(tmp_path, Settings(access=AccessSettings(private=True))) as app:
        app.publish(
            make_wheel("acme-core", "1.0", DJANGO), make_wheel("secret", "1.0", TOPIC, DJANGO)
        )
        every = token_of(app.index, can="read")
        acme = token_of(app.index, "acme-*", can="read")

        for target in ("/-/projects/1/?show=all", "/-/projects/1/?classifier=Framework"):
            assert offered(app, target, acme) == ["Framework :: Django"]
            assert len(offered(app, target, every)) == 2
            assert shown(app, target, acme) == ["acme-core"]
            assert "1 project<" in page(app, target, acme).body.decode()
        assert shown(app, "/-/projects/1/?classifier=Topic", acme) == []
        assert shown(app, "/-/projects/1/?classifier=Topic", every) == ["secret"]
        assert shown(app, "/?q=secret&classifier=Topic", acme) == []


def test_some_of_many_pages_are_linked() -> None:
    """Of many pages, some are offered: the first, the last, those around, and some between."""
    numbers = PageNumbers(100_000, 37, 200).linked_numbers
    assert numbers == [1, *range(10, 31, 10), *range(35, 40), *range(40, 201, 10)]
    assert PageNumbers(120, 1, 3).linked_numbers == [1, 2, 3]
    assert len(PageNumbers(100_000, 1_000, 2_000).linked_numbers) < 30


def test_everybody_sees_their_own(tmp_path: Path) -> None:
    """Each caller sees only what they may read, also in pages that others have just been sent."""
    with in_process(tmp_path, Settings(access=AccessSettings(private=True))) as app:
        app.publish(
            make_wheel("acme-core"),
            make_wheel("acme-web", "1.0", "Requires-Dist: acme-core"),
            make_wheel("secret-plan", "1.0", "Summary: takes over acme"),
        )
        every = token_of(app.index, can="read")
        acme = token_of(app.index, "acme-*", can="read")
        core = token_of(app.index, "acme-core", can="read")
        none = token_of(app.index, "other", can="read")
        expected = {
            every: {"acme-core", "acme-web", "secret-plan"},
            acme: {"acme-core", "acme-web"},
            core: {"acme-core"},
            none: set[str](),
        }
        was_quick = set[bool]()
        for _ in range(3):
            for target in ("/", "/?q=acme", "/-/projects/1/"):
                for token, names in expected.items():
                    assert set(shown(app, target, token)) == names
                    answer = page(app, target, token)
                    was_quick.add(answer.was_quick)
                    body = answer.body.decode()
                    assert ("secret" in body) == (token == every)
                    count = f"{len(names)} project{'' if len(names) == 1 else 's'}"
                    assert count in body or not names
                    assert answer.headers["cache-control"] == "private, no-cache"
                assert page(app, target).status == 401
        assert was_quick == {True, False}
        app.publish(make_wheel("acme-new"), make_wheel("secret-new"))
        assert set(shown(app, "/", acme)) == {"acme-core", "acme-web", "acme-new"}
        assert set(shown(app, "/", core)) == {"acme-core"}


@pytest.mark.parametrize("target", ["/", "/setup/", "/project/demo/"])
def test_an_empty_main_leads_to_the_other_indexes(tmp_path: Path, target: str) -> None:
    """Who finds nothing in main, as packages are in other indexes, gets links to these."""
    indexes = ({"name": "dev", "read": "anyone"}, {"name": "prod", "read": "anyone"})
    with in_process(tmp_path, tables=toml_of(index=indexes)) as app:
        app.publish_to("dev", make_wheel())
        body = page(app, target).body.decode()
        of_dev = page(app, f"/dev{target.replace('demo', 'nothing')}").body.decode()

    end = "setup/" if target == "/setup/" else ""
    for name in ("dev", "prod"):
        assert re.search(rf'href="[./]*/{name}/{end}"', body)
    assert "the index main" in body
    assert "the index main" not in of_dev
