"""The files that pages load: the style sheet, scripts and icons, and the logo of a brand."""

import re
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from msgspec import Struct

from wheelyard.model.brand import DEFAULT_BRAND, Brand
from wheelyard.rendering.web.accent import accent_css

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
    bodies[STYLE] = _style_sheet(folder.joinpath("style"), brand.accent)
    assets = {name: _asset(name, body) for name, body in bodies.items()}
    if brand.logo:
        # pages do not know the format of a logo, so its key has no suffix
        assets[LOGO] = _asset(f"logo.{brand.logo.suffix}", brand.logo.body)
    return assets


def _style_sheet(folder: Traversable, accent: str) -> bytes:
    """Return the sheets of a folder as one, in the order of their names, with an accent colour."""
    sheets = sorted(folder.iterdir(), key=lambda sheet: sheet.name)
    joined = b"\n".join(sheet.read_bytes() for sheet in sheets)
    # comments are a tenth of the first visit
    style = _COMMENT.sub(b"", joined)
    if accent:
        # behind the rules that have the usual colour, so that this one counts
        style += accent_css(accent).encode()
    return style


def _asset(name: str, body: bytes) -> Asset:
    stem, _, suffix = name.rpartition(".")
    digest = sha256(body).hexdigest()[:_DIGEST_LENGTH]
    return Asset(f"{stem}-{digest}.{suffix}", _MEDIA_TYPES[suffix], body)
