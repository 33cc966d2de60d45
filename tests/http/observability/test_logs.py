"""The log: requests, changes, and their traces."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.http.packages import publish
from tests.http.raw_client import raw_answer, raw_connection
from tests.http.servers import RunningServer, running_server
from tests.waiting import until

pytestmark = pytest.mark.integration

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{ID}-{SPAN}-01"}
TRACE = "logging.googleapis.com/trace"
JSON = '[log]\nformat = "json"\naccess = true\nproject = "acme-tools"\n'
TEXT = "[log]\naccess = true\n"
PROXIED = f"{JSON}[server]\ntrusted_proxies = 1\n[access]\nprivate = true\n"

Entry = dict[str, Any]


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A private server behind a proxy, which logs as Cloud Logging wants it."""
    with running_server(tmp_path_factory.mktemp("proxied"), config=PROXIED) as server:
        yield server


def lines_of(server: RunningServer, words: str, count: int = 0) -> list[str]:
    """Return the log's lines with some words, once there are so many: one follows its answer."""

    def found() -> list[str]:
        whole = server.log.rpartition("\n")[0]  # without a line that is being written
        return [line for line in whole.splitlines() if words in line]

    until(lambda: len(found()) >= count)
    return found()


def entries(server: RunningServer, words: str, count: int = 1) -> list[Entry]:
    """Return the log's entries with some words, once there are so many."""
    return [json.loads(line) for line in lines_of(server, words, count)]


def test_request_is_one_entry_with_its_trace(proxied: RunningServer) -> None:
    """A request is one entry in the form that Cloud Logging shows, with its trace."""
    publish(proxied, make_wheel())
    answer = proxied.get("/simple/demo/", proxied.token, X_Forwarded_For="192.0.2.7", **TRACED)

    (entry,) = entries(proxied, '"192.0.2.7"')
    request = entry["httpRequest"]
    latency = float(request.pop("latency").removesuffix("s"))
    assert 0 < latency < 60
    assert request == {
        "requestMethod": "GET",
        "requestUrl": "/simple/demo/",
        "status": 200,
        "responseSize": answer.headers["content-length"],
        "userAgent": answer.request.headers["user-agent"],
        "remoteIp": "192.0.2.7",
        "protocol": "HTTP/1.1",
    }
    assert (entry["severity"], entry["route"]) == ("INFO", "project_detail")
    assert entry["who"] == f"token:{proxied.token[4:14]}"
    assert entry[TRACE] == f"projects/acme-tools/traces/{ID}"
    assert entry["logging.googleapis.com/spanId"] == SPAN
    assert entry["logging.googleapis.com/trace_sampled"] is True


def test_page_in_memory_is_logged_as_any_other(proxied: RunningServer) -> None:
    """A page that is answered from memory is logged as any other."""
    publish(proxied, make_wheel("held"))
    for _ in range(3):
        proxied.get("/simple/held/", proxied.token)

    proxied.get("/simple/held/", proxied.token, **TRACED)

    pages = entries(proxied, '"/simple/held/"', 4)
    assert sum(entry.get(TRACE, "").endswith(ID) for entry in pages) == 1
    logged = {
        (page["who"], *map(page["httpRequest"].get, ("status", "responseSize"))) for page in pages
    }
    assert (len(pages), len(logged)) == (4, 1)


def test_change_is_logged_with_who_made_it(proxied: RunningServer) -> None:
    """The log says who has uploaded, yanked or deleted what; what changes nothing is not in it."""
    package = make_wheel("changed")
    publish(proxied, package)
    publish(proxied, package)
    assert proxied.ask("POST", "/legacy/", proxied.token).status_code == 400
    for verb in ("yank", "yank", "unyank", "delete"):
        proxied.change("changed", verb, version="1.0", reason="it\u2019s broken")
    proxied.change("changed", "status", status="archived", reason="gone")

    (first,) = entries(proxied, '"token_created"')
    assert first["audit"]["who"] == "serve"
    logged = [entry["audit"] for entry in entries(proxied, '"project":"changed"')]
    assert [each["action"] for each in logged] == [
        "uploaded",
        "yanked",
        "unyanked",
        "deleted",
        "status_set",
    ]
    assert {each["who"] for each in logged} == {f"token:{proxied.token[4:14]}"}
    assert {each["address"] for each in logged} == {"127.0.0.1"}
    assert logged[0]["files"] == [package.filename]
    assert (logged[0]["sha256"], logged[0]["version"]) == (package.sha256, "1.0")
    assert logged[1]["reason"] == "it\u2019s broken"
    assert (logged[4]["status"], logged[4]["reason"]) == ("archived", "gone")


