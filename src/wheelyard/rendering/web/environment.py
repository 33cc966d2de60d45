"""What all pages have in common: templates, assets, the URL of the index, who looks at them."""

import re
from collections.abc import Iterator
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from sys import maxsize
from typing import Final
from urllib.parse import urlsplit

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from wheelyard.errors import DOCUMENTATION
from wheelyard.model.access import (
    describe_index_text,
    describe_principal,
    describe_scope,
)
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
from wheelyard.rendering.web.index_marks import IndexMark, ProjectPlace, mark_of

LIGHT_SURFACES: Final = ("#ffffff", "#f5f7f9")
"""What is behind text in the light scheme: `--background` and `--surface` of the style sheet."""
DARK_SURFACES: Final = ("#14181d", "#1d232a")
MIN_CONTRAST: Final = 5.2
"""Above the 4.5 of WCAG 2.2 (level AA), as some surfaces are tinted with the accent colour."""
STEPS: Final = 50

_BLACK = (0.0, 0.0, 0.0)
_WHITE = (1.0, 1.0, 1.0)
_Colour = tuple[float, float, float]

ROWS_PER_PAGE: Final = 100
"""Of the files of a release, and of the releases of a project."""
ASSETS_PATH: Final = "-/assets"
"""The folder of the assets, relative to the root of the index, and no project has the name `-`."""
STYLE: Final = "style.css"
ICON: Final = "favicon.svg"
LOGO: Final = "logo"
_MEDIA_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "gif": "image/gif",
    "ico": "image/x-icon",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}
_DIGEST_LENGTH: Final = 16
_COMMENT: Final = re.compile(rb"\s*/\*.*?\*/", re.DOTALL)
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_INCLUDE: Final = re.compile(r'{% include "(.+?)" %}\n')
"""Its text is put in its place: an include copies all values each time, which takes longer."""


def accent_css(accent: str) -> str:
    """Return the rules that make `accent`, as `#1b62b5`, the accent colour of all pages."""
    light = readable_on(LIGHT_SURFACES, accent, _BLACK)
    dark = readable_on(DARK_SURFACES, accent, _WHITE)
    return (
        f"\n:root {{ {_properties(light)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_properties(dark)} }} }}\n"
    )


def readable_on(surfaces: tuple[str, ...], accent: str, end: _Colour) -> str:
    """Return the colour nearest to `accent`, on its way to `end`, that is readable everywhere."""
    backgrounds = [parse_colour(colour) for colour in surfaces]
    start = parse_colour(accent)
    for step in range(STEPS + 1):
        mixed = _mix(start, end, step / STEPS)
        text = _format(mixed)
        # of the colour as it is written, which is rounded
        if all(contrast(parse_colour(text), colour) >= MIN_CONTRAST for colour in backgrounds):
            return text
    return _format(end)


