"""
HTML pages of the web UI: the project list, a project, settings for clients, and an error.

A project's page is built in Python, as that is much faster than a template: an export makes
thousands.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from markupsafe import escape as escape_text
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
        self._environment.globals["index_link"] = self._index_link
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
        main = [
            _heading(project, described, core),
            *([self._install_commands(project.name)] if described else []),
            _description(described, core) if described else _no_files(project),
            "<h2>Releases</h2>\n" if releases else "",
            *(_release_section(each, project.name, self._files_url) for each in releases),
        ]
        before_name, before_main, after = self._project_frame
        text = f"{before_name}{project.name}{before_main}{''.join(main)}{after}"
        return text.encode("utf-8", "replace")

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

    @cached_property
    def _project_frame(self) -> list[str]:
        """What surrounds the name of a project, and what its page shows: three texts."""
        page = self._environment.get_template("project.html")
        return page.render(name="\0", main="\0").split("\0")

    def _install_commands(self, name: NormalizedName) -> str:
        before, *rest = self._install_frame
        return before + "".join(f"{name}{each}" for each in rest)

    @cached_property
    def _install_frame(self) -> list[str]:
        page = self._environment.get_template("install.html")
        return page.render(name="\0", root="../../").split("\0")

    def _render(self, template: str, **values: object) -> bytes:
        # metadata may have lone surrogates, which cannot be encoded
        page = self._environment.get_template(template)
        text = page.render(index_url=self._index_url, **values)
        return text.encode("utf-8", "replace")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _heading(project: Project, described: Release | None, core: CoreMetadata | None) -> str:
    status, text = project.status, f"<h1>{project.name}"
    text += f" {described.version}</h1>\n" if described else "</h1>\n"
    if core and core.summary:
        text += f'<p class="summary"><bdi>{escape_text(core.summary[:512])}</bdi></p>\n'
    if status is not Status.ACTIVE:
        reason = f": <bdi>{escape_text(project.reason)}</bdi>" if project.reason else "."
        text += f'<p class="notice">This project is {status.value}{reason}</p>\n'
    return text


def _no_files(project: Project) -> str:
    suffix = ": all of them were deleted" if project.deleted_filenames else ""
    return f"<p>There are no files to install{suffix}.</p>\n"


def _description(described: Release, core: CoreMetadata | None) -> str:
    """Return the list of terms that shows the core metadata of a release; empty without any."""
    if core is None:
        return ""
    text = ""
    if python := described.metadata_file.requires_python:
        text += f"<dt>Requires Python</dt><dd>{escape_text(python)}</dd>"
    if licence := core.license_expression or core.license:
        text += f"<dt>License</dt><dd><bdi>{escape_text(licence[:200])}</bdi></dd>"
    if author := core.author or core.author_email:
        text += f"<dt>Author</dt><dd><bdi>{escape_text(author[:200])}</bdi></dd>"
    for number, requirement in enumerate(core.requires_dist):
        term = "" if number else "Requires"
        text += f"<dt>{term}</dt><dd><code>{escape_text(requirement)}</code></dd>\n"
    for label, url in core.project_urls:
        text += f"<dt>{escape_text(label[:32])}</dt><dd>{_link(escape_text(url))}</dd>\n"
    return f"<dl>\n{text}</dl>\n"


def _link(url: str) -> str:
    """Return an escaped URL as a link if it is a web address, else as it is."""
    if not url.lower().startswith(("https://", "http://", "mailto:")):
        return url
    return f'<a href="{url}" rel="nofollow noopener">{url}</a>'


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
        f'<td><time datetime="{uploaded_at[:-1].removesuffix(".000000")}+00:00">'
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
