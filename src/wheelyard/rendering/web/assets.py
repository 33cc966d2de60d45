"""The files that pages load: style sheet, scripts, icons. Each has its digest in its name."""

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

ASSETS_PATH: Final = "-/assets"
"""The folder of the assets, relative to the root of the index; no project has the name `-`."""

_MEDIA_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_DIGEST_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load. Its name changes with its content, so it can be cached for ever."""

    name: str
    """Such as `style-0123456789abcdef.css`."""
    media_type: str
    body: bytes

    @property
    def path(self) -> str:
        """The path of the asset, relative to the root of the index."""
        return f"{ASSETS_PATH}/{self.name}"


def load_assets() -> dict[str, Asset]:
    """Return every asset, by its name without the digest: `style.css`."""
    found = (each for each in files(__package__).joinpath("assets").iterdir() if each.is_file())
    return {each.name: _asset(each.name, each.read_bytes()) for each in found}


def _asset(name: str, body: bytes) -> Asset:
    stem, _, suffix = name.rpartition(".")
    digest = sha256(body).hexdigest()[:_DIGEST_LENGTH]
    return Asset(f"{stem}-{digest}.{suffix}", _MEDIA_TYPES[suffix], body)
