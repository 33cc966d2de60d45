"""
Small routes that read next to nothing: probes, and PyPI's old XML-RPC interface.

Any call of that is answered with a fault that says what to use; `pip search` shows it.
"""

import re
from contextlib import suppress
from dataclasses import replace
from html import escape
from typing import Final

from wheelyard.errors import TooLarge, WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.error_responses import nothing_here, refusal_response
from wheelyard.http.protocol.json_body import small_body
from wheelyard.http.protocol.messages import NO_STORE, Header, Request, Response, make_response

TEXT: Final = b"text/plain; charset=utf-8"
FOR_A_DAY: Final[Header] = (b"cache-control", b"public, max-age=86400")
UPLOAD_URL: Final = b"""This is the upload URL of a wheelyard index. Give it to your client:

    twine upload --repository-url <this URL> dist/*
"""

XML: Final = b"text/xml; charset=utf-8"
FAULT: Final = """<?xml version="1.0"?>
<methodResponse><fault><value><struct>
<member><name>faultCode</name><value><int>-32500</int></value></member>
<member><name>faultString</name><value><string>{}</string></value></member>
</struct></value></fault></methodResponse>
"""

_NAMES: Final = "Read the list of projects, {prefix}/simple/."
_RELEASES: Final = "Read {prefix}/pypi/NAME/json, or {prefix}/pypi/NAME/VERSION/json."
_INSTEAD: Final = (
    (
        "search|browse|top_packages",
        "Search on the page for people, {prefix}/, or in its list, {prefix}/search.json.",
    ),
    ("list_packages.*", _NAMES),
    ("(package|release)_(releases|data|urls|downloads)", _RELEASES),
    (
        "change.*|updated_releases",
        "Read the journal of a project, {prefix}/api/v1/projects/NAME/journal.",
    ),
    (
        "package_roles|user_packages",
        "Read what you may do, {prefix}/api/v1/whoami; the operator knows about others.",
    ),
    (".*", f"{_NAMES} {_RELEASES}"),
)
"""What to use instead of the methods that PyPI has, or had."""
_METHOD: Final = re.compile(
    rb"<methodCall>\s*<methodName>\s*([A-Za-z0-9_.:/]{1,64})\s*</methodName>", re.ASCII
)


async def health(_request: Request) -> Response:
    """Answer that this process is alive."""
    return make_response(200, TEXT, b"Ok", NO_STORE)


async def upload_url(_request: Request) -> Response:
    """Tell a person what the upload URL is for."""
    return make_response(200, TEXT, UPLOAD_URL, NO_STORE)


async def ready(_request: Request, context: ServerContext) -> Response:
    """Answer whether the store is read, and was written since the start."""
    try:
        await context.reads.names()
    except WheelyardError as fault:
        context.store_errors.note(fault)  # perhaps only probes ask
        message = "The store does not answer."
        return refusal_response(503, "storage_unavailable", message, "Not ready.")
    reason = context.unwritable()
    if reason:
        message = f"No write to the store has succeeded since the server was started. {reason}"
        return refusal_response(503, "store_not_written", message, "Not ready.")
    return make_response(200, TEXT, b"Ok", NO_STORE)


async def absent(_request: Request) -> Response:
    """Answer 404, which browsers and crawlers may keep for a day."""
    nothing = nothing_here()
    kept = (header for header in nothing.headers if header != NO_STORE)
    return replace(nothing, headers=(*kept, FOR_A_DAY))


def is_xml_rpc(request: Request) -> bool:
    """Return whether a POST is a call of PyPI's old XML-RPC interface."""
    return request.media_type == b"text/xml"


async def answer_call(request: Request, prefix: str) -> Response:
    """Answer a call of XML-RPC with what to use instead."""
    method = ""
    with suppress(TooLarge):
        method = method_of(await small_body(request.receive))
    instead = next(text for name, text in _INSTEAD if re.fullmatch(name, method))
    what = f"{method} is not supported" if method else "The call names no method"
    text = f"{what}: this index has no XML-RPC interface. {instead.format(prefix=prefix)}"
    return make_response(200, XML, FAULT.format(escape(text)).encode(), NO_STORE)


def method_of(call: bytes) -> str:
    """Return the method that a call names, if any."""
    found = _METHOD.search(call)  # no XML is parsed, so no entity is expanded
    return found[1].decode() if found else ""
