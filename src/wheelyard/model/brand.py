"""How an index presents itself on its pages: its name, its logo and its accent colour."""

from hashlib import sha256
from typing import Final

from msgspec import Struct

from wheelyard.errors import Invalid

DEFAULT_NAME: Final = "wheelyard"
MAX_LOGO_BYTES: Final = 256 * 1024

_SIGNATURES: Final = (
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("jpg", 0, b"\xff\xd8\xff"),
    ("webp", 8, b"WEBP"),
    ("gif", 0, b"GIF8"),
    ("ico", 0, b"\x00\x00\x01\x00"),
)
"""The types of logos besides SVG: suffix, and the bytes at an offset that each file has."""
_ACTIVE_ELEMENTS: Final = frozenset({"script", "foreignobject", "iframe", "handler", "listener"})
"""Elements of SVG, in small letters, that can do more than draw."""


class Logo(Struct, frozen=True):
    """A picture for the header of each page."""

    suffix: str
    """The type: svg, png, jpg, webp, gif or ico."""
    body: bytes


class Brand(Struct, frozen=True):
    """The name, accent colour and logo of an index."""

    name: str = DEFAULT_NAME
    accent: str = ""
    """The colour of links and buttons, as `#1b62b5`, or empty for that of the style sheet."""
    logo: Logo | None = None

    @property
    def fingerprint(self) -> str:
        """A text that changes with each part of the brand, and is empty for the default brand."""
        if self == DEFAULT_BRAND:
            return ""
        logo = sha256(self.logo.body).hexdigest() if self.logo else ""
        return sha256(f"{self.name}\n{self.accent}\n{logo}".encode()).hexdigest()


DEFAULT_BRAND: Final = Brand()


def parse_logo(body: bytes) -> Logo:
    """
    Return the logo in a file, whose type follows from its bytes.

    Raises Invalid (code `bad_setting`) if the file is too large, of no known type, or an SVG that
    could run scripts or refers to other files.
    """
    if len(body) > MAX_LOGO_BYTES:
        raise _bad_logo(f"it is larger than {MAX_LOGO_BYTES // 1024} KiB")
    for suffix, offset, signature in _SIGNATURES:
        if body.startswith(signature, offset):
            return Logo(suffix, body)
    _require_plain_svg(body)
    return Logo("svg", body)


def _require_plain_svg(body: bytes) -> None:
    from xml.etree import ElementTree  # noqa: ICN001, PLC0415 - few indexes have a logo

    # a few nested entities could expand to gigabytes, so they are refused before the file is parsed
    if b"<!ENTITY" in body.upper():
        raise _bad_logo("it defines entities")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - the operator's own file, without entities
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _bad_logo("it is no SVG, PNG, JPEG, WebP, GIF or ICO") from error
    if root.tag != "{http://www.w3.org/2000/svg}svg":
        raise _bad_logo("it is no SVG, PNG, JPEG, WebP, GIF or ICO")
    tags = {_local_name(str(element.tag)) for element in root.iter()}
    attributes = [
        (_local_name(name), value) for element in root.iter() for name, value in element.items()
    ]
    is_active = any(
        name.startswith("on") or "javascript:" in value.lower() for name, value in attributes
    )
    if is_active or tags & _ACTIVE_ELEMENTS:
        raise _bad_logo("it is an SVG that can run scripts")
    links = [value for name, value in attributes if name == "href"]
    if not all(link.startswith(("#", "data:image/")) for link in links):
        raise _bad_logo("it is an SVG that refers to another file")


def _local_name(tag: str) -> str:
    return tag.rpartition("}")[2].lower()


def _bad_logo(why: str) -> Invalid:
    return Invalid(f"The picture cannot be used: {why}.", code="bad_setting")
