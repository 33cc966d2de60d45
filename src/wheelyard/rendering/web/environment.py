"""What all pages have in common: the templates, their functions, and the URL of the index."""

import re
from collections.abc import Iterator
from functools import cache, partial
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from sys import maxsize
from typing import Final
from urllib.parse import urlsplit

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from wheelyard.errors import DOCUMENTATION
from wheelyard.model import access
from wheelyard.model.brand import DEFAULT_BRAND, Brand
from wheelyard.model.decoding import counted, readable_size
from wheelyard.model.index_name import MAIN, index_path, is_dated_view
from wheelyard.model.project import Status
from wheelyard.model.quotas import NEARLY_FULL
from wheelyard.model.stored_indexes import INDEX_KIND
from wheelyard.rendering.advice import caution_on_page
from wheelyard.rendering.client_settings import INSTALL_CHOICES, ClientSettings
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL
from wheelyard.rendering.web.assets import ICON, LOGO, load_assets
from wheelyard.rendering.web.index_marks import mark_of
from wheelyard.rendering.web.viewer import Viewer

ROWS_PER_PAGE: Final = 100
"""Rows on a page of the files of a release, or of the releases of a project."""
_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_INCLUDE: Final = re.compile(r'{% include "(.+?)" %}\n')
"""
An include in a template, which is replaced by the included text when templates are read.

An include by Jinja copies all values each time, which takes longer.
"""


class PageEnvironment:
    """
    Renders the HTML pages from templates. Every value is escaped.

    All templates are read at once, so that no request fails later, and compiled when needed.

    Args:
        index_url: The URL of the index in install commands.
        is_certain: Whether `index_url` comes from the settings. If not, a script replaces it by
            the URL that follows from the browser's address bar.
        files_url: The URL of the folder of files, relative to a project's page or absolute.
        brand: How the index presents itself.
        serves_public: Whether public packages come from this index, too.
        is_static: Whether the pages are for a static site.
        counts_downloads: Whether the downloads of private files are counted, and shown.
        index_name: The name of the index, which is the end of its path, or empty for main.
        takes_uploads: Whether files can be published to the index.
    """

    def __init__(  # noqa: PLR0913 - how pages differ
        self,
        index_url: str,
        *,
        is_certain: bool = True,
        files_url: str = FILES_FROM_DETAIL,
        brand: Brand = DEFAULT_BRAND,
        serves_public: bool = False,
        is_static: bool = False,
        counts_downloads: bool = False,
        index_name: str = "",
        takes_uploads: bool = True,
    ) -> None:
        self.policy = f"{_SECURITY_POLICY}; frame-ancestors 'none'"
        """The header Content-Security-Policy of each page."""
        self.index_url = index_url
        self.client_settings = ClientSettings(
            root=index_url.removesuffix("/simple/"),
            index=index_name,
            serves_public=serves_public,
            takes_uploads=takes_uploads,
            is_static=is_static,
        )
        """The facts of the index from which the settings of clients are made."""
        self.base_url = index_url.removesuffix("simple/") if is_certain else ""
        """The absolute URL of the home page, or an empty text if it is uncertain."""
        self.files_url = files_url
        self.rows_per_page = maxsize if is_static else ROWS_PER_PAGE
        """The rows on a page: all of them on a static site, where no server filters several."""
        self.brand = brand
        self.counts_downloads = counts_downloads
        self.assets = load_assets(brand)
        self._is_certain = is_certain
        self._index_name = index_name
        self._templates = _templates()
        asset_paths = {name: asset.path for name, asset in self.assets.items()}
        self._values = {
            "index_url": index_url,
            "asset": asset_paths.__getitem__,
            "brand": self.brand,
            "contact_link": contact_link,
            "index_link": self.index_link,
            "pip_option": self._pip_option(),
            "serves_public": serves_public,
            # people look at the index of an earlier day, and seldom install from it
            "has_install_choice": not is_dated_view(index_name.rpartition("/")[2]),
            "documentation": f"{DOCUMENTATION}/README.md",
            "client_settings": self.client_settings,
            "clients": INSTALL_CHOICES,
            "index_path": index_path,
            "server_root": self.server_root,
            "logo": LOGO if brand.logo else ICON,
            "generator": f"wheelyard {version('wheelyard')}",
            # a site in a bucket cannot send a header; browsers ignore `frame-ancestors` in a page
            "policy": _SECURITY_POLICY,
        }
        self._values |= _index_names(index_name)

    def render(self, template: str, viewer: Viewer, root: str, **values: object) -> bytes:
        """Return the bytes of a page, from which `root` is the relative URL of the home page."""
        page = self._templates.get_template(template)
        text = page.render(**self._values, viewer=viewer, root=root, **values)
        # metadata may have lone surrogates, which cannot be encoded
        return text.encode("utf-8", "replace")

    def server_root(self, root: str) -> str:
        """
        Return the relative URL of the home page of the whole server.

        `root` is the relative URL of the home page of the index.
        """
        if not self._index_name:
            return root
        depth = len(self._index_name.split("/"))
        return root + "../" * depth

    def index_link(self, root: str) -> Markup:
        """
        Return the URL of the Simple API as HTML. A script replaces the URL if it is uncertain.

        The host is broken into two lines only where a line has no room for it.
        """
        if self._is_certain:
            host, path = _split_host(self.index_url)
            return Markup('<span class="host">{}</span>{}').format(host, path)
        return Markup('<span data-root="{}simple/">{}</span>').format(root, self.index_url)

    def login_command(self, root: str, index: str) -> Markup:
        """
        Return the command that gets a token for an index of this server, as HTML.

        A script replaces the URL in the command if the URL is uncertain.
        """
        option = "" if index == MAIN else f" --index {index}"
        server_url = self.client_settings.root.removesuffix(self._index_name).rstrip("/")
        url = Markup.escape(f"{server_url}/")
        if not self._is_certain:
            url = Markup('<span data-root="{}">{}</span>').format(self.server_root(root), url)
        return Markup("wheelyard login {}{}").format(url, option)

    @property
    def host(self) -> Markup:
        """The host of the index without a port. A script replaces the host if it is uncertain."""
        host = Markup.escape(urlsplit(self.index_url).hostname)
        if self._is_certain:
            return host
        return Markup("<span data-host>{}</span>").format(host)

    def _pip_option(self) -> str:
        """
        Return the option without which pip refuses the index, and a blank.

        Empty if pip needs no such option.
        """
        # an uncertain URL says nothing of TLS: a proxy in front of the server may add it
        host = self.client_settings.untrusted_host if self.base_url else ""
        return f"--trusted-host {host} " if host else ""

    def with_links(self, text: str, root: str) -> Markup:
        """
        Return a text as HTML, in which a script can replace the URLs of the index.

        If the URL of the index is certain, the text is only escaped.
        """
        if self._is_certain:
            return Markup.escape(text)
        url = self.client_settings.upload_url.removesuffix("/legacy/")
        scheme, _, host = url.partition("://")

        # a URL of the index, perhaps with a credential, as far as its last folder
        url_pattern = re.compile(
            f"{re.escape(scheme)}://(?P<login>[^/ ]*@)?{re.escape(host)}/(?P<path>[a-z]+/?)"
        )
        html = Markup()
        end = 0
        for match in url_pattern.finditer(text):
            login = Markup()
            if match["login"]:
                login = Markup(' data-login="{}"').format(match["login"])
            html += text[end : match.start()]
            html += Markup('<span data-root="{}{}"{}>{}</span>').format(
                root, match["path"], login, match[0]
            )
            end = match.end()
        return html + text[end:]


