"""
Renderer of PyPI's JSON API: `/pypi/<name>/json` and `/pypi/<name>/<version>/json`.

Fields of PyPI that have no value here are null, empty, 0 or -1. Renovate, Dependabot, Poetry and
PDM read this API.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.json import Encoder
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.rendering.releases import ReleaseOf
from wheelyard.rendering.shown import ShownFile
from wheelyard.rendering.simple_pages import file_url, metadata_mark, timestamp

if TYPE_CHECKING:
    from wheelyard.model.metadata import CoreMetadata


class PypiJsonData(Struct, frozen=True):
    """The data of a project and one release that `project_json` renders."""

    name: NormalizedName
    release: ReleaseOf[ShownFile]
    core: "CoreMetadata"
    files_url: str
    """The URL of the folder of files: absolute, or a path from the root of the host."""


def project_json(
    page: PypiJsonData, releases: Iterable[ReleaseOf[ShownFile]] | None = None
) -> bytes:
    """
    Return the bytes of `/pypi/<name>/json`: the described release, and the files of `releases`.

    Without `releases`, they are those of `/pypi/<name>/<version>/json`.
    """
    body: dict[str, object] = {"info": _info(page), "last_serial": 0}
    if releases is not None:
        body["releases"] = {each.version: _files(page, each) for each in releases}
    return Encoder().encode(body | {"urls": _files(page, page.release), "vulnerabilities": []})


def _info(page: PypiJsonData) -> dict[str, object]:
    core, release = page.core, page.release
    return {
        "author": core.author or "",
        "author_email": core.author_email or "",
        "bugtrack_url": None,
        "classifiers": core.classifiers,
        "description": core.description or "",
        "description_content_type": core.description_content_type,
        "docs_url": None,
        "download_url": core.download_url or "",
        "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
        "dynamic": core.dynamic or None,
        "home_page": core.home_page or "",
        "keywords": core.keywords or "",
        "license": core.license or "",
        "license_expression": core.license_expression,
        "license_files": core.license_files or None,
        "maintainer": core.maintainer or "",
        "maintainer_email": core.maintainer_email or "",
        "name": core.name,
        "package_url": "",
        "platform": ", ".join(core.platforms),
        "project_url": "",
        "project_urls": dict(core.project_urls) or None,
        "provides_extra": core.provides_extra or None,
        "release_url": "",
        "requires_dist": core.requires_dist or None,
        "requires_python": release.metadata_file.requires_python,
        "summary": core.summary or "",
        "version": release.version,
        "yanked": release.is_yanked,
        "yanked_reason": (release.yanked_reason or None) if release.is_yanked else None,
    }


def _files(page: PypiJsonData, release: ReleaseOf[ShownFile]) -> list[dict[str, object]]:
    return [_file(page, file) for file in release.files]


def _file(page: PypiJsonData, file: ShownFile) -> dict[str, object]:
    packagetype, python_version = _package_type(file.filename)
    uploaded = timestamp(file.uploaded_at) if file.uploaded_at is not None else None
    return {
        "comment_text": "",
        "core-metadata": metadata_mark(file),
        "digests": {"sha256": file.sha256} if file.sha256 else {},
        "downloads": -1,
        "filename": file.filename,
        "has_sig": False,
        "packagetype": packagetype,
        "python_version": python_version,
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": uploaded and uploaded[:19],
        "upload_time_iso_8601": uploaded,
        "url": f"{page.files_url}/{file_url(page.name, file)}",
        "yanked": file.yanked is not None,
        "yanked_reason": file.yanked or None,
    }


def _package_type(filename: str) -> tuple[str, str]:
    """Return PyPI's `packagetype` and `python_version` of a file, by its filename."""
    # without parsing the filename of a wheel or an sdist, which nearly all files are
    if filename.endswith(".whl"):
        return "bdist_wheel", filename.split("-")[-3]
    if filename.endswith(".tar.gz"):
        return "sdist", "source"
    distribution = parse_known_filename(filename)
    return distribution.packagetype, distribution.python_version
