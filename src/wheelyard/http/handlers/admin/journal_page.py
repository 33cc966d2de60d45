"""The page of the merged journal, of all indexes and of rights, with a form that filters it."""

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
"""The fields of the form."""
ENTRIES_ON_A_PAGE: Final = 50
_LAST_DAY: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""The last day of Python, after which there is no next one."""


class JournalPages:
    """Handles the page of the merged journal."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: a page of entries, the newest first, and the form that filters them.

        A wrong filter gets the form with the error, and the status of the error. Journals that
        could not be read are named on the page, which has status 200. Raises Unauthenticated or
        Forbidden unless the caller is an administrator. Raises Invalid for a malformed query, and
        Unavailable if the store does not answer.
        """
        api = self._pages.api(request)
        query = self._pages.query(request)
        fields = {name: query.text(name) for name in FIELDS}
        cursor = query.text("before")
        values = {
            "asked": fields,
            "kinds": ENTRY_KINDS,
            "indexes": _index_names(request.context.index),
            "is_filtered": any(fields.values()),
            "error": "",
        }
        try:
            journal_query = _journal_query(fields, cursor)
            page = api.call(journal_operations.list_entries, journal_query)
        except (Invalid, NotFound) as error:
            # the form keeps the typed fields, so that they can be corrected
            values["error"] = error_on_page(error)
            return self._pages.show(request, SECTION, "journal.html", values, status_of(error))
        older_link = ""
        if page.next:
            older_link = _query_link({**fields, "before": page.next})
        values |= {
            "rows": entry_rows(page.entries),
            "problems": page.problems,
            "looked_back_to": page.looked_back_to,
            "older": older_link,
            "newest": _query_link(fields),
            "is_older": bool(cursor),
            "is_full": len(page.entries) >= ENTRIES_ON_A_PAGE,
        }
        return self._pages.show(request, SECTION, "journal.html", values)


def _index_names(index: Index) -> list[str]:
    """Return the names of all indexes, or an empty list if there is only main."""
    names = sorted(index.server.definitions.names())
    if not names:
        return []
    return [MAIN, *names]


def _journal_query(fields: Mapping[str, str], cursor: str) -> journal_operations.JournalQuery:
    """
    Return the query for a page of the entries that the fields of the form select.

    `cursor` is where the page before has ended, or an empty text for the first page. Raises Invalid
    for a malformed date.
    """
    since = _parse_day(fields["from"])
    until = _parse_day(fields["to"])
    # the last day is included, so the query ends at the beginning of the next day
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
        before=cursor,
        limit=ENTRIES_ON_A_PAGE,
    )


def _parse_day(text: str) -> datetime | None:
    """Return the beginning of a day, or None for an empty text. Raises Invalid for another text."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        message = "Write a day as 2026-01-31."
    raise Invalid(message, code="invalid_field")


def _query_link(fields: Mapping[str, str]) -> str:
    """Return a link with a query of the fields that have a text, or an empty text without any."""
    query = urlencode({name: text for name, text in fields.items() if text})
    if not query:
        return ""
    return f"?{query}"
