"""The page of rules of retention: the releases that they would delete or keep, and the run."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import Conflict, Invalid
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, naming_field
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
"""How many projects the page shows with their sums, above the list of all releases."""
CONFIRMATION: Final = "delete"
"""What has to be typed before anything is deleted."""
KEPT: Final = "kept"
"""The value of the field `show` for the releases that are kept, in place of the deleted ones."""


class FreedProject(Struct, frozen=True):
    """A project of which the rules would delete releases, with its figures on the page."""

    project: ThinnedProject
    bar: Markup
    """Its freed bytes, as a share of those of the project that frees most."""
    line: Markup
    """Its releases on a line of time, or an empty figure if all are of one day."""


class RetentionPage:
    """Handles the page of rules of retention."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the rules, and the releases that they would delete now, or keep.

        Nothing is deleted. If there is no rule, the page says so.
        """
        query = self._pages.query(request)
        form = self._pages.form(request)
        return self._show_page(request, query, form, 200)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: delete the releases that the page has shown, if the form confirms it.

        The answer is a redirect to the page. If there is no rule any more, if the rules would
        delete other releases now, or if another process runs retention, nothing is deleted, and the
        page says so with status 409.
        """

        def act(fields: FormFields) -> Response:
            with naming_field("confirmation"):
                if fields.text("confirmation").strip().lower() != CONFIRMATION:
                    raise Invalid(f"Type {CONFIRMATION} to confirm.", code="invalid_field")
            retention = request.context.index.server.retention
            if retention is None:
                raise Conflict("There is no rule of retention any more. Load the page again.")
            # a run that would delete other releases than the plan on the page is refused
            report = retention.run(request.caller, plan=fields.text("plan"))
            deleted_count = 0
            if report is not None:
                deleted_count = len(report.deleted)
            return self._pages.done(request, urlencode({"done": deleted_count}))

        def ask_again(_: FormFields, form: FormState, status: int) -> Response:
            # without the typed confirmation, as the page may show other releases now
            form = replace(form, values={})
            return self._show_page(request, self._pages.query(request), form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _show_page(
        self, request: IndexRequest, query: FormFields, form: FormState, status: int
    ) -> Response:
        """Return the page with the rules, or the page that says that there is no rule."""
        values: dict[str, object] = {"form": form, "done": query.text("done"), "answer": None}
        retention = request.context.index.server.retention
        if retention is not None:
            values |= _preview_values(retention, request.caller, query)
        return self._pages.show(request, SECTION, "retention.html", values, status)


def _preview_values(retention: "Retention", caller: Caller, query: FormFields) -> dict[str, object]:
    """
    Return the values for the template: the releases that rules would delete now, or keep.

    Raises Unavailable if the store does not answer, and NoSuchPage if the list has no page of the
    number in the query.
    """
    shows_kept = query.text("show") == KEPT
    preview = retention.preview_projects(caller, PROJECTS_ON_A_PAGE, with_kept=shows_kept)
    report = preview.report
    if shows_kept:
        projects: list[FreedProject] = []
        rows, numbers = paged(report.kept, query, ROWS_ON_A_PAGE)
    else:
        projects = list(_freed_projects(preview.projects))
        rows, numbers = paged(report.deleted, query, ROWS_ON_A_PAGE)

    # with the index, as several indexes may have a project of one name
    all_projects = {(release.index, release.project) for release in report.deleted}
    return {
        "answer": report,
        "last_run": retention.last_run(),
        "is_kept": shows_kept,
        "rows": rows,
        "numbers": numbers,
        "bytes": sum(release.bytes for release in report.deleted),
        "projects": projects,
        "more_projects": len(all_projects) - len(preview.projects),
        "links": query_of({"show": query.text("show")}),
        "confirmation": CONFIRMATION,
    }


def _freed_projects(projects: Sequence[ThinnedProject]) -> Iterator[FreedProject]:
    """Yield projects with their figures. The first of the projects must free the most bytes."""
    for project in projects:
        share = project.bytes / max(projects[0].bytes, 1)
        yield FreedProject(project, draw_share(share), draw_releases(project))
