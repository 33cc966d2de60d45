"""Conditional and range requests, row by row of RFC 9110 (sections 5.3, 13 and 14)."""

from dataclasses import dataclass

import pytest

from tests.http.packages import publish, wheel
from tests.http.raw_client import RawResponse, ask, basic
from tests.http.servers import RunningServer

pytestmark = pytest.mark.integration

DEMO = wheel("conditions", filler=bytes(range(256)) * 8)
FILE = f"/files/conditions/{DEMO.sha256}/{DEMO.filename}"
METADATA = f"{FILE}.metadata"
PAGES = (
    *("/simple/conditions/", "/simple/", "/", "/project/conditions/", "/pypi/conditions/json"),
    "/search.json",
)
OTHER = '"00000000000000000000000000000000-hi"'
PAST, FUTURE = "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 06 Nov 2093 08:49:37 GMT"
DATES = (PAST, FUTURE, "garbage")


@pytest.fixture(scope="module")
def published(server: RunningServer) -> RunningServer:
    """The server with a wheel of some thousand bytes."""
    publish(server, DEMO)
    return server


@dataclass(frozen=True)
class Row:
    """
    A request and its expected response; `{}` in a header stands for the file's ETag.

    Args:
        headers: Of the request.
        status: Of the answer.
        part: The range that is sent, where it is one.
    """

    headers: tuple[str, ...]
    status: int
    part: tuple[int, int] | None = None


CONDITIONS = {
    # 13.1.1: If-Match is compared strongly
    "match-same": Row(("If-Match: {}",), 200),
    "match-any": Row(("If-Match: *",), 200),
    "match-any-with-blanks": Row(("If-Match:  * ",), 200),
    "match-in-a-list": Row((f"If-Match: {OTHER}, {{}}",), 200),
    "match-in-two-lines": Row((f"If-Match: {OTHER}", "If-Match: {}"), 200),
    "match-in-two-lines-first": Row(("If-Match: {}", f"If-Match: {OTHER}"), 200),
    "match-list-with-empty-elements": Row(("If-Match: , {} ,,",), 200),
    "match-other": Row((f"If-Match: {OTHER}",), 412),
    "match-weak": Row(("If-Match: W/{}",), 412),
    "match-garbage": Row(("If-Match: garbage",), 412),
    "match-empty": Row(("If-Match:",), 412),
    "match-half-quoted": Row(('If-Match: "',), 412),
    # 13.1.2: If-None-Match is compared weakly
    "none-same": Row(("If-None-Match: {}",), 304),
    "none-weak": Row(("If-None-Match: W/{}",), 304),
    "none-any": Row(("If-None-Match: *",), 304),
    "none-in-a-list": Row((f"If-None-Match: {OTHER}, W/{{}}",), 304),
    "none-in-a-list-without-blanks": Row((f"If-None-Match: {OTHER},{{}},{OTHER}",), 304),
    "none-in-two-lines": Row((f"If-None-Match: {OTHER}", "If-None-Match: {}"), 304),
    "none-in-two-lines-first": Row(("If-None-Match: {}", f"If-None-Match: {OTHER}"), 304),
    "none-other": Row((f"If-None-Match: {OTHER}",), 200),
    "none-garbage": Row(("If-None-Match: garbage",), 200),
    "none-empty": Row(("If-None-Match:",), 200),
    # 13.1.3 and 13.1.4: without a date of modification, dates decide nothing
    **{f"modified-since-{each}": Row((f"If-Modified-Since: {each}",), 200) for each in DATES},
    **{f"unmodified-since-{each}": Row((f"If-Unmodified-Since: {each}",), 200) for each in DATES},
    # 13.2.2: which comes first
    "match-before-none": Row((f"If-Match: {OTHER}", "If-None-Match: {}"), 412),
    "match-then-none": Row(("If-Match: {}", "If-None-Match: {}"), 304),
    "match-before-a-date": Row(("If-Match: {}", f"If-Unmodified-Since: {PAST}"), 200),
    "none-before-a-date": Row((f"If-None-Match: {OTHER}", f"If-Modified-Since: {FUTURE}"), 200),
    "none-and-a-date": Row(("If-None-Match: {}", f"If-Modified-Since: {PAST}"), 304),
}


@pytest.mark.parametrize("row", CONDITIONS)
@pytest.mark.parametrize("path", [*PAGES, FILE, METADATA])
def test_condition(published: RunningServer, path: str, row: str) -> None:
    """A condition on a page, a file or its metadata is met or not, alike for GET and HEAD."""
    whole = ask(published, f"GET {path} HTTP/1.1")
    expected = CONDITIONS[row]
    headers = [each.format(whole.header("etag")) for each in expected.headers]
    for method in ("GET", "HEAD"):
        answer = ask(published, f"{method} {path} HTTP/1.1", *headers)
        assert answer.status == expected.status
        if answer.status == 412:
            assert dict(answer.headers).keys().isdisjoint({"etag", "last-modified"})
            assert method == "HEAD" or b'"precondition_failed"' in answer.body
            continue
        # 15.4.5: a 304 has what the cache of the client needs
        for name in ("etag", "cache-control", "vary", "x-content-type-options", "date"):
            assert (name in dict(answer.headers)) == (name in dict(whole.headers)), name
        assert answer.header("etag") == whole.header("etag")
        assert answer.body == (whole.body if (answer.status, method) == (200, "GET") else b"")


