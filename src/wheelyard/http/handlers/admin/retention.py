"""The page of rules of retention: what they would delete and keep, and the run."""

from collections import Counter
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.errors import Conflict, Invalid
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, checking
from wheelyard.http.handlers.admin.pages import AdminPages, paged, query_of
from wheelyard.http.messages import Response
from wheelyard.model.retention import JudgedRelease
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.figures import draw_share

SECTION: Final = "retention/"
ROWS_ON_A_PAGE: Final = 100
PROJECTS_ON_A_PAGE: Final = 20
"""How many projects the sums name. All releases are listed below them."""
CONFIRMATION: Final = "delete"
"""What has to be typed before anything is deleted."""
KEPT: Final = "kept"
"""The value of the field `show` for what is kept, in place of what would be deleted."""

_Place = tuple[str, NormalizedName]
"""The names of an index and a project."""


class FreedProject(Struct, frozen=True):
    """What rules would delete of one project in one index."""

    index: str
    name: NormalizedName
    releases: int
    bytes: int
    bar: Markup
    """Its share of the project of which most would be deleted."""


class RetentionPage:
    """The page of rules of retention."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """Handle GET: the rules, and what they would delete now, or keep."""
        return self._show(request, self._pages.query(request), self._pages.form(request), 200)

    def answer_form(self, request: IndexRequest) -> Response:
        """Handle POST: delete what the rules say, once that is confirmed."""

        def act(fields: FormFields) -> Response:
            with checking("confirmation"):
                if fields.text("confirmation").strip().lower() != CONFIRMATION:
                    raise Invalid(f"Type {CONFIRMATION} to confirm.", code="invalid_field")
            retention = request.context.index.server.retention
            if retention is None:
                raise Conflict("There is no rule of retention any more. Load the page again.")
            report = retention.run(request.caller, plan=fields.text("plan"))
            deleted = report.deleted if report is not None else ()
            return self._pages.done(request, urlencode({"done": len(deleted)}))

        def ask_again(_: FormFields, form: FormState, status: int) -> Response:
            # what is shown now has to be confirmed by itself
            return self._show(request, self._pages.query(request), replace(form, values={}), status)

        return self._pages.answer_form(request, act, ask_again)

    def _show(
        self, request: IndexRequest, query: FormFields, form: FormState, status: int
    ) -> Response:
        values: dict[str, object] = {"form": form, "done": query.text("done"), "answer": None}
        retention = request.context.index.server.retention
        if retention is not None:
            is_kept = query.text("show") == KEPT
            answer = retention.preview(request.caller, keeps=is_kept)
            projects = _by_project(answer.deleted)
            rows, numbers = paged(answer.kept if is_kept else answer.deleted, query, ROWS_ON_A_PAGE)
            values |= {
                "answer": answer,
                "last_run": retention.last_run(),
                "is_kept": is_kept,
                "rows": rows,
                "numbers": numbers,
                "bytes": sum(release.bytes for release in answer.deleted),
                "projects": projects[:PROJECTS_ON_A_PAGE],
                "more_projects": len(projects[PROJECTS_ON_A_PAGE:]),
                "links": query_of({"show": query.text("show")}),
                "confirmation": CONFIRMATION,
            }
        return self._pages.show(request, SECTION, "retention.html", values, status)


def _by_project(deleted: Sequence[JudgedRelease]) -> list[FreedProject]:
    """Return what would be deleted by index and project, the most bytes first."""
    releases = Counter[_Place]()
    sizes = Counter[_Place]()
    for release in deleted:
        releases[release.index, release.project] += 1
        sizes[release.index, release.project] += release.bytes
    most = max(sizes.values(), default=0)
    places = sorted(sizes, key=lambda place: (-sizes[place], place))
    return [
        FreedProject(*place, releases[place], sizes[place], draw_share(sizes[place] / max(most, 1)))
        for place in places
    ]
