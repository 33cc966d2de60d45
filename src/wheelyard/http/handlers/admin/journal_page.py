"""The page of the journals of everything."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from wheelyard.api import journal_operations
from wheelyard.errors import Invalid, NotFound
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.handlers.admin.admin_pages import AdminPages
from wheelyard.http.messages import Response
from wheelyard.model.index_name import MAIN
from wheelyard.model.project_json import ENTRY_KINDS
from wheelyard.rendering.advice import error_on_page
from wheelyard.rendering.web.admin.journal_entries import entry_rows
from wheelyard.wiring.index import Index

SECTION: Final = "journal/"
FIELDS: Final = ("index", "project", "by", "what", "from", "to")
ENTRIES_ON_A_PAGE: Final = 50
_LAST_DAY: Final = datetime(9999, 12, 31, tzinfo=UTC)


class JournalPages:
    """The page of the journals."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: some entries, the newest first, and a form that filters them.

        What is wrong with the filter is told on the page, which then has the status of the error.
        So is what could not be read, with status 200. Raises Unauthenticated or Forbidden unless
        the caller is an administrator. Raises Invalid for a malformed query, and Unavailable if the
        store does not answer.
        """
        api = self._pages.api(request)
        query = self._pages.query(request)
        fields = {name: query.text(name) for name in FIELDS}
        before = query.text("before")
        values = {
            "asked": fields,
            "kinds": ENTRY_KINDS,
            "indexes": _index_names(request.context.index),
            "is_filtered": any(fields.values()),
            "error": "",
        }
        try:
            page = api.call(journal_operations.list_entries, _journal_query(fields, before))
        except (Invalid, NotFound) as error:
            # the form stays there, with what was typed, so that it can be mended
            values["error"] = error_on_page(error)
            return self._pages.show(request, SECTION, "journal.html", values, status_of(error))
        older_link = ""
        if page.next:
            older_link = _link({**fields, "before": page.next})
        values |= {
            "rows": entry_rows(page.entries),
            "problems": page.problems,
            "looked_back_to": page.looked_back_to,
            "older": older_link,
            "newest": _link(fields),
            "is_older": bool(before),
            "is_full": len(page.entries) >= ENTRIES_ON_A_PAGE,
        }
        return self._pages.show(request, SECTION, "journal.html", values)


def _index_names(index: Index) -> list[str]:
    """Return the names of all indexes, or nothing if there is only main."""
    names = sorted(index.server.definitions.names())
    if not names:
        return []
    return [MAIN, *names]


def _journal_query(fields: Mapping[str, str], before: str) -> journal_operations.JournalQuery:
    """
    Return the query for a page of what the fields of the form select.

    Raises Invalid for what is no date.
    """
    since = _day(fields["from"])
    until = _day(fields["to"])
    # a day is meant with all of its hours, and no day comes after the last one of Python
    if until is not None and until < _LAST_DAY:
        until += timedelta(days=1)
    else:
        until = None
    return journal_operations.JournalQuery(
        index=fields["index"],
        project=fields["project"],
        by=fields["by"],
        what=fields["what"],
        since=since,
        until=until,
        before=before,
        limit=ENTRIES_ON_A_PAGE,
    )


def _day(text: str) -> datetime | None:
    """Return the beginning of a day, or None for an empty field. Raises Invalid for no date."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        message = "Write a day as 2026-01-31."
    raise Invalid(message, code="invalid_field")


def _link(fields: Mapping[str, str]) -> str:
    """Return the query of a link with the fields that are not empty, or an empty text."""
    query = urlencode({name: text for name, text in fields.items() if text})
    if not query:
        return ""
    return f"?{query}"
