"""The files that pages load: the style sheet, scripts and icons, and the logo of a brand."""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from msgspec import Struct

from wheelyard.model.brand import DEFAULT_BRAND, Brand
from wheelyard.rendering.web.accent import accent_css

ASSETS_PATH: Final = "-/assets"
"""The folder of the assets, relative to the root of the index. No project has the name `-`."""
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
"""Hexadecimal digits of the digest in the name of an asset."""
_COMMENT: Final = re.compile(rb"\s*/\*.*?\*/", re.DOTALL)


class Asset(Struct, frozen=True):
    """A file that pages load. Its name changes with its content, so caches keep it for ever."""

    name: str
    """The name with a digest of the content: `style-0123456789abcdef.css`."""
    media_type: str
    body: bytes

    @property
    def path(self) -> str:
        """The path of the asset, relative to the root of the index."""
        return f"{ASSETS_PATH}/{self.name}"


@lru_cache(maxsize=1)  # all indexes of a process have the same brand
def load_assets(brand: Brand = DEFAULT_BRAND) -> Mapping[str, Asset]:
    """
    Return every asset, by its name without the digest: `style.css`.

    The style sheet has the accent colour of the brand. Under `LOGO` is the logo of the brand, if
    the brand has one.
    """
    folder = files(__package__).joinpath("assets")
    bodies = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    bodies[STYLE] = _style_sheet(folder.joinpath("style"), brand.accent)
    assets = {name: _named_asset(name, body) for name, body in bodies.items()}
    if brand.logo:
        # templates do not know the format of the logo, so its key has no suffix
        assets[LOGO] = _named_asset(f"logo.{brand.logo.suffix}", brand.logo.body)
    return assets


def _style_sheet(folder: Traversable, accent: str) -> bytes:
    """
    Return the sheets of a folder as one style sheet, in the order of their names.

    `accent` takes the place of the usual accent colour, unless it is empty.
    """
    sheets = sorted(folder.iterdir(), key=lambda sheet: sheet.name)
    joined = b"\n".join(sheet.read_bytes() for sheet in sheets)
    # comments are a tenth of the bytes of a first visit
    style = _COMMENT.sub(b"", joined)
    if accent:
        # of equal rules the last one counts, so these follow the rules with the usual colour
        style += accent_css(accent).encode()
    return style


def _named_asset(name: str, body: bytes) -> Asset:
    """Return a file as an asset, whose name gets the digest of the body."""
    stem, _, suffix = name.rpartition(".")
    digest = sha256(body).hexdigest()[:_DIGEST_LENGTH]
    return Asset(f"{stem}-{digest}.{suffix}", _MEDIA_TYPES[suffix], body)
