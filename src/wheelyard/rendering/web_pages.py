"""
The pages for people: the list of projects, one project, and a refusal.

Rows of files are put together here, which takes a fraction of the time that a template does.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from packaging.utils import NormalizedName

from wheelyard.model.project import File, Status
from wheelyard.rendering.releases import ProjectPage, Release
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL, file_url

PAGES = ("layout.html", "index.html", "project.html", "refusal.html")
UNITS = ("KiB", "MiB", "GiB")
KIB = 1024

_HEAD = "<thead><tr><th>File</th><th>Size</th><th>Uploaded</th></tr></thead>\n<tbody>\n"


class PageTemplates:
    """
    Templates, loaded once; everything put into them is escaped.

    Args:
        index_url: The URL that the install commands name.
        is_certain: Whether it is set, and not just guessed.
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
        self.policy = (
            f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        """The content security policy of each page."""
        # read now, so that no page fails on it later
        self._pages = {name: self._environment.get_template(name) for name in PAGES}

    def project_list(self, names: Sequence[NormalizedName]) -> bytes:
        """Return the page at `/`."""
        return self._render("index.html", names=names)

    def project(self, page: ProjectPage) -> bytes:
        """Return the page at `/project/<name>/`."""
        return self._render("project.html", page=page, active=Status.ACTIVE)

    def refusal(self, title: str, message: str) -> bytes:
        """Return the page of a refusal."""
        return self._render("refusal.html", title=title, message=message)

    def _text(self, template: str) -> Markup:
        return Markup(self._environment.get_template(template).render())  # noqa: S704 - it is ours

    def _index_link(self, root: str) -> Markup:
        # a guess is for the script on the page to mend
        if self._is_certain:
            return Markup.escape(self._index_url)
        return Markup('<span data-root="{}simple/">{}</span>').format(root, self._index_url)

    def _sections(self, page: ProjectPage) -> Markup:
        name = page.project.name

        def url_of(file: File) -> str:
            return f"{self._files_url}/{file_url(name, file)}"

        sections = [_release_section(each, url_of) for each in page.releases]
        return Markup("".join(sections))  # noqa: S704 - escaped there

    def _render(self, template: str, **values: object) -> bytes:
        # metadata may hold lone surrogates, which no encoding has
        text = self._pages[template].render(index_url=self._index_url, **values)
        return text.encode("utf-8", "replace")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _web_address(url: str) -> str:
    return url if url.lower().startswith(("https://", "http://", "mailto:")) else ""


def _release_section(release: Release, url_of: Callable[[File], str]) -> str:
    version, is_yanked = escape(release.version), release.is_yanked
    mark = _yanked(release.yanked_reason) if is_yanked else ""
    rows = [_file_row(file, url_of(file), tells_yank=not is_yanked) for file in release.files]
    return (
        f'<h3 id="v{version}">{version}\n{mark}</h3>\n<table>\n{_HEAD}'
        f"{''.join(rows)}</tbody>\n</table>\n"
    )


def _file_row(file: File, url: str, *, tells_yank: bool) -> str:
    moment, marks = file.uploaded_at, ""
    if file.yanked is not None and tells_yank:
        marks += f"{_yanked(file.yanked)}\n"
    if file.waived_rules:
        rules = escape(", ".join(file.waived_rules))
        marks += f'<span class="mark">imported as it is: {rules}</span>\n'
    return (
        f'<tr>\n<td class="name"><a href="{escape(url)}">{escape(file.filename)}</a>\n{marks}'
        f'<div class="digest">sha256 {file.sha256}</div></td>\n'
        f"<td>{readable_size(file.size)}</td>\n"
        f'<td><time datetime="{moment.isoformat()}">{moment.isoformat(" ", "minutes")[:16]} UTC'
        f"</time><br>by {escape(file.uploaded_by)}</td>\n</tr>\n"
    )


def _yanked(reason: str) -> str:
    why = f": <bdi>{escape(reason)}</bdi>" if reason else ""
    return f'<span class="mark">yanked{why}</span>'


def readable_size(size: int) -> str:
    """Return a size in bytes as people read it."""
    if size < KIB:
        return f"{size} bytes"
    amount, units = size / KIB, iter(UNITS)
    unit = next(units)
    while amount >= KIB and unit != UNITS[-1]:
        amount, unit = amount / KIB, next(units)
    return f"{amount:.1f} {unit}"
