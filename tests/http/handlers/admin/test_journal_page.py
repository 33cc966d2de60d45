"""The page of the journals of everything."""

from datetime import timedelta
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.fake_time import START
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in, text_of
from tests.http.in_process import InProcessServer, in_process
from tests.operations.in_memory_index import ALICE
from tests.rendering.test_feeds import change
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import Status
from wheelyard.model.project_json import other_entry_of
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.rendering.web.admin.journal_entries import entry_rows

PAGE = "journal/"


@pytest.fixture(scope="module", autouse=True)
def history(server: InProcessServer) -> None:
    """Fill the journals: two projects on two days, sixty changes of one of them, and a grant."""
    server.publish(make_wheel("demo"))
    server.clock.advance(days=1)
    server.publish(make_wheel("other"))
    project = server.index.projects.get(
        make_wheel("other").arrival(server.folder).distribution.project
    )
    for number in range(60):
        server.clock.advance(minutes=1)
        status = Status.ARCHIVED if number % 2 else Status.DEPRECATED
        server.index.lifecycle.set_status(ALICE, project.name, status, f"step {number}")


def test_page_leads_through_everything(admin: Administrator) -> None:
    """The newest entries are on the first page, which leads to older ones."""
    page = admin.open(PAGE).body.decode()

    assert page.count("set the status to") == 50
    older = page.partition('href="./?before=')[2].partition('"')[0]
    answer = admin.open(f"{PAGE}?before={older}")
    second = text_of(answer)
    assert "uploaded demo-1.0-py3-none-any.whl alice, on the command line" in second
    assert second.count("set the status to") == 10
    assert "Newest entries" in second
    assert '<a href="./" rel="first">' in answer.body.decode()
    assert 'name="index"' not in page  # there is only main


def test_a_change_of_rights_is_told_once_and_in_words(tmp_path: Path) -> None:
    """An entry says once what was done, and names people as everybody knows them."""
    fields = GrantFields(who=("htpasswd:reader",), projects=("said-*",), actions=("read",))
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        admin = Administrator.of(server)
        grant_id = server.index.server.access.grant(fields, "local:bo")

        page = admin.read(f"{PAGE}?what=granted")

    words = f"granted {grant_id}: reader, by password may read said-* in the index main"
    assert f"rights {words} bo, on the command line" in page
    assert "htpasswd:reader" not in page


def test_a_decision_is_told_once_and_in_words() -> None:
    """A decision names who asked for it, and says once what it is."""
    decision = Decision(
        at=START,
        by="local:bo",
        verdict=Verdict.BLOCKED,
        project=NormalizedName("plotly"),
        reason="its licence",
        asked_by=("htpasswd:reader",),
    )

    (row,) = entry_rows([other_entry_of(1, decision, "")])

    assert row.what == "blocked plotly (its licence), asked for by reader, by password"


@pytest.mark.parametrize("what", ["reserved", "released"])
def test_a_name_without_files_is_told_in_words(what: str) -> None:
    """That a name was reserved, or is free again, is told as what has become of the name."""
    (row,) = entry_rows([change(what)])

    assert row.what == f"{what} the name"


def test_filters_stay_in_links(admin: Administrator) -> None:
    """The form filters by project, who, what and days, and the links of the page keep that."""
    page = admin.open(f"{PAGE}?project=Other&what=status&by=alice&from=2026-01-02&to=2026-01-02")
    text = page.body.decode()

    assert text_of(page).count("set the status") == 50
    assert 'href="./?project=Other&amp;by=alice&amp;what=status&amp;from=' in text
    assert '<option value="status" selected>' in text
    assert "There is no such entry" in admin.read(f"{PAGE}?to=2025-12-31")
    assert "demo" in admin.read(f"{PAGE}?to={START:%Y-%m-%d}&what=uploaded")


@pytest.mark.parametrize(
    "query",
    [
        *("what=nonsense", "from=yesterday", "to=2026-02-30", "project=a/b", "before=x", "by=%FF"),
        "index=nope",
    ],
)
def test_wrong_filter_is_explained(admin: Administrator, query: str) -> None:
    """A filter that cannot be understood is answered with what is wrong, and never with 500."""
    status = 404 if query.startswith("index") else 400
    assert admin.open(f"{PAGE}?{query}").status == status


@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_journal_is_for_administrators(server: InProcessServer, name: str) -> None:
    """Who is no administrator sees nothing of the journal of everything."""
    person = Administrator.of(server, name)
    for path in (PAGE, f"{PAGE}?from=x"):
        answer = person.open(path)
        assert answer.status == 403
        assert "other-1.0" not in text_of(answer)
    assert server.get(f"/-/admin/{PAGE}").status == 401
    assert server.clock.now - START > timedelta(days=1)


def test_last_day_of_the_calendar(admin: Administrator) -> None:
    """The form of the journal takes the first and the last day that a calendar has."""
    assert admin.open(f"{PAGE}?from=0001-01-01&to=9999-12-31").status == 200
