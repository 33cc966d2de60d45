"""
Handlers of the documentation, below `/-/docs/`.

It is public: whoever cannot sign in may need it. No credential is looked at but the session of a
browser, for the links in the head, and one that is not valid does not hinder.
"""

from asyncio import shield, wrap_future
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from typing import Final

from markupsafe import Markup

from wheelyard.errors import WheelyardError
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import NO_STORE, HeaderList, Response, redirect
from wheelyard.http.representation import MediaType
from wheelyard.http.request_authentication import UNAUTHENTICATED
from wheelyard.http.responses import HARMLESS, page_cache_headers, page_response
from wheelyard.http.web_pages import TemporaryPage
from wheelyard.operations.documentation import (
    FRONT,
    DocumentationFolder,
    DocumentedPage,
    page_path,
)
from wheelyard.rendering.web.docs_page import (
    DOCS_PATH,
    PUBLIC_SITE,
    DocsContent,
    LinkTargets,
    SearchedPage,
    docs_page,
    docs_search_page,
)
from wheelyard.rendering.web.viewer import Viewer
from wheelyard.storage.base import ABSENT

WORDS_LIMIT: Final = 100
"""Characters of the words of a search."""
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
    words = (request.query_field("q") or "")[:WORDS_LIMIT].strip()
    if path == FRONT and words and folder.pages:
        return _answer_search(request, folder, words)
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
    viewer = _viewer(request)
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
        targets = LinkTargets(folder.version, pages, folder.files, folder.sizes)
        body = docs_page(request.web.environment, viewer, content, targets)
        if html is None:  # the next request may get a better one
            raise TemporaryPage(body)
        return body

    try:
        # it is made from no document, and so from no version of one
        return page_response(
            request.context,
            request,
            MediaType.HTML,
            ("docs", page.path, viewer),
            ABSENT,
            render,
            # who has signed in may sign out any time
            repeats=(None if viewer.name else (), inf),
            headers=request.web.scoped_headers("private" if viewer.name else "public"),
        )
    except TemporaryPage as temporary:
        return request.web.own_page(request, 200, temporary.body)


def _answer_search(request: IndexRequest, folder: DocumentationFolder, words: str) -> Response:
    """Return the page of what a search finds, which no cache keeps."""
    documentation = request.context.process.documentation
    searched = []
    for page in folder.pages.values():
        job = documentation.render(page.path)
        html = None
        if job is not None and job.done():  # a search waits for none
            html = job.result()
        searched.append(SearchedPage(page.path, page.title, page.text, html or ""))
    body = docs_search_page(
        request.web.environment, _viewer(request), searched, words, folder.version
    )
    return request.web.uncached_page(request, body, *request.web.security_headers, NO_STORE)


def _viewer(request: IndexRequest) -> Viewer:
    """Return who looks at a page: somebody with a session, or nobody, also if that fails."""
    if b"cookie" in request.joined_headers:
        with suppress(WheelyardError):
            request.authenticator.use_session(request)
            return request.web.viewer(request.caller)
    return request.web.viewer(UNAUTHENTICATED)


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
        request,
        _viewer(request),
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
