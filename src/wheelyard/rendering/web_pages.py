"""
HTML pages of the web UI: the project list, a project, settings for clients, and an error.

The tables of files are built in Python, as that is much faster than a template.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from packaging.utils import NormalizedName

from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project, Status
from wheelyard.rendering.client_settings import CLIENTS, INSTALLERS, ClientSettings
from wheelyard.rendering.releases import Release
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL, file_url, timestamp

TEMPLATES = ("layout.html", "index.html", "project.html", "setup.html", "error.html")
TEXTS = ("style.css", "search.js")

_HEAD = "<thead><tr><th>File</th><th>Size</th><th>Uploaded</th></tr></thead>\n<tbody>\n"


class PageTemplates:
    """
    Renders the HTML pages from templates, each loaded once. Every value is escaped.

    Args:
        index_url: The URL of the index in install commands.
        is_certain: Whether `index_url` comes from the settings. If not, a script replaces it by
            the URL that follows from the browser's address bar.
        files_url: The URL of the folder of files, relative to a project's page or absolute.
        is_lazy: Whether a template is loaded at its first use. If not, all are loaded at once, so
            that no request fails later.
    """

    def __init__(
        self,
        index_url: str,
        *,
        is_certain: bool = True,
        files_url: str = FILES_FROM_DETAIL,
        is_lazy: bool = False,
    ) -> None:
        self._index_url = index_url
        self._is_certain = is_certain
        self._files_url = escape(files_url)
        loader = PackageLoader("wheelyard.rendering")
        self._environment = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals["sections"] = self._sections
        self._environment.globals["index_link"] = self._index_link
        self._environment.filters["web"] = _web_address
        sources = (loader.get_source(self._environment, name)[0] for name in TEXTS)
        style, script = (Markup(each.removesuffix("\n")) for each in sources)  # noqa: S704 - files of this package
        self._environment.globals |= {"style": style, "script": script}
        self.policy = (
            f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        """The content security policy of each page."""
        for name in () if is_lazy else TEMPLATES:
            self._environment.get_template(name)  # which keeps it

    def project_list(self, names: Sequence[NormalizedName]) -> bytes:
        """Return the bytes of the HTML page with the list of projects."""
        return self._render("index.html", names=names)

    def project(
        self,
        project: Project,
        releases: Sequence[Release],
        described: Release | None,
        core: CoreMetadata | None,
    ) -> bytes:
        """Return the bytes of a project's HTML page; `core` is the metadata of `described`."""
        values = {"project": project, "releases": releases, "described": described, "core": core}
        return self._render("project.html", active=Status.ACTIVE, **values)

    def setup(self, *, can_publish: bool) -> bytes:
        """Return the bytes of the HTML page with the settings of each client for this index."""
        settings = ClientSettings(root=self._index_url.removesuffix("/simple/"))
        root = settings.upload_url.removesuffix("/legacy/")
        shown = CLIENTS if can_publish else INSTALLERS
        texts = {client: self._with_links(make(settings), root) for client, make in shown.items()}
        return self._render("setup.html", texts=texts)

    def error_page(self, title: str, message: str) -> bytes:
        """Return the bytes of the HTML page of an error."""
        return self._render("error.html", title=title, message=message)

    def _index_link(self, root: str) -> Markup:
        if self._is_certain:
            return Markup.escape(self._index_url)
        return Markup('<span data-root="{}simple/">{}</span>').format(root, self._index_url)

    def _with_links(self, text: str, root: str) -> Markup:
        """Return `text`, escaped; a script replaces each URL below `root` if that is uncertain."""
        if self._is_certain:
            return Markup.escape(text)
        first, *others = re.split(f"({re.escape(root)}/[a-z]+/?)", text)
        made = Markup.escape(first)
        for url, rest in zip(others[::2], others[1::2], strict=True):
            made += Markup('<span data-root="..{}">{}</span>{}').format(
                url.removeprefix(root), url, rest
            )
        return made

    def _sections(self, name: NormalizedName, releases: Sequence[Release]) -> Markup:
        sections = [_release_section(each, name, self._files_url) for each in releases]
        return Markup("".join(sections))  # noqa: S704 - they are escaped

    def _render(self, template: str, **values: object) -> bytes:
        # metadata may have lone surrogates, which cannot be encoded
        page = self._environment.get_template(template)
        text = page.render(index_url=self._index_url, **values)
        return text.encode("utf-8", "replace")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _web_address(url: str) -> str:
    return url if url.lower().startswith(("https://", "http://", "mailto:")) else ""


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
