"""
Handlers of the documentation, below `/-/docs/`.

It is public: whoever cannot sign in may need it. No credential is looked at but the session of a
browser, for the links in the head, and one that is not valid does not hinder.
"""

from asyncio import shield, wrap_future
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final

from markupsafe import Markup

from wheelyard.authentication.authorization import CacheScope
from wheelyard.errors import WheelyardError
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import NO_STORE, HeaderList, MadeFrom, Response, redirect
from wheelyard.http.representation import MediaType
from wheelyard.http.request_authentication import UNAUTHENTICATED
from wheelyard.http.responses import HARMLESS, page_cache_headers, page_response
from wheelyard.http.web_pages import TemporaryPage
from wheelyard.operations import documentation
from wheelyard.rendering.web import docs_page
from wheelyard.rendering.web.viewer import Viewer
from wheelyard.storage.base import ABSENT

WORDS_LIMIT: Final = 100
"""The most characters that are searched for. What comes after them is ignored."""
_MEDIA_TYPES: Final = {
    "json": MediaType.PLAIN_JSON,
    "svg": MediaType.SVG,
    "webp": MediaType.WEBP,
}
"""By the endings of the files that pages show or link to."""


def answer(request: IndexRequest) -> Response:
    """
    Handle GET `/-/docs/<path>`: a page or a picture, or a redirect to its usual path.

    With `?q=` the front page is what a search finds. For any other path it is a page that says so
    (404). Raises Waiting while another process renders the page.
    """
    path: str = request.path_params["path"]
    folder = _folder(request)
    words = (request.query_field("q") or "")[:WORDS_LIMIT].strip()
    if path == documentation.FRONT and words and folder.pages:
        return _answer_search(request, folder, words)
    if path in folder.pages:
        return _answer_page(request, folder.pages[path])
    if path in folder.files and path.rpartition(".")[2] in _MEDIA_TYPES:
        return _answer_file(request, path)
    usual_path = documentation.page_path(path)
    if usual_path != path and usual_path in folder.pages:
        segments = ["-", "docs"]
        if usual_path:
            segments += usual_path.removesuffix("/").split("/")
        return redirect(301, request.web.path(*segments))
    return _missing(request, folder)


def _answer_page(request: IndexRequest, page: documentation.DocumentedPage) -> Response:
    """
    Return a page of the documentation.

    Raises Waiting while another process renders its Markdown.
    """
    # None, now or as its result, if it cannot be rendered now: then the page shows its source
    job = request.context.process.documentation.render(page.path)
    html = None
    if job is not None:
        if not job.done():
            request.wait("docs", _finished, job)
        html = job.result()
    viewer = _viewer(request)
    scope: CacheScope = "public"
    made_from: MadeFrom | None = ()

    # who has signed in may sign out any time, so that no identical request may get the same page
    if viewer.name:
        scope = "private"
        made_from = None
    try:
        return page_response(
            request.context,
            request,
            MediaType.HTML,
            ("docs", page.path, viewer),
            # it is made from no document, and so from no version of one
            ABSENT,
            partial(_render_page, request, viewer, page, html),
            repeats=(made_from, inf),
            headers=request.web.scoped_headers(scope),
        )
    except TemporaryPage as temporary:
        return request.web.own_page(request, 200, temporary.body)


def _render_page(
    request: IndexRequest, viewer: Viewer, page: documentation.DocumentedPage, html: Markup | None
) -> bytes:
    """
    Return the bytes of a page, whose Markdown is `html`.

    Raises TemporaryPage without `html`.
    """
    folder = _folder(request)
    parent_path, _, _ = page.path.removesuffix("/").rpartition("/")
    parent = folder.pages.get(f"{parent_path}/")
    parent_title = ""
    if parent is not None:
        parent_title = parent.title
    content = docs_page.DocsContent(
        title=page.title,
        path=page.path,
        source=page.source,
        html=html or Markup('<pre tabindex="0">{}</pre>').format(page.text),
        parent=parent_title,
    )
    path_by_source = {page.source: page.path for page in folder.pages.values()}
    targets = docs_page.LinkTargets(folder.version, path_by_source, folder.files, folder.sizes)
    body = docs_page.docs_page(request.web.environment, viewer, content, targets)

    # the next request may get a better one
    if html is None:
        raise TemporaryPage(body)
    return body


def _answer_search(
    request: IndexRequest, folder: documentation.DocumentationFolder, words: str
) -> Response:
    """Return the page of what a search finds, which no cache keeps."""
    renderer = request.context.process.documentation
    searched: list[docs_page.SearchedPage] = []
    for page in folder.pages.values():
        job = renderer.render(page.path)
        html = None
        # a search waits for no page: of one that is not rendered yet, it looks at the source alone
        if job is not None and job.done():
            html = job.result()
        searched.append(docs_page.SearchedPage(page.path, page.title, page.text, html or ""))
    viewer = _viewer(request)
    body = docs_page.docs_search_page(
        request.web.environment, viewer, searched, words, folder.version
    )
    return request.web.uncached_page(request, body, *request.web.security_headers, NO_STORE)


def _viewer(request: IndexRequest) -> Viewer:
    """Return who looks at a page: somebody with a session, or nobody, also if that fails."""
    # without a cookie there is nothing to look up, and no store has to be read
    if b"cookie" in request.joined_headers:
        with suppress(WheelyardError):
            request.authenticator.use_session(request)
            return request.web.viewer(request.caller)
    return request.web.viewer(UNAUTHENTICATED)


def _answer_file(request: IndexRequest, path: str) -> Response:
    """Return a picture of a page, or another file that a page links to."""
    file = _folder(request).files[path]
    _, _, ending = path.rpartition(".")
    return page_response(
        request.context,
        request,
        _MEDIA_TYPES[ending],
        ("docs", path),
        ABSENT,
        file.read_bytes,
        repeats=((), inf),
        headers=(HARMLESS, *_caching(request)),
    )


def _folder(request: IndexRequest) -> documentation.DocumentationFolder:
    return request.context.process.documentation.folder


def _caching(request: IndexRequest) -> HeaderList:
    return page_cache_headers(request.context.index.settings.http.public_max_age, "public")


def _missing(request: IndexRequest, folder: documentation.DocumentationFolder) -> Response:
    """Return the page that says that there is no such page, or no documentation at all."""
    # the path may have any depth, so links begin at the root of the host
    root = request.web.path()
    return request.web.show(
        request,
        _viewer(request),
        404,
        "missing_docs.html",
        root,
        has_docs=bool(folder.pages),
        docs=docs_page.DOCS_PATH,
        site=docs_page.PUBLIC_SITE,
        version=folder.version,
    )


async def _finished(job: Future[Markup | None]) -> None:
    """Wait until a page is rendered."""
    # others may wait for it, too: a request that ends early does not cancel it
    await shield(wrap_future(job))
