"""JSON besides the Simple API: `/pypi/<name>/json` and `/search.json`."""

from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec.json import Encoder
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ProjectFacts, ReleaseOf
from wheelyard.rendering.simple_pages import file_url, metadata_mark, timestamp

if TYPE_CHECKING:
    from wheelyard.model.metadata import CoreMetadata


def search_json(projects: Iterable[ProjectFacts]) -> bytes:
    """Return the bytes of `/search.json`: a JSON list, sorted by name, one entry on a line."""
    ordered = map(_entry, sorted(projects, key=attrgetter("name")))
    lines = Encoder().encode_lines(ordered)[:-1].replace(b"\n", b",\n")  # none within an entry
    return b"[\n" + lines + b"\n]\n" if lines else b"[]\n"


def results_json(total: int, best: Iterable[ProjectFacts]) -> bytes:
    """Return the bytes of `/search.json?q=`: how many projects were found, and the best of them."""
    return Encoder().encode({"total": total, "projects": [*map(_entry, best)]}) + b"\n"


def _entry(project: ProjectFacts) -> tuple[str, ...]:
    """Return `["acme-core", "1.4.0", "What it is"]`, with further facts up to the last."""
    entry = (project.name, project.version, project.summary)
    further = (project.keywords, project.status, project.origin)
    count = max((at for at, text in enumerate(further, 1) if text), default=0)
    return (*entry, *further[:count])


def project_json(
    name: NormalizedName,
    release: ReleaseOf[ShownFile],
    core: "CoreMetadata",
    files_url: str,
    releases: Iterable[ReleaseOf[ShownFile]] | None = None,
) -> bytes:
    """
    Return the bytes of `/pypi/<name>/json`: the described release, and the files of `releases`.

    Without `releases`, they are those of `/pypi/<name>/<version>/json`. `files_url` is the URL of
    the folder of files: absolute, or a path from the root of the host.
    """
    body: dict[str, object] = {"info": _info(release, core), "last_serial": 0}
    url = f"{files_url}/"
    if releases is not None:
        body["releases"] = {each.version: _files(name, each, url) for each in releases}
    urls = _files(name, release, url)
    return Encoder().encode(body | {"urls": urls, "vulnerabilities": []})


def _files(
    name: NormalizedName, release: ReleaseOf[ShownFile], url: str
) -> list[dict[str, object]]:
    return [_file(file, f"{url}{file_url(name, file)}") for file in release.files]


def _info(release: ReleaseOf[ShownFile], core: "CoreMetadata") -> dict[str, object]:
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


def _file(file: ShownFile, url: str) -> dict[str, object]:
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
        "url": url,
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
