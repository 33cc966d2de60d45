"""The pages for people: the list of projects, one project, and a refusal."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from packaging.utils import NormalizedName

from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project, Status
from wheelyard.rendering.releases import Release
from wheelyard.rendering.rows import release_section
from wheelyard.rendering.simple import FILES_FROM_DETAIL, file_url

PAGES = ("layout.html", "index.html", "project.html", "refusal.html")


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
        is_certain: Whether that is its name for everybody, and not just what can be guessed.
        files_url: Where the files are, seen from a project's page.
    """

    def __init__(
        self, index_url: str, *, is_certain: bool = True, files_url: str = FILES_FROM_DETAIL
    ) -> None:
        self._index_url = index_url
        self._is_certain = is_certain
        self._files_url = files_url
        self._environment = Environment(
            loader=PackageLoader("wheelyard.rendering"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals["sections"] = self._sections
        self._environment.globals["index_link"] = self._index_link
        self._environment.filters["web"] = _web_address
        style, script = self._text("style.css"), self._text("search.js")
        self._environment.globals |= {"style": style, "script": script}
        self.style_digest = _digest(style)
        """Of the style sheet inside each page, as a content security policy names it."""
        self.script_digest = _digest(script)
        """Of the script inside each page, likewise."""
        # read now, so that no page fails on it later
        self._pages = {name: self._environment.get_template(name) for name in PAGES}

    def project_list(self, names: Sequence[NormalizedName]) -> bytes:
        """Return the page at `/`."""
        return self._render("index.html", names=names)

    def project(self, page: ProjectPage) -> bytes:
        """Return the page at `/project/<name>/`."""
        return self._render("project.html", page=page, active=Status.ACTIVE)

    def refusal(self, title: str, message: str) -> bytes:
        """Return the page that a browser gets instead of what it asked for."""
        return self._render("refusal.html", title=title, message=message)

    def _text(self, template: str) -> Markup:
        return Markup(self._environment.get_template(template).render())  # noqa: S704 - it is ours

    def _index_link(self, root: str) -> Markup:
        """Return the index URL; on a page that was not told of one, for the script to mend."""
        if self._is_certain:
            return escape(self._index_url)
        return Markup('<span data-root="{}simple/">{}</span>').format(root, self._index_url)

    def _sections(self, page: ProjectPage) -> Markup:
        name = page.project.name

        def url_of(file: File) -> str:
            return f"{self._files_url}/{file_url(name, file)}"

        sections = [release_section(each, url_of) for each in page.releases]
        return Markup("".join(sections))  # noqa: S704 - escaped there

    def _render(self, template: str, **values: object) -> bytes:
        # what a package says of itself may hold lone surrogates, which no encoding has
        text = self._pages[template].render(index_url=self._index_url, **values)
        return text.encode("utf-8", "replace")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _web_address(url: str) -> str:
    """Return `url` if a link may lead there, else an empty string."""
    return url if url.lower().startswith(("https://", "http://", "mailto:")) else ""
