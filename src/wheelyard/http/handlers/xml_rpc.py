"""PyPI's old XML-RPC interface: each call is answered with what to use instead."""

import re
from contextlib import suppress
from html import escape
from typing import Final

from wheelyard.errors import TooLarge
from wheelyard.http.protocol.json_body import read_body
from wheelyard.http.protocol.messages import NO_STORE, Request, Response, make_response

XML: Final = b"text/xml; charset=utf-8"
FAULT_TEMPLATE: Final = """<?xml version="1.0"?>
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


def is_xml_rpc(request: Request) -> bool:
    """Return whether a POST is a call of PyPI's old XML-RPC interface."""
    return request.media_type == b"text/xml"


async def answer_call(request: Request, prefix: str) -> Response:
    """Answer a call of XML-RPC with what to use instead."""
    method = ""
    with suppress(TooLarge):
        method = method_name(await read_body(request.receive))
    instead = next(text for name, text in _INSTEAD if re.fullmatch(name, method))
    what = f"{method} is not supported" if method else "The call names no method"
    text = f"{what}: this index has no XML-RPC interface. {instead.format(prefix=prefix)}"
    return make_response(200, XML, FAULT_TEMPLATE.format(escape(text)).encode(), NO_STORE)


def method_name(call: bytes) -> str:
    """Return the method that a call names, if any."""
    found = _METHOD.search(call)  # no XML is parsed, so no entity is expanded
    return found[1].decode() if found else ""
