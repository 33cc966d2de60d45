"""
Which form of a page a client wants, and in which encoding it may come.

Follows RFC 9110 (12.5) and PEP 691, as clients really ask: a bare `*/*` gets HTML, because the
tools that send it read links.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

ACCEPT_LIMIT: Final = 4096
"""Bytes of an Accept header; a longer one counts as `*/*`."""

_QUALITY = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)
_RANGE = re.compile(r"[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Form:
    content_type: bytes
    mark: str
    """The letter in the ETag."""
    is_json: bool


class Form(Enum):
    """The forms that a page of the Simple API comes in, the preferred first."""

    JSON = _Form(b"application/vnd.pypi.simple.v1+json", "j", is_json=True)
    PLAIN_JSON = _Form(b"application/json", "p", is_json=True)
    V1_HTML = _Form(b"application/vnd.pypi.simple.v1+html", "v", is_json=False)
    HTML = _Form(b"text/html; charset=utf-8", "h", is_json=False)


_NAMES: Final = {
    "application/vnd.pypi.simple.v1+json": Form.JSON,
    "application/vnd.pypi.simple.latest+json": Form.JSON,
    "application/json": Form.PLAIN_JSON,
    "application/vnd.pypi.simple.v1+html": Form.V1_HTML,
    "application/vnd.pypi.simple.latest+html": Form.V1_HTML,
    "text/html": Form.HTML,
}
_WIDE: Final = {
    "application/*": (Form.JSON, Form.V1_HTML),
    "text/*": (Form.HTML,),
    "*/*": (Form.HTML,),
}


class Encoding(Enum):
    """How a body is compressed; the value is the letter in the ETag."""

    IDENTITY = "i"
    GZIP = "g"
    ZSTD = "z"


def form_by_name(name: str) -> Form | None:
    """Return the form that `?format=` names, where a blank may stand for its plus sign."""
    return _NAMES.get(name.replace(" ", "+"))


def form_for(accept: str | None) -> Form | None:
    """Return the form that suits an Accept header best, None where none does."""
    if accept is None or not accept.strip() or len(accept) > ACCEPT_LIMIT:
        return Form.HTML
    exact, wide = _scores(accept)
    best, best_quality = None, 0.0
    for form in Form:
        quality = exact.get(form)
        if quality is None:
            quality = wide.get(form, 0.0)
        if quality > best_quality:
            best, best_quality = form, quality
    return best


def encoding_for(accept_encoding: str | None) -> Encoding:
    """Return the encoding that suits an Accept-Encoding header: zstd, else gzip, else identity."""
    qualities = dict[str, float]()
    for element in (accept_encoding or "")[:ACCEPT_LIMIT].lower().split(","):
        name, _, parameters = element.strip().partition(";")
        quality = _quality(parameters)
        if quality is not None:
            qualities[name.strip()] = quality
    if qualities.get("zstd", 0.0) > 0:
        return Encoding.ZSTD
    if qualities.get("gzip", qualities.get("*", 0.0)) > 0:
        return Encoding.GZIP
    return Encoding.IDENTITY


def _scores(accept: str) -> tuple[dict[Form, float], dict[Form, float]]:
    """Return the quality of each form: by its own name, and by a range that covers it."""
    exact, wide = dict[Form, float](), dict[Form, tuple[int, float]]()
    for element in accept.lower().split(","):
        name, _, parameters = element.strip().partition(";")
        name, quality = name.strip(), _quality(parameters)
        if quality is None or not _RANGE.fullmatch(name):
            continue  # one malformed element does not spoil the others
        if (form := _NAMES.get(name)) is not None:
            exact[form] = max(quality, exact.get(form, 0.0))
        for form in _WIDE.get(name, ()):
            narrowness = 0 if name == "*/*" else 1
            wide[form] = max((narrowness, quality), wide.get(form, (0, 0.0)))
    return exact, {form: quality for form, (_, quality) in wide.items()}


def _quality(parameters: str) -> float | None:
    """Return the quality among `parameters`: 1 where there is none, None where it is nonsense."""
    for parameter in parameters.split(";"):
        if parameter.strip().startswith("q"):
            match = _QUALITY.fullmatch(parameter.strip())
            return float(match[1]) if match else None
    return 1.0
