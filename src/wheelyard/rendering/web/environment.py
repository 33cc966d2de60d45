"""What all pages have in common: templates, assets, the URL of the index, who looks at them."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from wheelyard.model.access import describe_scope
from wheelyard.model.brand import DEFAULT_BRAND, Brand
from wheelyard.model.project import Status
from wheelyard.rendering.client_settings import ClientSettings
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL
from wheelyard.rendering.web.assets import ICON, LOGO, load_assets

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:{images}; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_INCLUDE: Final = re.compile(r'{% include "(.+?)" %}\n')
"""Its text is put in its place: an include copies all values each time, which takes longer."""


class Viewer(Struct, frozen=True, kw_only=True):
    """
    The person who looks at a page, as far as the page shows it; a part of each page's cache key.

    The defaults are those of an anonymous person on a site that knows no sign-in, as an export is.
    """

    name: str = ""
    """The name to show in the header; empty for an anonymous person."""
    may_sign_in: bool = False
    may_upload: bool = False
    """Whether the viewer may upload to any project, and this server takes uploads."""
    may_manage: bool = False
    """Whether the viewer may manage the project of this page, and this server takes changes."""


ANYONE = Viewer()
"""The viewer of the pages of a static site."""


class PageEnvironment:
    """
    Renders the HTML pages from templates. Every value is escaped.

    All templates are read at once, so that no request fails later; each is compiled when needed.

    Args:
        index_url: The URL of the index in install commands.
        is_certain: Whether `index_url` comes from the settings. If not, a script replaces it by
            the URL that follows from the browser's address bar.
        files_url: The URL of the folder of files, relative to a project's page or absolute.
        brand: How the index presents itself.
        remote_images: Whether a description may show images of other servers.
        serves_public: Whether public packages come from this index, too.
        is_static: Whether the pages are for a static site.
    """

    def __init__(  # noqa: PLR0913 - all that pages depend on
        self,
        index_url: str,
        *,
        is_certain: bool = True,
        files_url: str = FILES_FROM_DETAIL,
        brand: Brand = DEFAULT_BRAND,
        remote_images: bool = False,
        serves_public: bool = False,
        is_static: bool = False,
    ) -> None:
        policy = _POLICY.format(images=" https:" if remote_images else "")
        self.policy = f"{policy}; frame-ancestors 'none'"
        """The header Content-Security-Policy of each page; see `policy` in the templates, too."""
        self.index_url = index_url
        self.client_settings = ClientSettings(
            root=index_url.removesuffix("/simple/"),
            serves_public=serves_public,
            is_static=is_static,
        )
        """What the settings of clients are made from."""
        self.base_url = index_url.removesuffix("simple/") if is_certain else ""
        """The absolute URL of the home page; empty if it is uncertain."""
        self.files_url = files_url
        self.brand = brand
        self.assets = load_assets(brand)
        self._is_certain = is_certain
        self._templates = _templates()
        self._values = {
            "index_url": index_url,
            "asset": lambda name: self.assets[name].path,
            "brand": self.brand,
            "contact_link": contact_link,
            "index_link": self.index_link,
            "pip_option": self._pip_option(),
            "serves_public": serves_public,
            "client_settings": self.client_settings,
            "logo": LOGO if brand.logo else ICON,
            # a site in a bucket cannot send a header; browsers ignore `frame-ancestors` in a page
            "policy": policy,
        }

    def render(self, template: str, viewer: Viewer, root: str, **values: object) -> bytes:
        """Return the bytes of a page; `root` is the URL of the home page, relative to it."""
        page = self._templates.get_template(template)
        text = page.render(**self._values, viewer=viewer, root=root, **values)
        # metadata may have lone surrogates, which cannot be encoded
        return text.encode("utf-8", "replace")

    def index_link(self, root: str) -> Markup:
        """Return the URL of the Simple API as HTML; a script replaces it if it is uncertain."""
        if self._is_certain:
            return Markup.escape(self.index_url)
        return Markup('<span data-root="{}simple/">{}</span>').format(root, self.index_url)

    def _pip_option(self) -> str:
        """Return the option without which pip refuses the index, with a blank; perhaps empty."""
        host = self.client_settings.untrusted_host if self.base_url else ""
        return f"--trusted-host {host} " if host else ""

    def with_links(self, text: str, root: str) -> Markup:
        """Return `text` as HTML; a script replaces each URL of the index if that is uncertain."""
        if self._is_certain:
            return Markup.escape(text)
        url = self.client_settings.upload_url.removesuffix("/legacy/")
        first, *others = re.split(f"({re.escape(url)}/[a-z]+/?)", text)
        made = Markup.escape(first)
        for found, rest in zip(others[::2], others[1::2], strict=True):
            made += Markup('<span data-root="{}{}">{}</span>{}').format(
                root, found.removeprefix(f"{url}/"), found, rest
            )
        return made


def _read_templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of each template below a folder."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from _read_templates(each, f"{prefix}{each.name}/")
        else:
            yield f"{prefix}{each.name}", each.read_text("utf-8")


@cache  # compiling a template takes much longer than rendering it
def _templates() -> Environment:
    """Return all templates, for every `PageEnvironment` of the process."""
    sources = dict(_read_templates(files(__package__).joinpath("templates")))
    whole = {
        name: _INCLUDE.sub(lambda part: sources[part[1]][:-1], text)
        for name, text in sources.items()
    }
    environment = Environment(
        loader=DictLoader(whole),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"web": web_address, "marks": project_marks, "words": describe_scope}
    return environment


def contact_link(contact: str) -> Markup:
    """Return `[web] contact` as HTML, with a link if it is an e-mail address or a URL."""
    is_web = contact.startswith(("https://", "http://"))
    if not is_web and ("@" not in contact or " " in contact):
        return Markup.escape(contact or "the operator of this index")
    return Markup('<a href="{}">{}</a>').format(contact if is_web else f"mailto:{contact}", contact)


def project_marks(project: ProjectFacts) -> Markup:
    """Return marks, each after a blank: the status of a project, and whether it is public."""
    marks = Markup()
    if project.status:
        kind = "danger" if project.status == Status.QUARANTINED else "warning"
        marks += Markup(' <span class="mark {}">{}</span>').format(kind, project.status)
    if project.origin:
        marks += Markup(' <span class="mark">public</span>')
    return marks


def web_address(url: str) -> str:
    """Return `url` if a browser may follow it from a page, else an empty string."""
    return url if url.lower().startswith(("https://", "http://", "mailto:")) else ""
