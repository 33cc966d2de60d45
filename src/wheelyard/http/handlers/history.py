"""Handlers of the history of a project, as people read it."""

from wheelyard.errors import NotFound
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.web_pages import WebPages
from wheelyard.operations.project_history import HistoryReader, older_pages
from wheelyard.rendering.web.history_page import HistoryLinks, history_page
from wheelyard.storage.base import ObjectVersion


async def answer_history(request: Request, web: WebPages) -> Response:
    """
    Handle GET `/project/<name>/history/`, the newest page, and `/project/<name>/history/<number>/`.

    Who may manage the project also sees on the newest page who got rights for it.
    """
    context, sent = web.context, request.params.get("number")
    name, index = web.require_reader(request), context.index
    if name != request.params["name"]:
        number_sent = (sent,) if sent else ()
        path = web.path("project", name, "history", *number_sent, query=request.query)
        return redirect(301, path)
    project, version = await context.documents.require_project(name)
    number, viewer = _parse_number(sent), web.viewer(request.caller, name)
    shows_access = viewer.may_manage and number is None
    if shows_access:
        access = await context.pools.run_read(index.access.records.get)
        version = ObjectVersion(f"{version} {access.version}")
    history = HistoryReader(index.projects, index.tokens.records, is_local=index.is_local)

    def render() -> bytes:
        part = history.newest(project) if number is None else history.older(project, number)
        entries = part.entries
        links = HistoryLinks(number, older_pages(project.revision))
        if shows_access:
            entries = history.with_access(part, project, index.access.records)
        return history_page(web.environment, viewer, name, links, entries, part.lost)

    async with context.long_read_limit.acquire(request.client_key):
        return await web.respond(
            request,
            ("history", name, number, viewer),
            version,
            render,
            name=name,
            is_current=None if shows_access else index.projects.watch(name, version),
        )


def _parse_number(text: str | None) -> int | None:
    """Return the number of an older page, None for the newest; raise NotFound for other texts."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and text[0] != "0" and len(text) <= 9:  # noqa: PLR2004 - of any journal
        return int(text)
    raise NotFound("A page of a history has a number, from 1.", short="No such page.")
