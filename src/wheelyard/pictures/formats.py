"""The types of pictures, told by their first bytes, and not by what a server says of them."""

import re
from typing import Final

SVG: Final = "image/svg+xml"
HEAD_BYTES: Final = 4096
"""Bytes in which the root element of an SVG has to begin."""
_SIGNATURES: Final = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL)),
    ("image/avif", re.compile(rb".{4}ftypavi[fs]", re.DOTALL)),
)
_SVG: Final = re.compile(
    rb"""
    (?: \xef\xbb\xbf )?
    (?: <\?xml [^>]*+ >
    |   <!-- (?: [^-]++ | -(?!->) )* -->
    |   <!DOCTYPE \s++ svg [^>\[]*+ >
    |   \s++ )*
    <svg [\s>]
    """,
    re.VERBOSE,
)
"""
The beginning of an SVG in UTF-8, without an internal subset of entities.

No two alternatives begin alike, and each repetition of one character is possessive, so that no text
takes long. The groups are not possessive: such groups match wrongly before Python 3.11.5
(https://github.com/python/cpython/issues/106052).
"""


def picture_type(body: bytes) -> str:
    """Return the media type of a picture, or an empty text for anything else."""
    for media_type, signature in _SIGNATURES:
        if signature.match(body):
            return media_type
    return SVG if _SVG.match(body[:HEAD_BYTES]) else ""