def contrast(one: _Colour, other: _Colour) -> float:
    """Return the contrast ratio of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _properties(accent: str) -> str:
    colour = parse_colour(accent)
    on_accent = "#ffffff" if contrast(colour, _WHITE) >= contrast(colour, _BLACK) else "#000000"
    return f"--accent: {accent}; --on-accent: {on_accent};"


def parse_colour(text: str) -> _Colour:
    """Return a colour as `#1b62b5` as its parts, from 0 to 1."""
    red, green, blue = (int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _format(colour: _Colour) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in colour)


def _mix(start: _Colour, end: _Colour, share: float) -> _Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(start, end, strict=True))
    return red, green, blue


def _luminance(colour: _Colour) -> float:
    # the constants are those of sRGB, as in WCAG 2.2
    red, green, blue = map(_linear, colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - as above


class Asset(Struct, frozen=True):
    """A file that pages load. Its name changes with its content, so it can be cached for ever."""

    name: str
    """Such as `style-0123456789abcdef.css`."""
    media_type: str
    body: bytes

    @property
    def path(self) -> str:
        """The path of the asset, relative to the root of the index."""
        return f"{ASSETS_PATH}/{self.name}"


def load_assets(brand: Brand = DEFAULT_BRAND) -> dict[str, Asset]:
    """
    Return every asset, by its name without the digest: `style.css`.

    The style sheet has the accent colour of the brand. `LOGO` is its logo, if it has one.
    """
    folder = files(__package__).joinpath("assets")
    bodies = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    sheets = sorted(folder.joinpath("style").iterdir(), key=lambda sheet: sheet.name)
    # comments are a tenth of the first visit
    bodies[STYLE] = _COMMENT.sub(b"", b"\n".join(sheet.read_bytes() for sheet in sheets))
    if brand.accent:  # before the digest in the name is made
        bodies[STYLE] += accent_css(brand.accent).encode()
    assets = {name: _asset(name, body) for name, body in bodies.items()}
    if brand.logo:
        assets[LOGO] = _asset(f"logo.{brand.logo.suffix}", brand.logo.body)
    return assets


def _asset(name: str, body: bytes) -> Asset:
    stem, _, suffix = name.rpartition(".")
    digest = sha256(body).hexdigest()[:_DIGEST_LENGTH]
    return Asset(f"{stem}-{digest}.{suffix}", _MEDIA_TYPES[suffix], body)


class Viewer(Struct, frozen=True, kw_only=True):
    """
    The person who looks at a page, as far as the page shows it, which is in its cache key.

    The defaults are those of an anonymous person on a site that knows no sign-in, as an export is.
    """

    name: str = ""
    """The name to show in the header, or an empty text for an anonymous person."""
    may_sign_in: bool = False
    may_upload: bool = False
    """Whether the viewer may upload to any project, and this server takes uploads."""
    may_own_tokens: bool = False
    """Whether the viewer is somebody who may have made tokens, and no token."""
    needs_credential: bool = False
    """Whether nobody installs the project of this page, or any other one, without a credential."""
    may_manage: bool = False
    """Whether the viewer may manage the project of this page, and this server takes changes."""
    may_administer: bool = False
    may_approve: bool = False
    """Whether the viewer may decide about public packages, and is no administrator."""
    waiting_requests: int = 0
    """How many requests for public packages wait for the viewer, or 0 if that is not known."""
    may_decide: bool = False
    """Whether the viewer may approve the project of this page, if it is public, and change that."""
    may_promote: bool = False
    """Whether there is another index that the viewer may perhaps promote releases to."""
    may_ask: bool = False
    """Whether this server takes requests for hidden public packages, of whoever signs in."""
    client: str = ""
    """The client that was chosen on a page with commands, one of `INSTALL_CHOICES`, or empty."""
    indexes: tuple[IndexMark, ...] = ()
    """
    The indexes that the viewer may read, main first, if there are several.

    On a static site it is the one of the page, if that is not main, as its folder may stand alone.
    """
    hidden_indexes: frozenset[str] = frozenset()
    """The names of all others, which no page says to the viewer."""
    places: tuple[ProjectPlace, ...] = ()
    """What these `indexes` have of the project of this page, or nothing if that is not shown."""


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
        self._values = {
            "index_url": index_url,
            "asset": lambda name: self.assets[name].path,
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
            **_names_of(index_name),
            "server_root": self.server_root,
            "logo": LOGO if brand.logo else ICON,
            "generator": f"wheelyard {version('wheelyard')}",
            # a site in a bucket cannot send a header; browsers ignore `frame-ancestors` in a page
            "policy": _POLICY,
        }

    def render(self, template: str, viewer: Viewer, root: str, **values: object) -> bytes:
        """Return the bytes of a page, from which `root` is the relative URL of the home page."""
        page = self._templates.get_template(template)
        text = page.render(**self._values, viewer=viewer, root=root, **values)
        # metadata may have lone surrogates, which cannot be encoded
        return text.encode("utf-8", "replace")

    def server_root(self, root: str) -> str:
        """Return the relative URL of the home page of the whole server, by that of the index."""
        return root + "../" * len(self._index_name.split("/")) if self._index_name else root

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
        """Return the command that gets a token for an index of this server, as `index_link`."""
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
        return host if self._is_certain else Markup("<span data-host>{}</span>").format(host)

    def _pip_option(self) -> str:
        """Return the option without which pip refuses the index, with a blank, or an empty text."""
        host = self.client_settings.untrusted_host if self.base_url else ""
        return f"--trusted-host {host} " if host else ""

    def with_links(self, text: str, root: str) -> Markup:
        """Return `text` as HTML, where a script replaces URLs of the index that are uncertain."""
        if self._is_certain:
            return Markup.escape(text)
        url = self.client_settings.upload_url.removesuffix("/legacy/")
        scheme, _, host = url.partition("://")
        # by turns text, and the login and the path of a URL; it begins and ends with text
        link = f"{re.escape(scheme)}://([^/ ]*@)?{re.escape(host)}/([a-z]+/?)"
        first, *others = re.split(link, text)
        made = Markup.escape(first)
        for login, path, rest in zip(others[::3], others[1::3], others[2::3], strict=True):
            user = Markup(' data-login="{}"').format(login) if login else ""
            made += Markup('<span data-root="{}{}"{}>{}://{}{}/{}</span>{}').format(
                root, path, user, scheme, login or "", host, path, rest
            )
        return made


def _names_of(index_name: str) -> dict[str, object]:
    """Return what pages call an index whose path ends with `index_name`, and find its mark by."""
    first = index_name.partition("/")[0]
    named_index = "" if is_dated_view(first) else first
    return {
        "index_name": index_name,
        "index_title": index_name if named_index else f"{MAIN}/{index_name}".rstrip("/"),
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
    environment.globals["nearly_full"] = NEARLY_FULL
    environment.filters |= {
        "counted": counted,
        "marks": project_marks,
        "origin_mark": origin_mark,
        "on_page": caution_on_page,
        "index_in_words": INDEX_KIND.describe_keys,
        "indexes_in_words": describe_index_text,
        "principal": describe_principal,
        "size": readable_size,
        "web": web_address,
        "words": describe_scope,
    }
    return environment


def contact_link(contact: str) -> Markup:
    """Return `[web] contact` as HTML, with a link if it is an e-mail address or a URL."""
    is_web = contact.startswith(("https://", "http://"))
    if not is_web and ("@" not in contact or " " in contact):
        return Markup.escape(contact or "the operator of this index")
    return Markup('<a href="{}">{}</a>').format(contact if is_web else f"mailto:{contact}", contact)


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
    return url if url.lower().startswith(("https://", "http://", "mailto:")) else ""
