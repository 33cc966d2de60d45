"""What all pages for administrators share: the check of the right, the frame, forms."""

from collections.abc import Mapping
from typing import Final

from wheelyard.api.table import LocalApi
from wheelyard.authentication.authorization import require_admin
from wheelyard.http.messages import Request, Response
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.web.admin.sections import SECTIONS
from wheelyard.wiring.build import Index

WHAT: Final = "see the pages for administrators"


class AdminPages:
    """Shows the pages below `/-/admin/`."""

    def __init__(self, web: WebPages) -> None:
        self.web = web
        self.context = web.context

    @property
    def index(self) -> Index:
        """The index that the pages are about."""
        return self.context.index

    def api(self, request: Request) -> LocalApi:
        """Return the operations of the index, for the caller of a request."""
        return LocalApi(index=self.index, caller=request.caller)

    def show(
        self,
        request: Request,
        section: str,
        template: str,
        values: Mapping[str, object],
        status: int = 200,
    ) -> Response:
        """
        Return a page in the frame of the section whose path below `-/admin/` is `section`.

        `template` is below `admin/`. The path of the request has to end with a slash.
        """
        root = "../" * len(request.segments)
        viewer = self.web.viewer(request.caller)
        sections = [(entry.path, entry.title) for entry in SECTIONS]
        return self.web.show(
            viewer, status, f"admin/{template}", root, sections=sections, section=section, **values
        )

    def answer_overview(self, request: Request) -> Response:
        """Handle GET `/-/admin/`: what the pages are for."""
        require_admin(request.caller, WHAT)
        overview = [(entry.path, entry.title, entry.what) for entry in SECTIONS if entry.path]
        return self.show(request, "", "overview.html", {"overview": overview})
