"""Handler of PyPI's JSON API: `/pypi/<name>/json` and `/pypi/<name>/<version>/json`."""

from functools import partial

from packaging.version import Version

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import load_page, page_headers, page_response
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.project import Project
from wheelyard.rendering.pypi_json import PypiJsonData, project_json, release_json
from wheelyard.rendering.releases import latest_release, releases_of


async def answer_pypi_json(request: Request, context: ServerContext) -> Response:
    """Handle GET `/pypi/<name>/json` and `/pypi/<name>/<version>/json`, in any spelling of both."""
    try:
        name = parse_name(request.params["name"])
        context.read_policy.require_project_read(request.caller, name)
        sent = request.params.get("version")
        version = None if sent is None else parse_version(sent)
    except Invalid as error:
        raise NotFound(error.message, short="No such project or version.") from error
    project, revision = await context.documents.require_project(name)
    key = ("pypi_json", name, version)
    headers = page_headers(context, MediaType.PLAIN_JSON, name)
    render = partial(_render, project, version, context)
    page = await load_page(context, request, key, revision, render, headers)
    is_current = context.index.projects.watch(name, revision)
    return page_response(request, page, MediaType.PLAIN_JSON, is_current)


def _render(project: Project, version: Version | None, context: ServerContext) -> bytes:
    name, releases = project.name, releases_of(project)
    release = latest_release(releases)
    if version is not None:
        release = next((each for each in releases if Version(each.version) == version), None)
    if release is None:
        raise NotFound(
            f"{name} has no such release. See /simple/{name}/ for those it has.",
            short="No such release.",
        )
    server = context.index.settings.server
    files_url = f"{server.public_url.rstrip('/') or server.path_prefix}/files"
    metadata = context.core_metadata.load(name, release.metadata_file)
    page = PypiJsonData(name, release, metadata, files_url)
    return project_json(page, releases) if version is None else release_json(page)
