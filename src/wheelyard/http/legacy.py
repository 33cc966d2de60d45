"""PyPI's JSON: `/pypi/<name>/json` and `/pypi/<name>/<version>/json`."""

from collections.abc import Callable

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.desk import Desk
from wheelyard.http.exchange import POLICY, Reply, Request
from wheelyard.http.negotiation import Form
from wheelyard.http.simple import answer, page_of
from wheelyard.model.distribution import parse_name, parse_version
from wheelyard.model.project import Project
from wheelyard.rendering.legacy import LegacyPage, project_json, release_json
from wheelyard.rendering.releases import Release, latest, releases_of


async def legacy_json(request: Request, desk: Desk) -> Reply:
    """Answer with a project, or with one of its releases; the name may have any spelling."""
    try:
        name = parse_name(request.params["name"])
        desk.require_read(request.caller, name)
        asked = request.params.get("version")
        version = None if asked is None else parse_version(asked)
    except Invalid as error:
        raise NotFound(error.message, short="No such project or version.") from error
    project, revision = await desk.listed(name)
    render = _renderer(project, version, desk)
    caching = desk.caching_of_page(is_public=desk.is_public(name))
    page = await page_of(desk, ("legacy", name, version), revision, render, (POLICY, *caching))
    return answer(request, page, Form.PLAIN_JSON)


def _renderer(project: Project, version: Version | None, desk: Desk) -> Callable[[], bytes]:
    def render() -> bytes:
        releases = releases_of(project)
        if version is None:
            page = _page(project.name, latest(releases), desk)
            return project_json(page, releases)
        chosen = next((each for each in releases if Version(each.version) == version), None)
        return release_json(_page(project.name, chosen, desk))

    return render


def _page(name: NormalizedName, release: Release | None, desk: Desk) -> LegacyPage:
    if release is None:
        raise NotFound(
            f"{name} has no such release. See /simple/{name}/ for those it has.",
            short="No such release.",
        )
    settings = desk.index.settings
    base = settings.server.public_url.rstrip("/") or settings.server.path_prefix
    core = desk.core(name, release.speaker)
    return LegacyPage(name, release, core, f"{base}/files")