SIZE = {FILE: len(DEMO.data), METADATA: len(DEMO.metadata)}
HUGE = "9" * 900
RANGES = {
    "first": Row(("Range: bytes=0-0",), 206, (0, 0)),
    "middle": Row(("Range: bytes=5-9",), 206, (5, 9)),
    "open": Row(("Range: bytes=5-",), 206, (5, -1)),
    "last": Row(("Range: bytes=-1",), 206, (-1, -1)),
    "suffix-longer-than-all": Row(("Range: bytes=-99999",), 206, (0, -1)),
    "suffix-that-overflows": Row((f"Range: bytes=-{HUGE}",), 206, (0, -1)),
    "end-behind-the-end": Row(("Range: bytes=5-99999",), 206, (5, -1)),
    "end-that-overflows": Row((f"Range: bytes=5-{HUGE}",), 206, (5, -1)),
    "leading-zeros": Row(("Range: bytes=0005-00009",), 206, (5, 9)),
    "unit-in-capitals": Row(("Range: Bytes=5-9",), 206, (5, 9)),
    "behind": Row(("Range: bytes=99999-",), 416),
    "behind-with-an-end": Row(("Range: bytes=99999-999999",), 416),
    "behind-that-overflows": Row((f"Range: bytes={HUGE}-",), 416),
    "empty-suffix": Row(("Range: bytes=-0",), 416),
    "backwards": Row(("Range: bytes=9-5",), 200),
    "several": Row(("Range: bytes=0-0,5-9",), 200),
    "several-that-overlap": Row(("Range: bytes=0-,0-,0-",), 200),
    "several-in-two-lines": Row(("Range: bytes=0-0", "Range: bytes=5-9"), 200),
    "other-unit": Row(("Range: pages=0-1",), 200),
    "no-unit": Row(("Range: 0-1",), 200),
    "no-range": Row(("Range: bytes=",), 200),
    "no-numbers": Row(("Range: bytes=-",), 200),
    "words": Row(("Range: bytes=one-two",), 200),
    "sign": Row(("Range: bytes=+1-2",), 200),
    "underscore": Row(("Range: bytes=1_0-2_0",), 200),
    "hexadecimal": Row(("Range: bytes=0x1-0x2",), 200),
    "empty": Row(("Range:",), 200),
    "digits-of-others": Row(("Range: bytes=\xd9\xa3-",), 200),
    "thousands": Row((f"Range: bytes={','.join(f'{n}-{n}' for n in range(3000))}",), 200),
    "endless": Row((f"Range: bytes={'9' * 5000}-",), 200),
    # 13.1.5: If-Range is compared strongly, and a date with no date is another
    "if-range-same": Row(("Range: bytes=5-9", "If-Range: {}"), 206, (5, 9)),
    "if-range-weak": Row(("Range: bytes=5-9", "If-Range: W/{}"), 200),
    "if-range-other": Row(("Range: bytes=5-9", f"If-Range: {OTHER}"), 200),
    "if-range-list": Row(("Range: bytes=5-9", "If-Range: {}, {}"), 200),
    "if-range-twice": Row(("Range: bytes=5-9", "If-Range: {}", "If-Range: {}"), 200),
    "if-range-any": Row(("Range: bytes=5-9", "If-Range: *"), 200),
    "if-range-date": Row(("Range: bytes=5-9", f"If-Range: {FUTURE}"), 200),
    "if-range-garbage": Row(("Range: bytes=5-9", "If-Range: garbage"), 200),
    "if-range-empty": Row(("Range: bytes=5-9", "If-Range:"), 200),
    "if-range-alone": Row(("If-Range: {}",), 200),
    "if-range-behind": Row(("Range: bytes=99999-", "If-Range: {}"), 416),
    "if-range-other-behind": Row(("Range: bytes=99999-", f"If-Range: {OTHER}"), 200),
    # 13.2.2: conditions come before ranges
    "none-before-range": Row(("Range: bytes=5-9", "If-None-Match: {}"), 304),
    "none-before-behind": Row(("Range: bytes=99999-", "If-None-Match: {}"), 304),
    "none-other-then-range": Row(("Range: bytes=5-9", f"If-None-Match: {OTHER}"), 206, (5, 9)),
    "match-then-range": Row(("Range: bytes=5-9", "If-Match: {}"), 206, (5, 9)),
    "match-before-range": Row(("Range: bytes=5-9", f"If-Match: {OTHER}"), 412),
    "match-before-behind": Row(("Range: bytes=99999-", f"If-Match: {OTHER}"), 412),
    "date-then-range": Row(("Range: bytes=5-9", f"If-Unmodified-Since: {PAST}"), 206, (5, 9)),
}


