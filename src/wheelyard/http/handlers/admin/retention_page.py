"""The page of rules of retention: what they would delete and keep, and the run."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import Conflict, Invalid
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, checking
from wheelyard.http.handlers.admin.admin_pages import AdminPages, paged, query_of
from wheelyard.http.messages import Response
from wheelyard.model.access import Caller
from wheelyard.model.retention_report import ThinnedProject
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.retention_lines import draw_releases
from wheelyard.rendering.web.figures import draw_share

if TYPE_CHECKING:
    from wheelyard.retention.runs import Retention

SECTION: Final = "retention/"
ROWS_ON_A_PAGE: Final = 100
PROJECTS_ON_A_PAGE: Final = 20
"""How many projects the sums name. All releases are listed below them."""
CONFIRMATION: Final = "delete"
"""What has to be typed before anything is deleted."""
KEPT: Final = "kept"
"""The value of the field `show` for what is kept, in place of what would be deleted."""


class FreedProject(Struct, frozen=True):
    """What the page shows of a project of which rules would delete releases."""

    project: ThinnedProject
    bar: Markup
    """Its share of the project of which most would be deleted."""
    line: Markup
    """Its releases on a line of time, or nothing if all are of one day."""


class RetentionPage:
    """The page of rules of retention."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the rules, and what they would delete now, or keep.

        Nothing is deleted. Without a rule the page says so.
        """
        return self._show(request, self._pages.query(request), self._pages.form(request), 200)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: delete what the rules say, once that is confirmed.

        Nothing else is deleted than the page has shown. The answer is a redirect to it. If there is
        no rule any more, the rules would delete something else by now, or another process does the
        same, it is told on the page with status 409.
        """

        def act(fields: FormFields) -> Response:
            with checking("confirmation"):
                if fields.text("confirmation").strip().lower() != CONFIRMATION:
                    raise Invalid(f"Type {CONFIRMATION} to confirm.", code="invalid_field")
            retention = request.context.index.server.retention
            if retention is None:
                raise Conflict("There is no rule of retention any more. Load the page again.")
            # the plan is what the page has shown: a run that would delete something else is refused
            report = retention.run(request.caller, plan=fields.text("plan"))
            deleted = 0
            if report is not None:
                deleted = len(report.deleted)
            return self._pages.done(request, urlencode({"done": deleted}))

        def ask_again(_: FormFields, form: FormState, status: int) -> Response:
            # what the page shows now has to be confirmed anew
            form = replace(form, values={})
            return self._show(request, self._pages.query(request), form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _show(
        self, request: IndexRequest, query: FormFields, form: FormState, status: int
    ) -> Response:
        """Return the page, which says that there is no rule if there is none."""
        values: dict[str, object] = {"form": form, "done": query.text("done"), "answer": None}
        retention = request.context.index.server.retention
        if retention is not None:
            values |= _preview_values(retention, request.caller, query)
        return self._pages.show(request, SECTION, "retention.html", values, status)


def _preview_values(retention: "Retention", caller: Caller, query: FormFields) -> dict[str, object]:
    """
    Return what the page shows where there are rules: what they would delete now, or keep.

    Raises Unavailable if the store does not answer, and NoSuchPage if the list has no page of the
    number in the query.
    """
    is_kept = query.text("show") == KEPT
    preview = retention.preview_projects(caller, PROJECTS_ON_A_PAGE, with_kept=is_kept)
    report = preview.report
    if is_kept:
        projects: list[FreedProject] = []
        rows, numbers = paged(report.kept, query, ROWS_ON_A_PAGE)
    else:
        projects = list(_freed(preview.projects))
        rows, numbers = paged(report.deleted, query, ROWS_ON_A_PAGE)

    # a project of one name may be in several indexes
    all_projects = {(release.index, release.project) for release in report.deleted}
    return {
        "answer": report,
        "last_run": retention.last_run(),
        "is_kept": is_kept,
        "rows": rows,
        "numbers": numbers,
        "bytes": sum(release.bytes for release in report.deleted),
        "projects": projects,
        "more_projects": len(all_projects) - len(preview.projects),
        "links": query_of({"show": query.text("show")}),
        "confirmation": CONFIRMATION,
    }


def _freed(projects: Sequence[ThinnedProject]) -> Iterator[FreedProject]:
    """Yield the rows of projects, of which the first is that with most bytes."""
    for project in projects:
        share = project.bytes / max(projects[0].bytes, 1)
        yield FreedProject(project, draw_share(share), draw_releases(project))
