"""PyPI's old XML-RPC interface: every call is answered with the alternative."""

from pathlib import Path
from xmlrpc.client import Fault, ServerProxy, dumps

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.in_process import in_process
from tests.http.servers import Answer, RunningServer
from wheelyard.http.handlers.xml_rpc import method_name
from wheelyard.http.protocol.json_body import BODY_LIMIT_BYTES
from wheelyard.settings.sections import ServerSettings, Settings

pytestmark = pytest.mark.integration

PATHS = ("/", "/pypi", "/pypi/", "/RPC2", "/simple/", "/legacy/", "/acme")
INSTEAD = {
    "search": "/search.json",
    "browse": "/search.json",
    "list_packages": "/simple/",
    "list_packages_with_serial": "/simple/",
    "package_releases": "/pypi/NAME/json",
    "release_urls": "/pypi/NAME/VERSION/json",
    "release_data": "/pypi/NAME/VERSION/json",
    "changelog": "/api/v1/projects/NAME/journal",
    "changelog_since_serial": "/api/v1/projects/NAME/journal",
    "changelog_last_serial": "/api/v1/projects/NAME/journal",
    "package_roles": "/api/v1/whoami",
    "user_packages": "/api/v1/whoami",
    "system.listMethods": "/simple/",
    "nobody.has:this/method": "/simple/",
}
CALL = "<methodCall><methodName>{}</methodName><params/></methodCall>"


def call(server: RunningServer, body: bytes, path: str = "/pypi", **headers: str) -> Answer:
    """Send the body of a call."""
    named = {"Content-Type": "text/xml"} | headers
    return server.client.post(path, content=body, headers=named)


@pytest.mark.parametrize("method", INSTEAD)
def test_each_method(stocked: RunningServer, method: str) -> None:
    """A client shows which method there is not, and what to use instead."""
    with ServerProxy(f"{stocked.url}/pypi") as client, pytest.raises(Fault) as caught:
        getattr(client, method)({"name": "demo & <co>"}, "or")
    assert caught.value.faultCode == -32500
    assert caught.value.faultString.startswith(f"{method} is not supported: ")
    assert INSTEAD[method] in caught.value.faultString


@pytest.mark.parametrize("path", PATHS)
def test_each_address(stocked: RunningServer, private: RunningServer, path: str) -> None:
    """XML-RPC calls are answered on every upload URL, to every caller."""
    shown = pytest.raises(Fault, match=r"search is not supported: .* /search\.json\.")
    for server in (stocked, private):
        with ServerProxy(f"{server.url}{path}") as client, shown:
            client.search({"name": "x"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not XML at all",
        b"<methodCall><methodName>search",
        CALL.format("x" * 65).encode(),
        CALL.format("a b").encode(),
        CALL.format("&lt;script&gt;").encode(),
        b'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/hostname">]>' + CALL.format("&f;").encode(),
        CALL.format("search").encode() + b" " * BODY_LIMIT_BYTES,
    ],
    ids=range(8),
)
def test_call_that_names_nothing(stocked: RunningServer, body: bytes) -> None:
    """A call that is none, or would have entities expanded, gets a fault, and no more is read."""
    answer = call(stocked, body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    assert "<string>The call names no method: this index has no XML-RPC" in answer.text
    assert "<int>-32500</int>" in answer.text
    assert stocked.get("/health").status_code == 200


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(body: bytes) -> None:
    """No bytes are too odd for the reader of calls."""
    assert method_name(body) == ""
    assert method_name(CALL.format("search").encode() + body) == "search"


def test_addresses_have_the_prefix(tmp_path: Path) -> None:
    """Where the index is below a path, so is what there is instead."""
    settings = Settings(server=ServerSettings(path_prefix="/py&pi"))
    with in_process(tmp_path, settings) as app:
        body, kind = dumps((), "list_packages").encode(), ("content-type", "text/xml")
        framed = ("content-length", str(len(body)))
        answer = app.get("/py&pi/", kind, framed, method="POST", body=[body])
    assert b"list of projects, /py&amp;pi/simple/." in answer.body
