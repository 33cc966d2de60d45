"""What all pages have in common: templates, what these call, and the URL of the index."""

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
"""Of the files of a release, and of the releases of a project."""
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_INCLUDE: Final = re.compile(r'{% include "(.+?)" %}\n')
"""Its text is put in its place: an include copies all values each time, which takes longer."""


class PageEnvironment:
    """
    Renders the HTML pages from templates. Every value is escaped.

    All templates are read at once, so that no request fails later. Each is compiled when needed.

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
        takes_uploads: Whether files can be published to it.
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
        self.policy = f"{_POLICY}; frame-ancestors 'none'"
        """The header Content-Security-Policy of each page, which templates have, too."""
        self.index_url = index_url
        self.client_settings = ClientSettings(
            root=index_url.removesuffix("/simple/"),
            index=index_name,
            serves_public=serves_public,
            takes_uploads=takes_uploads,
            is_static=is_static,
        )
        """What the settings of clients are made from."""
        self.base_url = index_url.removesuffix("simple/") if is_certain else ""
        """The absolute URL of the home page, or an empty text if it is uncertain."""
        self.files_url = files_url
        self.rows_per_page = maxsize if is_static else ROWS_PER_PAGE
        """A static site has nobody who would filter files or releases over several pages."""
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
            # an earlier day is looked at, and seldom installed from
            "has_install_choice": not is_dated_view(index_name.rpartition("/")[2]),
            "documentation": f"{DOCUMENTATION}/README.md",
            "client_settings": self.client_settings,
            "clients": INSTALL_CHOICES,
            "index_path": index_path,
            "server_root": self.server_root,
            "logo": LOGO if brand.logo else ICON,
            "generator": f"wheelyard {version('wheelyard')}",
            # a site in a bucket cannot send a header; browsers ignore `frame-ancestors` in a page
            "policy": _POLICY,
        }
        self._values |= _names_of(index_name)

    def render(self, template: str, viewer: Viewer, root: str, **values: object) -> bytes:
        """Return the bytes of a page, from which `root` is the relative URL of the home page."""
        page = self._templates.get_template(template)
        text = page.render(**self._values, viewer=viewer, root=root, **values)
        # metadata may have lone surrogates, which cannot be encoded
        return text.encode("utf-8", "replace")

    def server_root(self, root: str) -> str:
        """Return the relative URL of the home page of the whole server, by that of the index."""
        if not self._index_name:
            return root
        depth = len(self._index_name.split("/"))
        return root + "../" * depth

    def index_link(self, root: str) -> Markup:
        """
        Return the URL of the Simple API as HTML, which a script replaces if it is uncertain.

        Its host is never broken into two lines where a line has room for it.
        """
        if self._is_certain:
            host, path = _split_host(self.index_url)
            return Markup('<span class="host">{}</span>{}').format(host, path)
        return Markup('<span data-root="{}simple/">{}</span>').format(root, self.index_url)

    def login_command(self, root: str, index: str) -> Markup:
        """
        Return the command that gets a token for an index of this server, as HTML.

        A script replaces the URL in it if that is uncertain.
        """
        option = "" if index == MAIN else f" --index {index}"
        url = self.client_settings.root.removesuffix(self._index_name).rstrip("/")
        link = Markup.escape(f"{url}/")
        if not self._is_certain:
            link = Markup('<span data-root="{}">{}</span>').format(self.server_root(root), link)
        return Markup("wheelyard login {}{}").format(link, option)

    @property
    def host(self) -> Markup:
        """The host of the index without its port, which a script replaces if it is uncertain."""
        host = Markup.escape(urlsplit(self.index_url).hostname)
        if self._is_certain:
            return host
        return Markup("<span data-host>{}</span>").format(host)

    def _pip_option(self) -> str:
        """Return the option without which pip refuses the index, with a blank, or an empty text."""
        # an uncertain URL says nothing of TLS: a proxy in front of the server may add it
        host = self.client_settings.untrusted_host if self.base_url else ""
        return f"--trusted-host {host} " if host else ""

    def with_links(self, text: str, root: str) -> Markup:
        """Return `text` as HTML, where a script replaces URLs of the index that are uncertain."""
        if self._is_certain:
            return Markup.escape(text)
        url = self.client_settings.upload_url.removesuffix("/legacy/")
        scheme, _, host = url.partition("://")

        # a URL of the index, perhaps with a credential, as far as its last folder
        links = re.compile(
            f"{re.escape(scheme)}://(?P<login>[^/ ]*@)?{re.escape(host)}/(?P<path>[a-z]+/?)"
        )
        html = Markup()
        end = 0
        for link in links.finditer(text):
            login = Markup()
            if link["login"]:
                login = Markup(' data-login="{}"').format(link["login"])
            html += text[end : link.start()]
            html += Markup('<span data-root="{}{}"{}>{}</span>').format(
                root, link["path"], login, link[0]
            )
            end = link.end()
        return html + text[end:]


def _names_of(index_name: str) -> dict[str, object]:
    """Return what pages call an index whose path ends with `index_name`, and find its mark by."""
    first = index_name.partition("/")[0]
    named_index = "" if is_dated_view(first) else first
    title = index_name
    if not named_index:
        # the path of main is empty, and that of one of its days is the day alone
        title = f"{MAIN}/{index_name}".rstrip("/")
    return {
        "index_name": index_name,
        "index_title": title,
        # for links to the page of tokens: a view of a day has the rights of its index
        "named_index": named_index,
        "own_mark": partial(mark_of, named_index or MAIN),
    }


def _split_host(url: str) -> tuple[str, str]:
    """Return the scheme and the host of a URL, and the rest."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host}", f"{slash}{path}"


def _read_templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of each template below a folder."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read_templates(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_text("utf-8")


@cache  # compiling a template takes much longer than rendering it
def _templates() -> Environment:
    """Return all templates, for every `PageEnvironment` of the process."""
    sources = dict(_read_templates(files(__package__).joinpath("templates")))
    templates: dict[str, str] = {}
    for name, text in sources.items():
        # without the line feed at the end, as Jinja drops that of an include
        templates[name] = _INCLUDE.sub(lambda include: sources[include[1]][:-1], text)
    environment = Environment(
        loader=DictLoader(templates),
        autoescape=True,
        # a misspelt value is an error in tests, and no gap in a page
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

    If it is empty, that is the operator of the index in words.
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
    Return marks, each after a blank: the state of a project, and whether it is public.

    `tells_private` is whether a private one is marked, too, as where there are both.
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