@pytest.mark.parametrize("row", RANGES)
@pytest.mark.parametrize("path", [FILE])
def test_range(published: RunningServer, path: str, row: str) -> None:
    """A range of a file is sent exactly, refused with the size, or ignored."""
    whole = ask(published, f"GET {path} HTTP/1.1")
    size, expected, etag = SIZE[path], RANGES[row], whole.header("etag")
    headers = [each.format(etag, etag) for each in expected.headers]
    answer = ask(published, f"GET {path} HTTP/1.1", *headers)
    assert answer.status == expected.status
    if expected.part is not None:
        first, last = (each % size for each in expected.part)
        assert answer.header("content-range") == f"bytes {first}-{last}/{size}"
        assert answer.body == whole.body[first : last + 1]
        assert answer.header("content-length") == str(len(answer.body))
        assert _without(answer, *OF_A_PART) == _without(whole, *OF_A_PART)
    elif answer.status == 416:
        assert answer.header("content-range") == f"bytes */{size}"
    else:
        assert "content-range" not in dict(answer.headers)
        assert answer.body == whole.body or answer.status != 200
    # 14.2: a range is of GET alone
    head = ask(published, f"HEAD {path} HTTP/1.1", *headers)
    assert head.status == (answer.status if answer.status in (304, 412) else 200)
    assert "content-range" not in dict(head.headers)


OF_A_PART = ("content-range", "content-length", "date")


def _without(answer: RawResponse, *names: str) -> list[tuple[str, str]]:
    return sorted(each for each in answer.headers if each[0] not in names)


@pytest.mark.parametrize("path", [*PAGES, METADATA])
def test_page_has_no_ranges(published: RunningServer, path: str) -> None:
    """A page is always whole, and says nothing of ranges."""
    whole = ask(published, f"GET {path} HTTP/1.1")
    answer = ask(published, f"GET {path} HTTP/1.1", "Range: bytes=0-3")
    assert (answer.status, answer.body) == (200, whole.body)
    assert "accept-ranges" not in dict(answer.headers)


@pytest.mark.parametrize(
    "condition", ["If-Match: {}", "If-None-Match: *", "Range: bytes=0-3", "If-Match: *"]
)
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/simple/nothing/", 404),
        (FILE.replace("conditions-", "nothing-"), 404),
        ("/simple/Conditions/", 301),
        ("/simple/conditions", 301),
        ("/pypi/nothing/json", 404),
        ("/api/v1/projects/nothing", 404),
    ],
)
def test_condition_on_what_is_not_there(
    published: RunningServer, path: str, status: int, condition: str
) -> None:
    """Without a page or a file, no condition is looked at (13.2.1)."""
    answer = ask(published, f"GET {path} HTTP/1.1", condition.format(OTHER))
    assert answer.status == status


@pytest.mark.parametrize("condition", [OTHER, "*", "garbage"])
def test_change_on_a_condition(published: RunningServer, condition: str) -> None:
    """A change that is bound to an ETag is not made: nothing that can be changed has one."""
    wanted = 200 if condition == "*" else 412
    headers = (
        basic("x", published.token),
        "Content-Type: application/json",
        f"If-Match: {condition}",
    )
    path = "/api/v1/projects/conditions/status"
    answer = ask(published, f"POST {path} HTTP/1.1", *headers, body=b'{"status": "deprecated"}')
    assert answer.status == wanted
    shown = published.get("/api/v1/projects/conditions").json()["project-status"]["status"]
    assert shown == ("deprecated" if wanted == 200 else "active")
    published.change("conditions", "status", status="active")


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (("Accept: text/html;q=0.1", "Accept: application/json"), "application/json"),
        (("Accept: application/json", "Accept: text/html;q=0.1"), "application/json"),
        (("Accept: application/nothing", "Accept: text/html"), "text/html; charset=utf-8"),
    ],
)
def test_header_in_two_lines(published: RunningServer, lines: tuple[str, ...], kind: str) -> None:
    """A list that comes in two lines is one list (5.3)."""
    answer = ask(published, "GET /simple/conditions/ HTTP/1.1", *lines)
    assert answer.header("content-type") == kind


def test_second_content_encoding_hides_no_first(published: RunningServer) -> None:
    """A body that is said to be compressed is refused, whatever a second line says of it."""
    lines = ("Content-Encoding: gzip", "Content-Encoding: identity", basic("x", published.token))
    form = "Content-Type: multipart/form-data; boundary=f"
    answer = ask(published, "POST /legacy/ HTTP/1.1", *lines, form, body=b"--f--\r\n")
    assert answer.status == 415
