"""The page of the journals of everything, and their download."""

import csv
from datetime import timedelta
from io import StringIO

import pytest

from tests.http.handlers.admin.administering import Administrator, text_of
from tests.http.in_process import InProcessServer
from tests.operations.distributions import make_wheel
from tests.operations.in_memory_index import ALICE, START
from wheelyard.model.project import Status
from wheelyard.rendering.journal_csv import COLUMNS, journal_csv

PAGE, CSV = "journal/", "journal/journal.csv"


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
        reason = "=cmd|' /C calc'!A0" if number == 59 else f"step {number}"
        server.index.lifecycle.set_status(ALICE, project.name, status, reason)


def rows(body: bytes) -> list[dict[str, str]]:
    """Return the rows of a table."""
    return list(csv.DictReader(StringIO(body.decode("utf-8-sig"), newline="")))


def test_page_leads_through_everything(admin: Administrator) -> None:
    """The newest entries are on the first page, which leads to older ones."""
    page = admin.open(PAGE).body.decode()

    assert page.count("set the status to") == 50
    older = page.partition('href="./?before=')[2].partition('"')[0]
    second = admin.read(f"{PAGE}?before={older}")
    assert "uploaded demo-1.0-py3-none-any.whl alice, on the command line" in second
    assert second.count("set the status to") == 10
    assert "Newest entries" in second


def test_filters_stay_in_links(admin: Administrator) -> None:
    """The form filters by project, who, what and days, and the links of the page keep that."""
    page = admin.open(f"{PAGE}?project=Other&what=status&by=alice&from=2026-01-02&to=2026-01-02")
    text = page.body.decode()

    assert text_of(page).count("set the status") == 50
    assert 'href="journal.csv?project=Other&amp;by=alice&amp;what=status&amp;from=' in text
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
    if not query.startswith("before"):
        assert admin.open(f"{CSV}?{query}").status == status


def test_download_has_everything_that_is_selected(admin: Administrator) -> None:
    """The table has every selected entry, also those of other pages, as RFC 4180 has it."""
    answer = admin.open(CSV)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="journal-2026-01-02.csv"'
    lines = answer.body.split(b"\r\n")
    assert lines[0].startswith(b"\xef\xbb\xbf")  # so that Excel reads it as UTF-8
    assert lines[0].decode("utf-8-sig").split(",") == list(COLUMNS)
    table = rows(answer.body)
    assert len(table) == 62
    assert table[0]["at"] == "2026-01-02T01:00:00.000000Z"
    assert table[-1] == {
        **dict.fromkeys(COLUMNS, ""),
        "at": "2026-01-01T00:00:00.000000Z",
        "project": "demo",
        "what": "uploaded",
        "files": "demo-1.0-py3-none-any.whl",
        "by": "local:alice",
        "credential": "command line",
        "sha256": table[-1]["sha256"],
        "commit": "1",
    }
    assert len(rows(admin.open(f"{CSV}?what=uploaded").body)) == 2
    assert rows(admin.open(f"{CSV}?project=missing").body) == []


def test_no_cell_is_a_formula(admin: Administrator) -> None:
    """A reason that a spreadsheet would run as a formula is text there."""
    table = rows(admin.open(CSV).body)
    assert table[0]["reason"] == "'=cmd|' /C calc'!A0"
    problems = ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "a=1"]
    written = rows(b"".join(journal_csv(problems)))
    assert [row["reason"] for row in written] == [*(f"'{text}" for text in problems[:-1]), "a=1"]


@pytest.mark.parametrize("name", ["reader", "stranger"])
def test_journal_is_for_administrators(server: InProcessServer, name: str) -> None:
    """Others see nothing of it, neither on the page nor in the download."""
    person = Administrator.of(server, name)
    for path in (PAGE, CSV, f"{PAGE}?from=x"):
        answer = person.open(path)
        assert answer.status == 403
        assert "other-1.0" not in text_of(answer)
    assert server.get(f"/-/admin/{PAGE}").status == 401
    assert server.clock.now - START > timedelta(days=1)


def test_last_day_of_the_calendar(admin: Administrator) -> None:
    """A form with the last day that there is filters by nothing that comes after it."""
    for path in (PAGE, CSV):
        assert admin.open(f"{path}?from=0001-01-01&to=9999-12-31").status == 200
