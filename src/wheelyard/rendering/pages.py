"""The pages for people: the list of projects, one project, and a refusal."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined
from packaging.utils import NormalizedName

from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project, Status
from wheelyard.rendering.releases import Release
from wheelyard.rendering.simple import file_url

KIB = 1024
TEMPLATES = ("layout.html", "index.html", "project.html", "refusal.html", "style.css")
UNITS = ("bytes", "KiB", "MiB", "GiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPage:
    """What a project's page is made of."""

    project: Project
    releases: Sequence[Release]
    """Newest first."""
    described: Release | None
    """The release that speaks for the project, if there is any."""
    core: CoreMetadata | None
    """Of that release."""


class PageTemplates:
    """
    Templates, loaded once; everything put into them is escaped.

    Args:
        index_url: The URL that the install commands name.
    """

    def __init__(self, index_url: str) -> None:
        self._index_url = index_url
        self._environment = Environment(
            loader=PackageLoader("wheelyard.rendering"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters["size"] = readable_size
        self._environment.filters["file_url"] = _file_url
        self._environment.filters["web"] = _web_address
        for name in TEMPLATES:
            self._environment.get_template(name)  # read now, so that no page fails on it later
        style = self._environment.get_template("style.css").render()
        digest = b64encode(sha256(style.encode()).digest()).decode()
        self.style_digest = f"sha256-{digest}"
        """Of the style sheet inside each page, as a content security policy names it."""

    def project_list(self, names: Sequence[NormalizedName]) -> bytes:
        """Return the page at `/`."""
        return self._render("index.html", names=names)

    def project(self, page: ProjectPage) -> bytes:
        """Return the page at `/project/<name>/`."""
        return self._render("project.html", page=page, active=Status.ACTIVE)

    def refusal(self, title: str, message: str) -> bytes:
        """Return the page that a browser gets instead of what it asked for."""
        return self._render("refusal.html", title=title, message=message)

    def _render(self, template: str, **values: object) -> bytes:
        page = self._environment.get_template(template)
        # what a package says of itself may hold lone surrogates, which no encoding has
        text = page.render(index_url=self._index_url, **values)
        return text.encode("utf-8", "replace")


def readable_size(size: int) -> str:
    """Return a size in bytes as people read it."""
    amount = float(size)
    for unit in UNITS:
        if amount < KIB or unit == UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == UNITS[0] else f"{amount:.1f} {unit}"
        amount /= KIB
    raise AssertionError(size)


def _file_url(file: File, name: NormalizedName) -> str:
    return file_url(name, file)


def _web_address(url: str) -> str:
    """Return `url` if a link may lead there, else an empty string."""
    return url if url.lower().startswith(("https://", "http://", "mailto:")) else ""