def _index_names(index_name: str) -> dict[str, object]:
    """
    Return the values by which templates name an index, and a function that finds its mark.

    The path of the index ends with `index_name`: the name of an index, a day, or both.
    """
    first_segment, _, _ = index_name.partition("/")
    named_index = "" if is_dated_view(first_segment) else first_segment
    title = index_name
    if not named_index:
        # the path of main is empty, and the path of a day of main is the day alone
        title = f"{MAIN}/{index_name}".rstrip("/")
    return {
        "index_name": index_name,
        "index_title": title,
        # for links to the page of tokens: a view of a day has the rights of the index itself
        "named_index": named_index,
        "own_mark": partial(mark_of, named_index or MAIN),
    }


def _split_host(url: str) -> tuple[str, str]:
    """Return the scheme and the host of a URL, and the path behind them."""
    scheme, separator, host_and_path = url.partition("://")
    host, slash, path = host_and_path.partition("/")
    return f"{scheme}{separator}{host}", f"{slash}{path}"


def _read_templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each template in a folder and the folders below it."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read_templates(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_text("utf-8")


@cache  # compiling a template takes much longer than rendering it
def _templates() -> Environment:
    """Return the Jinja environment with all templates, which all pages of the process share."""
    folder = files(__package__).joinpath("templates")
    sources = dict(_read_templates(folder))

    def included_text(include: re.Match[str]) -> str:
        # Jinja drops the line feed at the end of an included template, too
        return sources[include[1]].removesuffix("\n")

    templates = {name: _INCLUDE.sub(included_text, text) for name, text in sources.items()}
    environment = Environment(
        loader=DictLoader(templates),
        autoescape=True,
        # a misspelt name is an error that tests find, and no gap in a page
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # templates are a part of the program, so nobody changes them while it runs
        auto_reload=False,
    )
    environment.globals["nearly_full"] = NEARLY_FULL
    environment.filters |= {
        "counted": counted,
        "marks": project_marks,
        "origin_mark": origin_mark,
        "on_page": caution_on_page,
        "index_in_words": INDEX_KIND.describe_keys,
        "indexes_in_words": access.describe_index_text,
        "principal": access.describe_principal,
        "size": readable_size,
        "web": web_address,
        "words": access.describe_scope,
    }
    return environment


def contact_link(contact: str) -> Markup:
    """
    Return `[web] contact` as HTML, with a link if it is an e-mail address or a URL.

    If it is empty, return words for the operator of the index.
    """
    if contact.startswith(("https://", "http://")):
        url = contact
    elif "@" in contact and " " not in contact:
        url = f"mailto:{contact}"
    else:
        return Markup.escape(contact or "the operator of this index")
    return Markup('<a href="{}">{}</a>').format(url, contact)


def project_marks(project: ProjectFacts, *, tells_private: bool = False) -> Markup:
    """
    Return the marks of a project, each after a blank: its state, and whether it is public.

    With `tells_private`, a private project has a mark, too, as lists with both kinds need it.
    """
    marks = Markup()
    if project.state:
        kind = "danger" if project.status == Status.QUARANTINED else "warning"
        marks += Markup(' <span class="mark {}">{}</span>').format(kind, project.state)
    if project.origin or tells_private:
        marks += origin_mark(bool(project.origin))
    return marks


def origin_mark(is_public: bool) -> Markup:  # noqa: FBT001 - of a template
    """Return the mark of a public project or of a private one, after a blank."""
    if is_public:
        return Markup(' <span class="mark">public</span>')
    return Markup(' <span class="mark lock">private</span>')


def web_address(url: str) -> str:
    """Return `url` if a browser may follow it from a page, else an empty string."""
    # metadata is a stranger's: a link to `javascript:` would run as a script of this page
    if url.lower().startswith(("https://", "http://", "mailto:")):
        return url
    return ""
