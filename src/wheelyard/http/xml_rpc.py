"""
PyPI's old XML-RPC interface: no method is served, and each call is told what to use instead.

The answer is a fault, which is what clients such as `pip search` show. Of a call only the name of
its method is read. A document type is refused, so a call can define no entity that would be
expanded, and a call over the limit of a small body is not read to its end.
"""

import re
from contextlib import suppress
from html import escape
from typing import Final
from xml.parsers.expat import ExpatError, ParserCreate

from wheelyard.errors import TooLarge
from wheelyard.http.bodies import small_body
from wheelyard.http.desk import Desk
from wheelyard.http.exchange import NO_STORE, Reply, Request, reply

XML: Final = b"text/xml; charset=utf-8"
FAULT: Final = """<?xml version="1.0"?>
<methodResponse><fault><value><struct>
<member><name>faultCode</name><value><int>-32500</int></value></member>
<member><name>faultString</name><value><string>{}</string></value></member>
</struct></value></fault></methodResponse>
"""

_SEARCH: Final = "Search on the page for people, {prefix}/, or in its list, {prefix}/search.json."
_NAMES: Final = "Read the list of projects, {prefix}/simple/."
_RELEASES: Final = "Read {prefix}/pypi/NAME/json, or {prefix}/pypi/NAME/VERSION/json."
_JOURNAL: Final = "Read the journal of a project, {prefix}/api/v1/projects/NAME/journal."
_RIGHTS: Final = "Read what you may do, {prefix}/api/v1/whoami; the operator knows about others."
_ANY: Final = f"{_NAMES} {_RELEASES}"
_INSTEAD: Final = {
    **dict.fromkeys(("search", "browse", "top_packages"), _SEARCH),
    **dict.fromkeys(("list_packages", "list_packages_with_serial"), _NAMES),
    **dict.fromkeys(("package_releases", "package_data", "package_urls"), _RELEASES),
    **dict.fromkeys(("release_data", "release_urls", "release_downloads"), _RELEASES),
    **dict.fromkeys(("changelog", "changelog_last_serial", "changelog_since_serial"), _JOURNAL),
    **dict.fromkeys(("changed_packages", "updated_releases"), _JOURNAL),
    **dict.fromkeys(("package_roles", "user_packages"), _RIGHTS),
}
"""What to use instead of the methods that PyPI has, or had."""

_METHOD: Final = re.compile(r"[A-Za-z0-9_.:/]{1,64}")


def is_xml_rpc(request: Request) -> bool:
    """Return whether a POST is a call of PyPI's old XML-RPC interface."""
    return request.media_type == b"text/xml"


async def answer_call(request: Request, desk: Desk) -> Reply:
    """
    Answer a call with a fault that names its method and says what to use instead.

    Raises:
        ClientGone: The body broke off.
        SlowClient: It comes too slowly.
    """
    method = ""
    with suppress(TooLarge):
        method = method_of(await small_body(request.receive))
    instead = _INSTEAD.get(method, _ANY).format(prefix=desk.index.settings.server.path_prefix)
    what = f"{method} is not supported" if method else "The call names no method"
    text = f"{what}: this index has no XML-RPC interface. {instead}"
    return reply(200, XML, FAULT.format(escape(text)).encode(), NO_STORE)


def method_of(call: bytes) -> str:
    """Return the method that a call names, an empty string where it is no well-formed call."""
    opened, text = list[str](), list[str]()

    def open_(name: str, _attributes: dict[str, str]) -> None:
        opened.append(name)

    def close(_name: str) -> None:
        opened.pop()

    def take(data: str) -> None:
        if opened == ["methodCall", "methodName"]:
            text.append(data)

    parser = ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = open_, close
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = take, _refuse
    try:
        parser.Parse(call, True)  # noqa: FBT003 - whether it is all there is
    except (ExpatError, LookupError, ValueError):  # the last two are about its encoding
        return ""
    found = _METHOD.fullmatch("".join(text).strip())
    return found[0] if found else ""


def _refuse(*_: object) -> None:
    raise ValueError("a document type")
