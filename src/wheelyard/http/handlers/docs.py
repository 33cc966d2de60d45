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

from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import HeaderList, Response, redirect
from wheelyard.http.representation import MediaType
from wheelyard.http.responses import HARMLESS, page_cache_headers, page_response
from wheelyard.http.web_pages import TemporaryPage
from wheelyard.operations.documentation import DocumentationFolder, DocumentedPage, page_path
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


def answer(request: IndexRequest) -> Response:
    """Handle GET `/-/docs/<path>`: a page or a picture, or a redirect to its usual path."""
    path: str = request.path_params["path"]
    folder = _folder(request)
    if path in folder.pages:
        return _answer_page(request, folder.pages[path])
    if path in folder.files and path.rpartition(".")[2] in _MEDIA_TYPES:
        return _answer_file(request, path)
    usual = page_path(path)
    if usual != path and usual in folder.pages:
        segments = usual.removesuffix("/").split("/") if usual else ()
        return redirect(301, request.web.path("-", "docs", *segments))
    return _missing(request, folder)


def _answer_page(request: IndexRequest, page: DocumentedPage) -> Response:
    folder = _folder(request)
    job = request.context.process.documentation.render(page.path)
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
        body = docs_page(request.web.environment, content, targets)
        if html is None:  # the next request may get a better one
            raise TemporaryPage(body)
        return body

    try:
        # it is made from no document, and so from no version of one
        return page_response(
            request.context,
            request,
            MediaType.HTML,
            ("docs", page.path),
            ABSENT,
            render,
            repeats=((), inf),
            headers=(*request.web.security_headers, *_caching(request)),
        )
    except TemporaryPage as temporary:
        return request.web.own_page(200, temporary.body)


def _answer_file(request: IndexRequest, path: str) -> Response:
    file = _folder(request).files[path]
    return page_response(
        request.context,
        request,
        _MEDIA_TYPES[path.rpartition(".")[2]],
        ("docs", path),
        ABSENT,
        file.read_bytes,
        repeats=((), inf),
        headers=(HARMLESS, *_caching(request)),
    )


def _folder(request: IndexRequest) -> DocumentationFolder:
    return request.context.process.documentation.folder


def _caching(request: IndexRequest) -> HeaderList:
    return page_cache_headers(request.context.index.settings.http.public_max_age, "public")


def _missing(request: IndexRequest, folder: DocumentationFolder) -> Response:
    # the path may have any depth, so links begin at the root of the host
    root = request.web.path()
    return request.web.show(
        ANYONE,
        404,
        "missing_docs.html",
        root,
        has_docs=bool(folder.pages),
        docs=DOCS_PATH,
        site=PUBLIC_SITE,
        version=folder.version,
    )


async def _finished(job: Future[Markup | None]) -> None:
    # others may wait for it, too: a request that ends early does not cancel it
    await shield(wrap_future(job))
