"""
Handlers of the documentation, below `/-/docs/`.

It is public, and the same for everybody: whoever cannot sign in may need it. No credential is
looked at, so a wrong one does not hinder.
"""

from asyncio import shield, wrap_future
from concurrent.futures import Future
from math import inf
from typing import Final

from markupsafe import Markup

from wheelyard.http.messages import HeaderList, Request, Response, redirect
from wheelyard.http.representation import MediaType
from wheelyard.http.responses import HARMLESS, page_cache_headers, page_response
from wheelyard.http.web_pages import TemporaryPage, WebPages
from wheelyard.operations.documentation import DocumentedPage, page_path
from wheelyard.rendering.web.docs_page import (
    DOCS_PATH,
    PUBLIC_SITE,
    DocsContent,
    LinkTargets,
    docs_page,
)
from wheelyard.rendering.web.environment import ANYONE
from wheelyard.storage.base import ABSENT

_MEDIA_TYPES: Final = {
    "json": MediaType.PLAIN_JSON,
    "svg": MediaType.SVG,
    "webp": MediaType.WEBP,
}
"""By the endings of the files that pages show or link to."""


class DocsPages:
    """The pages of the documentation, and their pictures."""

    def __init__(self, web: WebPages) -> None:
        self._web = web
        self._context = web.context
        self._documentation = web.context.process.documentation

    def answer(self, request: Request) -> Response:
        """Handle GET `/-/docs/<path>`: a page or a picture, or a redirect to its usual path."""
        path: str = request.path_params["path"]
        folder = self._documentation.folder
        if path in folder.pages:
            return self._answer_page(request, folder.pages[path])
        if path in folder.files and path.rpartition(".")[2] in _MEDIA_TYPES:
            return self._answer_file(request, path)
        usual = page_path(path)
        if usual != path and usual in folder.pages:
            segments = usual.removesuffix("/").split("/") if usual else ()
            return redirect(301, self._web.path("-", "docs", *segments))
        return self._missing(has_docs=bool(folder.pages))

    def _answer_page(self, request: Request, page: DocumentedPage) -> Response:
        folder = self._documentation.folder
        job = self._documentation.render(page.path)
        if job is not None and not job.done():
            request.wait("docs", _finished, job)
        html = None if job is None else job.result()
        above = folder.pages.get(page.path.removesuffix("/").rpartition("/")[0] + "/")

        def render() -> bytes:
            content = DocsContent(
                title=page.title,
                path=page.path,
                source=page.source,
                html=html or Markup('<pre tabindex="0">{}</pre>').format(page.text),
                parent=above.title if above is not None else "",
            )
            pages = {page.source: page.path for page in folder.pages.values()}
            targets = LinkTargets(folder.version, pages, folder.files)
            body = docs_page(self._web.environment, content, targets)
            if html is None:  # the next request may get a better one
                raise TemporaryPage(body)
            return body

        try:
            # it is made from no document, and so from no version of one
            return page_response(
                self._context,
                request,
                MediaType.HTML,
                ("docs", page.path),
                ABSENT,
                render,
                repeats=((), inf),
                headers=(*self._web.security_headers, *self._caching()),
            )
        except TemporaryPage as temporary:
            return self._web.own_page(200, temporary.body)

    def _answer_file(self, request: Request, path: str) -> Response:
        file = self._documentation.folder.files[path]
        return page_response(
            self._context,
            request,
            _MEDIA_TYPES[path.rpartition(".")[2]],
            ("docs", path),
            ABSENT,
            file.read_bytes,
            repeats=((), inf),
            headers=(HARMLESS, *self._caching()),
        )

    def _caching(self) -> HeaderList:
        return page_cache_headers(self._context.index.settings.http.public_max_age, is_public=True)

    def _missing(self, *, has_docs: bool) -> Response:
        # the path may have any depth, so links begin at the root of the host
        root = self._web.path()
        return self._web.show(
            ANYONE,
            404,
            "missing_docs.html",
            root,
            has_docs=has_docs,
            docs=DOCS_PATH,
            site=PUBLIC_SITE,
            version=self._documentation.folder.version,
        )


async def _finished(job: Future[Markup | None]) -> None:
    # others may wait for it, too: a request that ends early does not cancel it
    await shield(wrap_future(job))
