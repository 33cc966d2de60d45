"""Requests that no honest client sends: never a 5xx, never a trace in the log."""

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.http.raw_client import exchange, raw_answer, raw_connection
from tests.http.servers import RunningServer

pytestmark = pytest.mark.integration

REFUSED = {400, 404, None}
"""None: the server hung up."""
DEMO = "/simple/demo/"


def get(path: str, *headers: str) -> bytes:
    """Write a request with a Host header, as it is."""
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *headers, "", "")).encode("latin-1")


BROKEN = {
    "no-host": b"GET /simple/ HTTP/1.1\r\n\r\n",
    "empty-host": b"GET /simple/ HTTP/1.1\r\nHost:\r\n\r\n",
    "two-hosts": b"GET /simple/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "host-with-a-path": get(DEMO).replace(b"Host: x", b"Host: x/simple"),
    "host-with-a-user": get(DEMO).replace(b"Host: x", b"Host: a@x"),
    "two-hosts-in-one": get(DEMO).replace(b"Host: x", b"Host: x, y"),
    "host-of-bytes": get(DEMO).replace(b"Host: x", b"Host: \xff"),
    "http-0.9": b"GET /simple/\r\n\r\n",
    "tls-handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n",
    "random-bytes": bytes(range(128, 256)) + b"\r\n\r\n",
    "two-lengths": get("/simple/", "Content-Length: 1", "Content-Length: 2") + b"ab",
    "negative-length": get("/simple/", "Content-Length: -1"),
    "length-with-a-plus": get("/simple/", "Content-Length: +4") + b"abcd",
    "leading-zeros": get("/simple/", f"Content-Length: {'0' * 5000}4") + b"abcd",
    "hexadecimal-length": get("/simple/", "Content-Length: 0x4") + b"abcd",
    "transfer-encoding": get("/simple/", "Transfer-Encoding: xchunked"),
    "twice-chunked": get(DEMO, "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "packed-and-chunked": get(DEMO, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "blank-before-colon": get("/simple/", "Accept : */*"),
    "folded-header": get("/simple/", "X-A: 1", " 2"),
    "nul-in-a-header": get("/simple/", "X-A: \0"),
    "bare-cr": get("/simple/", "X-A: a\rb: c"),
    "escaped-nul-in-a-path": get("/simple/%00/"),
    "line-break": get("/simple/%0d%0aX-A:%201/"),
    "no-utf-8-in-a-path": get("/simple/%ff/"),
    "overlong": get("/simple/%c0%ae%c0%ae/"),
    "surrogate": get("/simple/%ed%a0%80/"),
    "bad-escape-in-a-path": get("/simple/%zz/"),
    "lone-percent": get("/simple/%"),
    "half-escape": get("/simple/%4"),
    "high-byte": get("/simple/\xff/"),
    "nul-in-a-path": get("/simple/\0/"),
    "only-dots": get("/.."),
    "dots-without-slash": get("/simple/.."),
    "one-dot": get("/simple/%2e/"),
    "slash-in-a-name": get("/simple/de%2fmo"),
    "path-upwards": get("/simple/../../etc/passwd"),
    "encoded-slash": get("/files/..%2f..%2fetc/passwd"),
    "encoded-dots": get("/files/%2e%2e/%2e%2e/etc/passwd"),
    "twice-encoded": get("/files/%252e%252e%252fetc%252fpasswd/x"),
    "backslash": get("/files/..\\..\\etc\\passwd"),
    "to-the-store": get("/files/demo/../../credentials/tokens/x.json"),
    "key-of-the-store": get("/files/demo/" + "0" * 64 + "/..%2f..%2f..%2fprojects.json"),
    "other-host": get("//evil.example/simple/"),
    "kelvin-sign": get("/simple/%E2%84%AAube/"),
    "dotless-i": get("/simple/dem%C4%B1/"),
    "long-name": get(f"/simple/{'a' * 3000}/"),
    "empty-request-line": b" \r\n\r\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_request_is_refused(stocked_server: RunningServer, case: str) -> None:
    """A request that means nothing, or a path that no honest client has, is refused."""
    assert exchange(stocked_server, BROKEN[case]) in REFUSED
    assert stocked_server.get("/health").status_code == 200


ODD: dict[str, tuple[bytes, set[int | None]]] = {
    "foreign-host": (get(DEMO).replace(b"Host: x", b"Host: evil.example"), {200}),
    "absolute-target": (get("http://evil.example/simple/demo/"), {200, 400, 404}),
    "host-and-port": (get(DEMO).replace(b"Host: x", b"Host: a_b.example:8080"), {200}),
    "ipv6": (get(DEMO).replace(b"Host: x", b"Host: [fe80::1%25eth0]:80"), {200}),
    "host-with-an-escape": (get(DEMO).replace(b"Host: x", b"Host: a%20b."), {200}),
    "http-1.0": (b"GET /simple/demo/ HTTP/1.0\r\n\r\n", {200}),
    "high-bytes-in-headers": (get(DEMO, "Accept: \xff\xfe", "X-A: \x80"), {200, 400, 406}),
    "bare-line-feeds": (get(DEMO).replace(b"\r\n", b"\n"), {200, 400}),
    "leading-line-ends": (b"\r\n\r\n" + get(DEMO), {200, 400}),
    "90-headers": (get(DEMO, *(f"X-{n}: 1" for n in range(90))), {200}),
    "300-headers": (get("/simple/", *(f"X-{n}: 1" for n in range(300))), {431, 400, None}),
    "many-long-headers": (get(DEMO, *(f"X-{n}: {'x' * 900}" for n in range(40))), {431}),
    "long-headers": (get(DEMO, *(f"X-{n}: {'x' * 9000}" for n in range(4))), {431}),
    "chunked-in-capitals": (get(DEMO, "Transfer-Encoding: Chunked") + b"0\r\n\r\n", {200}),
    "type-twice": (get(DEMO, "Content-Type: a/b", "Content-Type: a/b"), {400}),
    "long-header": (get("/simple/", f"X-A: {'x' * 200_000}"), {431, 400, None}),
    "long-path": (get("/" + "a" * 5000), {414}),
    "longer-path": (get("/" + "a" * 70_000), {414, 431, 400, None}),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", {400, 405, None}),
    "asterisk": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", {301, 400, 404}),
    "options": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", {204}),
    "get-with-body": (get(DEMO, "Content-Length: 3") + b"abc", {200}),
    "two-slashes": (get("/simple//demo/"), {200}),
    "many-accept-lines": (get(DEMO, *["Accept: text/html;q=0.1"] * 80), {200}),
    "quality-in-other-digits": (get(DEMO, "Accept: text/html;q=\xd9\xa1"), {406}),
    "long-cookie": (get(DEMO, "Cookie: " + "a=b; " * 3200), {200}),
    "negative-page": (get(f"{DEMO}?page=-1"), {200}),
    "escaped-nul-in-a-query": (get(f"{DEMO}?q=%00"), {200, 400}),
    "bad-escape-in-a-query": (get(f"{DEMO}?q=%zz"), {200, 400}),
    "long-query": (get(f"{DEMO}?q={'x' * 100_000}"), {414, 431, 400, None}),
    "format-of-bytes": (get(f"{DEMO}?format=%ff%00"), {406}),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_request_is_answered_for_what_it_means(
    stocked_server: RunningServer, case: str
) -> None:
    """A request that is merely odd is answered for what it means."""
    data, expected = ODD[case]
    assert stocked_server.get(DEMO).status_code == 200  # in memory from here on
    for _ in range(2):
        assert exchange(stocked_server, data) in expected


def test_host_header_is_trusted_nowhere(stocked_server: RunningServer) -> None:
    """No page and no header repeats the host that a client claims to ask."""
    forged = ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher", "Forwarded: host=evil")
    for path in ("/", "/simple/", DEMO, "/project/demo/", "/pypi/demo/json", "/simple/Demo/"):
        with raw_connection(stocked_server) as line:
            head = "\r\n".join((f"GET {path} HTTP/1.1", "Host: evil.example", *forged, "", ""))
            line.send(head.encode())
            answer = line.reply()
        assert answer is not None
        assert b"evil" not in answer.body
        assert not any("evil" in value for _, value in answer.headers)


def test_http_1_0_is_closed_after_its_answer(stocked_server: RunningServer) -> None:
    """A client of HTTP/1.0 gets one answer, and the connection ends."""
    with raw_connection(stocked_server) as line:
        line.send(b"GET /simple/demo/ HTTP/1.0\r\n\r\n")
        answer = line.reply()
        assert answer is not None
        assert answer.status == 200
        assert line.is_closed()


def test_length_and_chunks_at_once_are_refused(stocked_server: RunningServer) -> None:
    """A body with a length and with chunks is refused, or ends the connection."""
    with raw_connection(stocked_server) as line:
        headers = ("Content-Length: 4", "Transfer-Encoding: chunked")
        line.ask("POST /legacy/ HTTP/1.1", *headers)
        line.send(b"0\r\n\r\nGET /simple/ HTTP/1.1\r\nHost: x\r\n\r\n")
        first = line.reply()
        assert first is None or 400 <= first.status < 500
        assert line.is_closed()


def test_pipelined_requests_are_answered_in_order(stocked_server: RunningServer) -> None:
    """Five requests that are sent at once get five answers, in order."""
    paths = ("/health", "/simple/nothing/", "/simple/demo/", "/packages/demo-1.0.tar.gz", "/ready")
    with raw_connection(stocked_server) as line:
        line.send(b"".join(get(path) for path in paths))
        answers = [line.reply() for _ in paths]
    statuses = [answer.status for answer in answers if answer is not None]
    assert statuses == [200, 404, 200, 200, 200]
    assert [len(answer.body) > 2 for answer in answers if answer] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_websocket_upgrade_is_ignored(stocked_server: RunningServer) -> None:
    """An upgrade to a WebSocket is not looked at: the answer is that to a GET."""
    upgrade = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    for path in ("/simple/", DEMO, "/"):
        plain = raw_answer(stocked_server, f"GET {path} HTTP/1.1")
        answer = raw_answer(stocked_server, f"GET {path} HTTP/1.1", *upgrade)
        assert (answer.status, answer.body) == (200, plain.body)
        assert {"upgrade", "sec-websocket-accept"}.isdisjoint(dict(answer.headers))


@pytest.mark.parametrize(
    ("path", "kind", "repeated"),
    [
        ("/project/{}/", "text/html", "&lt;img src=x onerror=alert(1)&gt;"),
        ("/simple/{}/", "text/html", "&lt;img src=x onerror=alert(1)&gt;"),
        ("/simple/{}/", "*/*", "<img src=x onerror=alert(1)>"),
        ("/{0}/{0}/", "text/html", ""),
        ("/{0}/{0}/", "*/*", ""),
    ],
    ids=["people", "index", "program", "nowhere", "nowhere-program"],
)
def test_markup_in_a_path_is_not_repeated(
    stocked_server: RunningServer, path: str, kind: str, repeated: str
) -> None:
    """Markup in a path comes back as text, or as JSON that no browser takes for a page."""
    markup = "<img src=x onerror=alert(1)>"
    answer = stocked_server.get(path.format(quote(markup)), Accept=kind)

    is_page = kind == "text/html"
    found = "text/html; charset=utf-8" if is_page else "application/json"
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, found)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert repeated in answer.text
    assert (markup in answer.text) is (repeated == markup)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
