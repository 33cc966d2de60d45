"""The page of rules of retention, and pins on the pages of projects."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in, text_of
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.index_tables import put_rules, put_tables
from wheelyard.api import project_operations
from wheelyard.api.project_operations import ReleaseChange
from wheelyard.api.retention_operations import RetentionQuery, run_retention
from wheelyard.http.handlers.admin.retention_page import PROJECTS_ON_A_PAGE

PAGE = "retention/"
PLAN = re.compile(r'name="plan" value="([^"]+)"')
DEMO = NormalizedName("demo")
RULE = '[[retention]]\nkeep_last = 1\nnote = "few"\n'


def plan_of(page: InProcessResponse) -> str:
    """Return the plan that a page has shown."""
    match = PLAN.search(page.body.decode())
    assert match is not None
    return match[1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """A server with a rule, and three releases."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as opened:
        put_tables(opened.index, RULE)
        opened.publish(make_wheel("demo"), make_wheel("demo", "2.0"), make_wheel("demo", "3.0"))
        yield opened


def test_retention_is_for_administrators(server: InProcessServer) -> None:
    """Who is no administrator neither sees what rules of retention would delete, nor runs them."""
    person = Administrator.of(server, "reader")

    answers = [person.open(PAGE), person.send(PAGE, confirmation="delete")]

    assert [answer.status for answer in answers] == [403, 403]


def test_rules_are_shown_and_applied(admin: Administrator) -> None:
    """An administrator sees what would go and why, keeps a release by a pin, deletes the rest."""
    admin.server.publish(make_wheel("whole"))  # of which nothing goes, so it has no row
    page = admin.read(PAGE)
    assert "demo 1.0" in page
    assert re.search(
        "By project 2 releases with (.+?), the most first. .*demo \\1 2 of 3 Delete now", page
    )
    assert "retention rule 1 (few): not among the last 1" in page
    assert "Last run never" in page
    manage = "/project/demo/manage/"
    chosen = admin.browser.send(
        manage, {"csrf_token": admin.browser.form_token(manage), "choose": "pin", "version": "1.0"}
    )
    assert "Pin demo 1.0" in text_of(chosen)
    pinned = admin.browser.send(
        manage,
        {
            "csrf_token": admin.browser.form_token(manage),
            "action": "pin",
            "version": "1.0",
            "file": "demo-1.0-py3-none-any.whl",
            "reason": "audit",
        },
    )
    assert pinned.status == 303
    assert "Pinned: audit" in text_of(admin.browser.open("/project/demo/1.0/"))
    assert "pinned: audit" in admin.read(f"{PAGE}?show=kept")

    refused = admin.send(PAGE, confirmation="no")
    assert (refused.status, "Type delete to confirm" in text_of(refused)) == (400, True)
    page = admin.done(PAGE, confirmation="delete", plan=plan_of(admin.open(PAGE)))

    assert "1 release deleted" in page
    assert "No release would be deleted now" in page
    files = admin.server.index.projects.get(DEMO).files
    assert [file.version for file in files] == ["1.0", "3.0"]
    assert "few" in admin.read("journal/?what=deleted")


def test_what_goes_is_red_on_a_line_of_time(server: InProcessServer) -> None:
    """The red crosses of a project are the releases that the list says would be deleted."""
    versions = ("1.0", "2.0", "3.0", "4.0rc1", "5.0")
    for version in versions:
        server.publish(make_wheel("dated", version))
        server.clock.advance(days=10)

    admin = Administrator.of(server)
    page = admin.open(PAGE).body.decode()
    kept = admin.open(f"{PAGE}?show=kept").body.decode()

    dots = re.findall('<svg class="([^"]*)" x="[^"]*" y="[^"]*"><title>([^<,]*), ', page)
    listed = re.findall('project/dated/([^/"]+)/"><span', page)
    crossed = [version for kinds, version in dots if kinds == "deleted"]
    assert sorted(crossed) == sorted(listed)
    assert [version for kinds, version in dots if kinds != "deleted"] == ["5.0"]
    assert "4 of 5 releases of dated would be deleted, 2026-01-01 to " in page
    assert page.lower().count("cross: goes") == 1
    assert "demo</a>" in page  # of one day, and so without a line
    assert page.count('class="figure timeline"') == 1
    assert "figure" not in kept


