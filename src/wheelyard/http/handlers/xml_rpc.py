"""Handler of PyPI's old XML-RPC API: it answers each call with a fault that names a replacement."""

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
_ALTERNATIVES: Final = (
    (
        "search|browse|top_packages",
        "Search in the web UI, {prefix}/, or read its search index, {prefix}/search.json.",
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
"""Patterns of PyPI's present and former methods, each with its alternative."""
_METHOD: Final = re.compile(
    rb"<methodCall>\s*<methodName>\s*([A-Za-z0-9_.:/]{1,64})\s*</methodName>", re.ASCII
)


def is_xml_rpc(request: Request) -> bool:
    """Return whether a POST request is an XML-RPC call, by its Content-Type."""
    return request.media_type == b"text/xml"


async def answer_call(request: Request, prefix: str) -> Response:
    """Handle POST of an XML-RPC call: always a fault; `prefix` is the path prefix of the index."""
    method = ""
    with suppress(TooLarge):
        method = method_name(await read_body(request.receive))
    alternative = next(text for name, text in _ALTERNATIVES if re.fullmatch(name, method))
    what = f"{method} is not supported" if method else "The call names no method"
    text = f"{what}: this index has no XML-RPC interface. {alternative.format(prefix=prefix)}"
    return make_response(200, XML, FAULT_TEMPLATE.format(escape(text)).encode(), NO_STORE)


def method_name(call: bytes) -> str:
    """Return the method name in the body of an XML-RPC call, or an empty string if it has none."""
    match = _METHOD.search(call)  # no XML is parsed, so no entity is expanded
    return match[1].decode() if match else ""
