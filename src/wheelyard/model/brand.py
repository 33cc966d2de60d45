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
        """A text that differs between any two brands, and is empty for the default brand."""
        if self == DEFAULT_BRAND:
            return ""
        logo = ""
        if self.logo is not None:
            logo = sha256(self.logo.body).hexdigest()
        return sha256(f"{self.name}\n{self.accent}\n{logo}".encode()).hexdigest()


DEFAULT_BRAND: Final = Brand()


def parse_logo(body: bytes) -> Logo:
    """
    Return the logo in a file, whose type follows from its bytes.

    Raises Invalid (code `bad_setting`) if the file is too large, has no known type, or is an SVG
    that could run scripts or refers to other files.
    """
    if len(body) > MAX_LOGO_BYTES:
        raise _bad_logo(f"it is larger than {MAX_LOGO_BYTES // 1024} KiB")
    for suffix, offset, signature in _SIGNATURES:
        if body.startswith(signature, offset):
            return Logo(suffix, body)
    _require_plain_svg(body)
    return Logo("svg", body)


def _require_plain_svg(body: bytes) -> None:
    """Raise Invalid unless a file is an SVG that only draws."""
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

    # in a page the SVG is an image, which runs no script, but anybody may open its own URL
    has_script = False
    refers_to_file = False
    for element in root.iter():
        if _local_name(str(element.tag)) in _ACTIVE_ELEMENTS:
            has_script = True
        for attribute, value in element.items():
            name = _local_name(attribute)
            # an attribute such as `onload` is a script
            if name.startswith("on") or "javascript:" in value.lower():
                has_script = True
            # another host, asked for a file, would learn who looks at the index
            if name == "href" and not value.startswith(("#", "data:image/")):
                refers_to_file = True
    if has_script:
        raise _bad_logo("it is an SVG that can run scripts")
    if refers_to_file:
        raise _bad_logo("it is an SVG that refers to another file")


def _local_name(tag: str) -> str:
    """Return the name of an element or an attribute without its namespace, in small letters."""
    return tag.rpartition("}")[2].lower()


def _bad_logo(why: str) -> Invalid:
    return Invalid(f"The picture cannot be used: {why}.", code="bad_setting")
