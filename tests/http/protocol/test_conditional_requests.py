"""Conditional and range requests, row by row of RFC 9110 (sections 5.3, 13 and 14)."""

import json
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.packages import publish
from tests.http.raw_client import basic, raw_answer
from tests.http.servers import RunningServer, token_of
from wheelyard.storage.local import LocalStore

DEMO = make_wheel("conditions", content=bytes(range(256)) * 8)
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
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An application over a folder, with a wheel of some thousand bytes."""
    folder = tmp_path_factory.mktemp("conditions")
    with in_process(folder, store=LocalStore(folder / "store", Random(1))) as app:
        app.publish(DEMO)
        yield app


class Row(NamedTuple):
    """A request and its expected response; `{}` in a header stands for the file's ETag."""

    headers: tuple[str, ...]
    status: int
    part: tuple[int, int] | None = None
    """The range that is sent, where it is one."""


def rows(name: str, status: int, *values: str, also: tuple[str, ...] = ()) -> dict[str, Row]:
    """Return a row for each value of a header, which comes after the headers `also`."""
    return {
        f"{name} {status} {number}": Row((*also, f"{name}: {value}"), status)
        for number, value in enumerate(values)
    }


CONDITIONS = {
    # 13.1.1: If-Match is compared strongly
    **rows("If-Match", 200, "{}", "*", " * ", f"{OTHER}, {{}}", ", {} ,,"),
    **rows("If-Match", 412, OTHER, "W/{}", "garbage", "", '"'),
    "match-in-two-lines": Row((f"If-Match: {OTHER}", "If-Match: {}"), 200),
    "match-in-two-lines-first": Row(("If-Match: {}", f"If-Match: {OTHER}"), 200),
    # 13.1.2: If-None-Match is compared weakly
    **rows("If-None-Match", 304, "{}", "W/{}", "*", f"{OTHER}, W/{{}}", f"{OTHER},{{}},{OTHER}"),
    **rows("If-None-Match", 200, OTHER, "garbage", ""),
    "none-in-two-lines": Row((f"If-None-Match: {OTHER}", "If-None-Match: {}"), 304),
    "none-in-two-lines-first": Row(("If-None-Match: {}", f"If-None-Match: {OTHER}"), 304),
    # 13.1.3 and 13.1.4: without a date of modification, dates decide nothing
    **rows("If-Modified-Since", 200, *DATES),
    **rows("If-Unmodified-Since", 200, *DATES),
    # 13.2.2: which comes first
    "match-before-none": Row((f"If-Match: {OTHER}", "If-None-Match: {}"), 412),
    "match-then-none": Row(("If-Match: {}", "If-None-Match: {}"), 304),
    "match-before-a-date": Row(("If-Match: {}", f"If-Unmodified-Since: {PAST}"), 200),
    "none-before-a-date": Row((f"If-None-Match: {OTHER}", f"If-Modified-Since: {FUTURE}"), 200),
    "none-and-a-date": Row(("If-None-Match: {}", f"If-Modified-Since: {PAST}"), 304),
}


@pytest.mark.parametrize("row", CONDITIONS)
@pytest.mark.parametrize("path", [*PAGES, FILE, METADATA])
def test_condition_is_met_or_not_as_in_rfc_9110(app: InProcessServer, path: str, row: str) -> None:
    """A condition on a page, a file or its metadata is met or not, alike for GET and HEAD."""
    whole = app.raw(f"GET {path}")
    expected = CONDITIONS[row]
    headers = [header.format(whole.header("etag")) for header in expected.headers]
    for method in ("GET", "HEAD"):
        answer = app.raw(f"{method} {path}", *headers)
        assert answer.status == expected.status
        if answer.status == 412:
            assert answer.headers.keys().isdisjoint({"etag", "last-modified"})
            assert method == "HEAD" or b'"precondition_failed"' in answer.body
            continue
        # 15.4.5: a 304 has what the cache of the client needs
        for name in ("etag", "cache-control", "vary", "x-content-type-options", "date"):
            assert (name in answer.headers) == (name in whole.headers), name
        assert answer.header("etag") == whole.header("etag")
        assert answer.body == (whole.body if (answer.status, method) == (200, "GET") else b"")


SIZE = {FILE: len(DEMO.body), METADATA: len(DEMO.metadata)}
HUGE = "9" * 900
FIVE = "Range: bytes=5-9"
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
    **rows("Range", 416, "bytes=99999-", "bytes=99999-999999", f"bytes={HUGE}-", "bytes=-0"),
    **rows(
        "Range",
        200,
        *("bytes=9-5", "bytes=0-0,5-9", "bytes=0-,0-,0-", "pages=0-1", "0-1", ""),
        *("bytes=", "bytes=-", "bytes=one-two", "bytes=+1-2", "bytes=1_0-2_0", "bytes=0x1-0x2"),
        *("bytes=\xd9\xa3-",),
    ),
    "several-in-two-lines": Row(("Range: bytes=0-0", "Range: bytes=5-9"), 200),
    "thousands": Row((f"Range: bytes={','.join(f'{n}-{n}' for n in range(3000))}",), 200),
    "endless": Row((f"Range: bytes={'9' * 5000}-",), 200),
    # 13.1.5: If-Range is compared strongly, and a date with no date is another
    "if-range-same": Row((FIVE, "If-Range: {}"), 206, (5, 9)),
    **rows("If-Range", 200, "W/{}", OTHER, "{}, {}", "*", FUTURE, "garbage", "", also=(FIVE,)),
    "if-range-twice": Row((FIVE, "If-Range: {}", "If-Range: {}"), 200),
    "if-range-alone": Row(("If-Range: {}",), 200),
    "if-range-behind": Row(("Range: bytes=99999-", "If-Range: {}"), 416),
    "if-range-other-behind": Row(("Range: bytes=99999-", f"If-Range: {OTHER}"), 200),
    # 13.2.2: conditions come before ranges
    "none-before-range": Row((FIVE, "If-None-Match: {}"), 304),
    "none-before-behind": Row(("Range: bytes=99999-", "If-None-Match: {}"), 304),
    "none-other-then-range": Row((FIVE, f"If-None-Match: {OTHER}"), 206, (5, 9)),
    "match-then-range": Row((FIVE, "If-Match: {}"), 206, (5, 9)),
    "match-before-range": Row((FIVE, f"If-Match: {OTHER}"), 412),
    "match-before-behind": Row(("Range: bytes=99999-", f"If-Match: {OTHER}"), 412),
    "date-then-range": Row((FIVE, f"If-Unmodified-Since: {PAST}"), 206, (5, 9)),
}