def test_sums_name_the_largest_projects(admin: Administrator) -> None:
    """Of many projects the largest have a row, and the others are counted."""
    for number in range(PROJECTS_ON_A_PAGE + 2):
        name = f"many-{number}"
        admin.server.publish(make_wheel(name), make_wheel(name, "2.0"), make_wheel(name, "3.0"))
    admin.server.publish(make_wheel("large", content=b"x" * 9000), make_wheel("large", "2.0"))

    page = admin.read(PAGE)

    total = 2 * (PROJECTS_ON_A_PAGE + 3) + 1
    assert f"{total} releases with " in page
    assert "And 4 more projects." in page
    assert page.index("main: large") < page.index("main: many-")


def test_only_what_was_shown_is_deleted(admin: Administrator) -> None:
    """A release that comes while the page is open keeps its button from deleting anything."""
    admin.server.publish(make_wheel("late"), make_wheel("late", "2.0"))
    plan = plan_of(admin.open(PAGE))
    admin.server.publish(make_wheel("late", "3.0"))

    refused = [admin.send(PAGE, confirmation="delete", plan=sent) for sent in (plan, "")]

    assert [answer.status for answer in refused] == [409, 409]
    assert "has changed since it was shown, so nothing was deleted" in text_of(refused[0])
    assert "late 2.0" in text_of(refused[0])
    assert b'value="delete"' not in refused[0].body
    assert len(admin.server.index.projects.get(NormalizedName("late")).files) == 3
    assert "4 releases deleted" in admin.done(PAGE, confirmation="delete", plan=plan_of(refused[0]))


def test_pins_are_on_the_page_manage(admin: Administrator) -> None:
    """The page *Manage* shows what is pinned, and what comes back pinned once it is restored."""
    admin.server.publish(make_wheel("kept"), make_wheel("kept", "2.0"), make_wheel("kept", "3.0"))
    api = admin.api
    api.call(project_operations.pin, NormalizedName("kept"), ReleaseChange("1.0", reason="audit"))
    api.call(run_retention, RetentionQuery())

    page = text_of(admin.browser.open("/project/kept/manage/"))

    assert "1.0 pinned: audit" in page
    assert "pinned if a rule of retention has deleted them" in page
    assert "2.0 pinned: restored after retention rule 1 (few): not among the last 1 1 file" in page


def test_the_page_warns_of_what_requires_a_release(
    server: InProcessServer, admin: Administrator
) -> None:
    """The page says which release would lack what it requires after the rules have run."""
    server.publish(make_wheel("acme-core", "1.2", "Requires-Dist: demo<2"))

    after = "After this, acme-core 1.2 has no demo<2 in main."
    assert after in admin.read(PAGE)


def test_rules_are_those_that_the_store_has_now(admin: Administrator) -> None:
    """The page shows rules that were changed while it was open, and without any, what to do."""
    plan = plan_of(admin.open(PAGE))
    index = admin.server.index

    put_rules(index, ({"keep_last": 2},), "local:bo")
    assert "not among the last 2" in admin.read(PAGE)
    put_rules(index, (), "local:bo")
    page = admin.read(PAGE)
    refused = admin.send(PAGE, confirmation="delete", plan=plan)

    assert "There is no rule of retention, so nothing is deleted." in page
    assert "wheelyard apply FILE" in page
    assert (refused.status, "no rule of retention any more" in text_of(refused)) == (409, True)
    assert "retention: rule 1" in admin.read("journal/?what=retention-changed")
    assert "retention: no rule any more" in admin.read("indexes/history/")