def test_long_headers_are_not_kept(stocked_server: RunningServer) -> None:
    """Hundreds of requests with huge headers leave less than 20 MB in the server's memory."""
    stocked_server.get(DEMO)
    before = memory(stocked_server)
    for number in range(200):
        exchange(stocked_server, get(DEMO, f"Accept: {number}{'x' * 200_000}"))
    assert memory(stocked_server) - before < 20_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
def test_spellings_of_a_path_are_not_kept(stocked_server: RunningServer) -> None:
    """Thousands of spellings of one page's path leave less than 10 MB in the server's memory."""
    stocked_server.get(DEMO)
    before = memory(stocked_server)
    for start in range(0, 4000, 100):
        with raw_connection(stocked_server) as line:
            for number in range(start, start + 100):
                slashes = "/" * (1 + number // 2), "/" * (3900 - number // 2)
                line.send(get(f"{slashes[0]}simple{slashes[1]}{('demo', '%64emo')[number % 2]}/"))
            answers = [line.reply() for _ in range(100)]
        assert {answer.status for answer in answers if answer} == {200}
    assert memory(stocked_server) - before < 10_000


def memory(server: RunningServer) -> int:
    """Return the KiB of memory that a server holds."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_names_that_are_not_there_cost_little(stocked_server: RunningServer) -> None:
    """Hundreds of unknown names are refused, and leave nothing in memory."""
    kept = stocked_server.kept()
    for number in range(300):
        assert stocked_server.get(f"/simple/random-{number}/").status_code == 404
    assert stocked_server.kept() == kept


def test_log_is_quiet(stocked_server: RunningServer) -> None:
    """Nothing that a client does wrong is worth a line in the log."""
    logged = [line for line in stocked_server.log.splitlines() if " wheelyard.audit: " not in line]
    logged = [line for line in logged if not line.startswith("wheelyard: made ")]
    assert logged == []