@pytest.mark.parametrize("row", RANGES)
@pytest.mark.parametrize("path", [FILE])
def test_range_is_sent_refused_or_ignored(app: InProcessServer, path: str, row: str) -> None:
    """A range of a file is sent exactly, refused with the size, or ignored."""
    whole = app.raw(f"GET {path}")
    size, expected, etag = SIZE[path], RANGES[row], whole.header("etag")
    headers = [header.format(etag, etag) for header in expected.headers]
    answer = app.raw(f"GET {path}", *headers)
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
        assert "content-range" not in answer.headers
        assert answer.body == whole.body or answer.status != 200
    # 14.2: a range is of GET alone
    head = app.raw(f"HEAD {path}", *headers)
    assert head.status == (answer.status if answer.status in (304, 412) else 200)
    assert "content-range" not in head.headers


OF_A_PART = ("content-range", "content-length", "date")


def _without(answer: InProcessResponse, *names: str) -> list[tuple[str, str]]:
    return sorted(header for header in answer.lines if header[0] not in names)


@pytest.mark.parametrize("path", [*PAGES, METADATA])
def test_page_has_no_ranges(app: InProcessServer, path: str) -> None:
    """A page is always whole, and says nothing of ranges."""
    whole = app.raw(f"GET {path}")
    answer = app.raw(f"GET {path}", "Range: bytes=0-3")
    assert (answer.status, answer.body) == (200, whole.body)
    assert "accept-ranges" not in answer.headers


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
def test_condition_on_a_missing_page_is_not_looked_at(
    app: InProcessServer, path: str, status: int, condition: str
) -> None:
    """Without a page or a file, no condition is looked at (RFC 9110, 13.2.1)."""
    answer = app.raw(f"GET {path}", condition.format(OTHER))
    assert answer.status == status


@pytest.mark.parametrize("condition", [OTHER, "*", "garbage"])
def test_change_bound_to_an_etag_is_not_made(app: InProcessServer, condition: str) -> None:
    """A change that is bound to an ETag is not made: nothing that can be changed has one."""
    wanted = 200 if condition == "*" else 412
    token = token_of(app.index, can="read,manage")
    headers = (basic("x", token), "Content-Type: application/json")
    path = "/api/v1/projects/conditions"

    def ask(status: str, *condition: str) -> int:
        body = json.dumps({"status": status}).encode()
        return app.raw(f"POST {path}/status", *headers, *condition, body=body).status

    assert ask("deprecated", f"If-Match: {condition}") == wanted
    shown = json.loads(app.raw(f"GET {path}").body)["project-status"]["status"]
    assert shown == ("deprecated" if wanted == 200 else "active")
    assert ask("active") == 200


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (("Accept: text/html;q=0.1", "Accept: application/json"), "application/json"),
        (("Accept: application/json", "Accept: text/html;q=0.1"), "application/json"),
        (("Accept: application/nothing", "Accept: text/html"), "text/html; charset=utf-8"),
    ],
)
def test_list_in_two_lines_is_one_list(
    app: InProcessServer, lines: tuple[str, ...], kind: str
) -> None:
    """A list that comes in two lines of a head is one list (RFC 9110, 5.3)."""
    answer = app.raw("GET /simple/conditions/", *lines)
    assert answer.header("content-type") == kind


def test_second_content_encoding_hides_no_first(app: InProcessServer) -> None:
    """A body that is said to be compressed is refused, whatever a second line says of it."""
    lines = (
        "Content-Encoding: gzip",
        "Content-Encoding: identity",
        basic("x", token_of(app.index, can="upload")),
    )
    form = "Content-Type: multipart/form-data; boundary=f"
    answer = app.raw("POST /legacy/", *lines, form, body=b"--f--\r\n")
    assert answer.status == 415


OVER_A_WIRE = ("If-Match 412 0", "If-None-Match 304 0", "none-in-two-lines", "several-in-two-lines")


@pytest.mark.integration
@pytest.mark.parametrize("row", [*OVER_A_WIRE, "middle", "Range 416 0"])
def test_conditions_and_ranges_come_over_a_wire(server: RunningServer, row: str) -> None:
    """A server gets each line of a condition or a range, and says in its answer what came of it."""
    publish(server, DEMO)
    expected = (CONDITIONS | RANGES)[row]
    headers = [header.format(f'"{DEMO.sha256}"') for header in expected.headers]
    answer = raw_answer(server, f"GET {FILE} HTTP/1.1", *headers)

    assert answer.status == expected.status
    assert answer.body == DEMO.body[5:10] or expected.part is None
    assert ("content-range" in dict(answer.headers)) == (answer.status in (206, 416))
