"""The page of a project."""

from collections.abc import Sequence
from html import escape

from markupsafe import Markup
from packaging.utils import NormalizedName

from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project, Status
from wheelyard.rendering.releases import Release
from wheelyard.rendering.simple_pages import file_url, timestamp
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer

_HEAD = "<thead><tr><th>File</th><th>Size</th><th>Uploaded</th></tr></thead>\n<tbody>\n"


def project_page(
    environment: PageEnvironment,
    viewer: Viewer,
    project: Project,
    releases: Sequence[Release],
    described: Release | None,
    core: CoreMetadata | None,
) -> bytes:
    """Return the bytes of a project's HTML page; `core` is the metadata of `described`."""
    files_url = escape(environment.files_url)
    sections = Markup("").join(  # they are escaped
        Markup(_release_section(each, project.name, files_url))  # noqa: S704
        for each in releases
    )
    return environment.render(
        "project.html",
        viewer,
        "../../",
        project=project,
        releases=releases,
        described=described,
        core=core,
        sections=sections,
        active=Status.ACTIVE,
    )


def _release_section(release: Release, name: NormalizedName, files_url: str) -> str:
    version, is_yanked = release.version, release.is_yanked
    badge = _yank_badge(release.yanked_reason) if is_yanked else ""
    rows = [
        _file_row(file, f"{files_url}/{file_url(name, file)}", has_badge=not is_yanked)
        for file in release.files
    ]
    return (
        f'<h3 id="v{version}">{version}\n{badge}</h3>\n<table>\n{_HEAD}'
        f"{''.join(rows)}</tbody>\n</table>\n"
    )


def _file_row(file: File, url: str, *, has_badge: bool) -> str:
    """Return a file's row in the HTML table; with `has_badge`, it says if the file is yanked."""
    uploaded_at, badges = timestamp(file.uploaded_at), ""
    if file.yanked is not None and has_badge:
        badges += f"{_yank_badge(file.yanked)}\n"
    if file.waived_rules:
        rules = escape(", ".join(file.waived_rules))
        badges += f'<span class="mark">imported as it is: {rules}</span>\n'
    return (
        f'<tr>\n<td class="name"><a href="{url}">{escape(file.filename)}</a>\n{badges}'
        f'<div class="digest">sha256 {file.sha256}</div></td>\n'
        f"<td>{readable_size(file.size)}</td>\n"
        f'<td><time datetime="{file.uploaded_at.isoformat()}">'
        f"{uploaded_at[:10]} {uploaded_at[11:16]} UTC"
        f"</time><br>by {escape(file.uploaded_by)}</td>\n</tr>\n"
    )


def _yank_badge(reason: str) -> str:
    suffix = f": <bdi>{escape(reason)}</bdi>" if reason else ""
    return f'<span class="mark">yanked{suffix}</span>'


def readable_size(size: int) -> str:
    """Return a size as text with a unit: bytes, KiB, MiB or GiB."""
    exponent = min((size.bit_length() - 1) // 10, 3)
    if exponent <= 0:
        return f"{size} bytes"
    return f"{size / 1024**exponent:.1f} {('KiB', 'MiB', 'GiB')[exponent - 1]}"
