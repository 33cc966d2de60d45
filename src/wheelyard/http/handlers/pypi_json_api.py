"""Handler of PyPI's JSON API: `/pypi/<name>/json` and `/pypi/<name>/<version>/json`."""

from functools import partial
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import (
    cached_page,
    load_page,
    page_headers,
    page_response,
)
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.project import Project
from wheelyard.rendering.pypi_json import PypiJsonData, project_json
from wheelyard.rendering.releases import latest_release, release_of, releases_of

if TYPE_CHECKING:
    from wheelyard.http.upstream_reader import UpstreamReader
    from wheelyard.upstream.index import ServedPage


async def answer_pypi_json(request: Request, context: ServerContext) -> Response:
    """Handle GET `/pypi/<name>/json` and `/pypi/<name>/<version>/json`, in any spelling of both."""
    try:
        name = parse_name(request.params["name"])
        context.read_policy.require_lookup(request.caller, name)
        sent = request.params.get("version")
        version = None if sent is None else parse_version(sent)
    except Invalid as error:
        raise NotFound(error.message, short="No such project or version.") from error
    if context.upstream is not None:
        found = await context.upstream.find(request, name)
        if found is not None:
            return await _upstream_json(request, context, context.upstream, found, version)
    project, revision = await context.documents.require_project(name)
    key = ("pypi_json", name, version)
    headers = page_headers(context, MediaType.PLAIN_JSON, name)
    render = partial(_render, project, version, context)
    page = await load_page(context, request, key, revision, render, headers)
    is_current = context.index.projects.watch(name, revision)
    return page_response(request, page, MediaType.PLAIN_JSON, is_current)


def _render(project: Project, version: Version | None, context: ServerContext) -> bytes:
    name, releases = project.name, releases_of(project)
    release = latest_release(releases) if version is None else release_of(project, version)
    if release is None:
        raise _no_release(name)
    metadata = context.core_metadata.load(name, release.metadata_file)
    page = PypiJsonData(name, release, metadata, _files_url(context))
    return project_json(page, releases if version is None else None)


def _no_release(name: NormalizedName) -> NotFound:
    return NotFound(
        f"{name} has no such release. See /simple/{name}/ for those it has.",
        short="No such release.",
    )


def _files_url(context: ServerContext) -> str:
    server = context.index.settings.server
    return f"{server.public_url.rstrip('/') or server.path_prefix}/files"


async def _upstream_json(
    request: Request,
    context: ServerContext,
    reader: "UpstreamReader",
    found: "ServedPage",
    version: Version | None,
) -> Response:
    """Return the JSON of a project of an upstream index, or of one of its releases."""
    # no server without an upstream index needs these
    from wheelyard.http.upstream_reader import FROM_UPSTREAM, with_age  # noqa: PLC0415

    shown, page_version = found.content.shown, found.content.version
    name, key = shown.name, ("pypi_json", "upstream", shown.name, version)
    page = cached_page(context, request, key, page_version)
    if page is None:
        releases = await context.pools.run_read(partial(releases_of, shown))
        wanted = [each for each in releases if Version(each.version) == version]
        release = latest_release(releases if version is None else wanted)
        if release is None:
            raise _no_release(name)
        core = await reader.core_metadata(found.content.page, release.metadata_file)
        data = PypiJsonData(name, release, core, _files_url(context))
        render = partial(project_json, data, releases if version is None else None)
        head = page_headers(context, MediaType.PLAIN_JSON, name, is_upstream=True)
        headers = (*head, FROM_UPSTREAM)
        page = await load_page(context, request, key, page_version, render, headers)
    is_current = reader.watch(name, found)
    return with_age(page_response(request, page, MediaType.PLAIN_JSON, is_current), found)
