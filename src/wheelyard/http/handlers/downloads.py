"""The page with the downloads of a project."""

from typing import Final

from wheelyard.downloads.reading import Downloads
from wheelyard.errors import Invalid, NotFound
from wheelyard.http import resolver
from wheelyard.http.messages import Request, Response, redirect
from wheelyard.http.resolver import PrivateFiles
from wheelyard.http.web_pages import WebPages
from wheelyard.model.downloads import SHOWN_DAYS
from wheelyard.rendering.web.download_pages import DAY_CHOICES, downloads_page

_CHOICES: Final = {str(days): days for days in DAY_CHOICES}


class DownloadPages:
    """The pages with the downloads of projects."""

    def __init__(self, web: WebPages, downloads: Downloads) -> None:
        self._web = web
        self._downloads = downloads

    def answer(self, request: Request) -> Response:
        """Handle GET `/project/<name>/downloads/`: by version, in the last days."""
        name = self._web.require_lookup(request)
        if name != request.path_params["name"]:
            path = self._web.path("project", name, "downloads", query=request.query_string)
            return redirect(301, path)
        days = _CHOICES.get(request.query_field("days") or str(SHOWN_DAYS))
        if days is None:
            message = f"There is no such page. Choose {', '.join(_CHOICES)} days."
            raise Invalid(message, code="invalid_field")
        listing = resolver.find(self._web.context, name, request)
        if not isinstance(listing.open, PrivateFiles):
            raise NotFound("Downloads of public packages are not counted.")
        viewer = self._web.viewer(request.caller, name if listing.origin.is_own else None)
        versions = {file.version for file in listing.files}
        report, until = self._downloads.report(name, days)

        def render() -> bytes:
            return downloads_page(self._web.environment, viewer, name, report, versions)

        key, version = ("downloads", name, days, viewer), f"{listing.version} {report.digest}"
        return self._web.respond(request, key, version, render, listing=listing, until=until)
