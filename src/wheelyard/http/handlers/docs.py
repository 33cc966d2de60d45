"""
Handlers of the documentation, below `/-/docs/`.

The documentation is public, as a person who cannot sign in may need it. Of credentials, only the
session of a browser is read, for the links in the head of a page; an invalid session is ignored.
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
from wheelyard.http.messages import NO_STORE, MadeFrom, Response, redirect
from wheelyard.http.representation import MediaType
from wheelyard.http.request_authentication import UNAUTHENTICATED
from wheelyard.http.responses import HARMLESS, page_cache_headers, page_response
from wheelyard.http.web_pages import TemporaryPage
from wheelyard.operations import documentation
from wheelyard.rendering.web import docs_page
from wheelyard.rendering.web.viewer import Viewer
from wheelyard.storage.base import ABSENT

WORDS_LIMIT: Final = 100
"""How many characters of a search are used; the others are ignored."""
_MEDIA_TYPES: Final = {
    "json": MediaType.PLAIN_JSON,
    "svg": MediaType.SVG,
    "webp": MediaType.WEBP,
}
"""The media types of files that pages show or link to, by the ending of the filename."""


def answer(request: IndexRequest) -> Response:
    """
    Handle GET `/-/docs/<path>`: a page or a picture, or a redirect to its usual path.

    With `?q=` the front page has the results of a search. An unknown path gets a page that says so
    (404). Raises Waiting while another process renders the page.
    """
    path: str = request.path_params["path"]
    folder = _folder(request)
    words = (request.query_field("q") or "")[:WORDS_LIMIT].strip()
    if path == documentation.FRONT and words and folder.pages:
        return _answer_search(request, folder, words)
    if path in folder.pages:
        return _answer_page(request, folder.pages[path])
    if path in folder.files and _ending_of(path) in _MEDIA_TYPES:
        return _answer_file(request, path)
    usual_path = documentation.page_path(path)
    if usual_path != path and usual_path in folder.pages:
        segments = ["-", "docs"]
        if usual_path:
            segments += usual_path.removesuffix("/").split("/")
        return redirect(301, request.web.path(*segments))
    return _missing_page(request, folder)


def _answer_page(request: IndexRequest, page: documentation.DocumentedPage) -> Response:
    """
    Return a page of the documentation.

    Raises Waiting while another process renders its Markdown.
    """
    # the job, or its result, is None if the page cannot be rendered now: it shows its source then
    job = request.context.process.documentation.render(page.path)
    html: Markup | None = None
    if job is not None:
        if not job.done():
            request.wait("docs", _wait_until_done, job)
        html = job.result()
    viewer = _session_viewer(request)
    scope: CacheScope = "public"
    made_from: MadeFrom | None = ()

    # a page with a name is not repeated to identical requests, as the person may have signed out
    if viewer.name:
        scope = "private"
        made_from = None
    try:
        return page_response(
            request.context,
            request,
            MediaType.HTML,
            ("docs", page.path, viewer),
            # the page is made from no stored document, so it has no version
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
    Return the bytes of a page, whose rendered Markdown is `html`.

    If `html` is None, raises TemporaryPage with a page that shows the source.
    """
    folder = _folder(request)
    parent_path, _, _ = page.path.removesuffix("/").rpartition("/")
    parent = folder.pages.get(f"{parent_path}/")
    parent_title = ""
    if parent is not None:
        parent_title = parent.title
    shown_html = html or Markup('<pre tabindex="0">{}</pre>').format(page.text)
    content = docs_page.DocsContent(
        title=page.title,
        path=page.path,
        source=page.source,
        html=shown_html,
        parent=parent_title,
    )
    path_by_source = {page.source: page.path for page in folder.pages.values()}
    targets = docs_page.LinkTargets(folder.version, path_by_source, folder.files, folder.sizes)
    body = docs_page.docs_page(request.web.environment, viewer, content, targets)

    # the next request may get the rendered page
    if html is None:
        raise TemporaryPage(body)
    return body


def _answer_search(
    request: IndexRequest, folder: documentation.DocumentationFolder, words: str
) -> Response:
    """Return the page with the results of a search, which is not cached."""
    renderer = request.context.process.documentation
    searched_pages: list[docs_page.SearchedPage] = []
    for page in folder.pages.values():
        job = renderer.render(page.path)
        html: Markup | None = None
        # a search does not wait for a page to be rendered, and uses only its source then
        if job is not None and job.done():
            html = job.result()
        searched_pages.append(docs_page.SearchedPage(page.path, page.title, page.text, html or ""))
    viewer = _session_viewer(request)
    body = docs_page.docs_search_page(
        request.web.environment, viewer, searched_pages, words, folder.version
    )
    return request.web.uncached_page(request, body, *request.web.security_headers, NO_STORE)


def _session_viewer(request: IndexRequest) -> Viewer:
    """Return the viewer with the session of a request, or an anonymous one without a valid one."""
    # without a cookie, no store is read
    if b"cookie" in request.joined_headers:
        with suppress(WheelyardError):
            request.authenticator.use_session(request)
            return request.web.viewer(request.caller)
    return request.web.viewer(UNAUTHENTICATED)


def _answer_file(request: IndexRequest, path: str) -> Response:
    """Return a picture of a page, or another file that a page links to."""
    file = _folder(request).files[path]
    max_age = request.context.index.settings.http.public_max_age
    return page_response(
        request.context,
        request,
        _MEDIA_TYPES[_ending_of(path)],
        ("docs", path),
        ABSENT,
        file.read_bytes,
        repeats=((), inf),
        headers=(HARMLESS, *page_cache_headers(max_age, "public")),
    )


def _folder(request: IndexRequest) -> documentation.DocumentationFolder:
    """Return the folder with the documentation of this version."""
    return request.context.process.documentation.folder


def _ending_of(path: str) -> str:
    """Return the ending of a filename without its dot."""
    return path.rpartition(".")[2]


def _missing_page(request: IndexRequest, folder: documentation.DocumentationFolder) -> Response:
    """Return the page (404) that says that there is no such page, or no documentation at all."""
    # the path may have any depth, so links begin at the root of the host
    root = request.web.path()
    return request.web.show(
        request,
        _session_viewer(request),
        404,
        "missing_docs.html",
        root,
        has_docs=bool(folder.pages),
        docs=docs_page.DOCS_PATH,
        site=docs_page.PUBLIC_SITE,
        version=folder.version,
    )


async def _wait_until_done(job: Future[Markup | None]) -> None:
    """Wait until a page is rendered."""
    # a request that ends early must not cancel the job, for which others may wait, too
    await shield(wrap_future(job))