def test_other_threads_log_the_same_trace(proxied: RunningServer) -> None:
    """What is logged on the way of a request belongs to its trace, in whichever thread it is."""
    assert proxied.get("/simple/", "wyd_" + "0" * 48, **TRACED).status_code == 401

    (refused,) = entries(proxied, "a credential was refused")
    assert refused[TRACE].endswith(ID)


def test_probes_are_not_worth_a_line(proxied: RunningServer) -> None:
    """Health probes are not logged."""
    for path in ("/health", "/ready", "/simple/"):
        proxied.get(path, proxied.token)

    assert entries(proxied, '"project_list"')
    assert lines_of(proxied, "/health") == lines_of(proxied, "/ready") == []


def test_token_is_in_no_line_of_the_log(proxied: RunningServer) -> None:
    """A token in a path or a query is in no line of the log."""
    token = proxied.token
    paths = (f"/simple/{token}/", f"/{token}", f"/simple/?token={token}", f"/a%20{token}/b")
    for path in (*paths, f"/%77yd_{token[4:]}"):
        proxied.get(path, token, User_Agent="a secret")

    assert len(entries(proxied, '"a secret"', 5)) == 5
    assert token not in proxied.log
    assert token[14:] not in proxied.log


def test_nobody_writes_a_line_of_their_own(tmp_path: Path) -> None:
    """Line breaks and control characters in a request stay within its own line."""
    with running_server(tmp_path, config=TEXT) as server:
        answer = raw_answer(server, "GET /a%0ab%22/ HTTP/1.1", 'User-Agent: x" 200 "\x9b2Jy')
        logged = lines_of(server, "wheelyard.access", 1)

    assert answer.status == 400
    assert len(logged) == 1
    assert '"GET /a%0ab%22/" 400' in logged[0]
    assert "\x9b" not in logged[0]
    assert 'x" 200' not in logged[0]


def test_forwarded_address_is_no_more_than_an_address(proxied: RunningServer) -> None:
    """The log has a forwarded address without what the client has written behind it."""
    invented = "fe80::1%1 2026-11-20 INFO wheelyard.audit: deleted by user:ceo@acme.dev"
    proxied.get("/simple/", proxied.token, X_Forwarded_For=invented)

    assert entries(proxied, '"remoteIp":"fe80::1"')
    assert "user:ceo@acme.dev" not in proxied.log  # three letters may stand in a token's id


def test_broken_upload_is_no_refusal(proxied: RunningServer) -> None:
    """A request that its client has broken off is not counted as one that was refused."""
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {proxied.token}\r\n"
    form = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n\r\n--b\r\n"
    with raw_connection(proxied) as line:
        line.send((head + form).encode())
        line.connection.shutdown(socket.SHUT_RDWR)

    (entry,) = entries(proxied, '"status":499')
    assert entry["route"] == "upload"


def test_text_log_has_a_line_a_request(tmp_path: Path) -> None:
    """Without JSON a request and a change are a line each, as a person reads them."""
    with running_server(tmp_path, config=TEXT) as server:
        publish(server, make_sdist())
        server.get("/simple/demo/")
        (page,) = lines_of(server, '"GET /simple/demo/"', 1)
        (upload,) = lines_of(server, '"POST /legacy/"', 1)
        (change,) = lines_of(server, "wheelyard.audit")

    who = f"token:{server.token[4:14]}"
    assert f'INFO wheelyard.access: 127.0.0.1 {who} "POST /legacy/" 200 ' in upload
    assert 'INFO wheelyard.access: 127.0.0.1 anonymous "GET /simple/demo/" 200 ' in page
    assert f"INFO wheelyard.audit: uploaded by {who}: demo: demo-1.0.tar.gz, " in change
    assert change.endswith(", from 127.0.0.1")
