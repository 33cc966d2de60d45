"""Which form of a page each client gets, as the clients of today really ask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.in_process import InProcessServer
from wheelyard.http.representation import MediaType, accepts_gzip, best_media_type

V1_JSON = "application/vnd.pypi.simple.v1+json"
V1_HTML = "application/vnd.pypi.simple.v1+html"
HTML = "text/html; charset=utf-8"
PLAIN = "application/json"
PAGES = ("/simple/", "/simple/demo/")

PIP = f"{V1_JSON}, {V1_HTML}; q=0.1, text/html; q=0.01"
CLIENTS = {
    "pip": (PIP, V1_JSON),
    "uv": (f"{V1_JSON}, {V1_HTML};q=0.2, text/html;q=0.01", V1_JSON),
    "poetry": (f"{V1_JSON}, */*;q=0.1", V1_JSON),
    "poetry-for-pypi": (V1_JSON, V1_JSON),
    "pipenv-pylock": (f"{V1_JSON}, {V1_HTML};q=0.2, text/html;q=0.1", V1_JSON),
    "pipenv-hashes": ("*/*", HTML),
    "hatch": ("*/*", HTML),
    "browser": ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
    "dependabot-html": ("text/html", HTML),
    "dependabot-json": ("application/json", PLAIN),
    "uv-upload": ("application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7", PLAIN),
}
RULES = {
    "latest-json": ("application/vnd.pypi.simple.latest+json", V1_JSON),
    "latest-html": ("application/vnd.pypi.simple.latest+html", V1_HTML),
    "v1-html": (V1_HTML, V1_HTML),
    "application-any": ("application/*", V1_JSON),
    "text-any": ("text/*", HTML),
    "tie-prefers-json": (f"text/html, {V1_HTML}, {V1_JSON}", V1_JSON),
    "tie-prefers-v1-html": (f"text/html, {V1_HTML}", V1_HTML),
    "exact-beats-range": (f"application/*, {V1_JSON};q=0.1", V1_HTML),
    "zero-excludes": (f"{V1_JSON};q=0, text/html;q=0.1", HTML),
    "case-and-blanks": ("  TEXT/HTML ; Q=1 ", HTML),
    "malformed-are-skipped": (f"/, ;;, a/b/c, {V1_JSON};q=banana, text/html;q=0.1", HTML),
    "empty": ("", HTML),
    "too-long-counts-as-anything": (f"{V1_JSON}, " + "x/y, " * 1000, HTML),
    "unknown-and-known": ("application/vnd.pypi.simple.v2+json, text/html;q=0.1", HTML),
    "v2-only": ("application/vnd.pypi.simple.v2+json", None),
    "image": ("image/png", None),
    "nothing-at-all": ("*/*;q=0", None),
    "html-forbidden": ("text/html;q=0, */*", None),
    "range-beats-anything": ("application/*;q=0.5, text/*;q=0.1, */*", V1_JSON),
}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("accept", "kind"), CLIENTS.values(), ids=CLIENTS)
def test_client_gets_what_it_reads(
    stocked_app: InProcessServer, path: str, accept: str, kind: str
) -> None:
    """Each client gets the form that it can read, asked again and again."""
    for _ in range(3):  # the page comes from the renderer first, and then from memory
        answer = stocked_app.raw(f"GET {path}", f"Accept: {accept}")
        assert (answer.status, answer.header("content-type")) == (200, kind)
        assert answer.header("vary") == "Accept, Accept-Encoding"


@pytest.mark.parametrize(("accept", "kind"), RULES.values(), ids=RULES)
def test_best_suited_form_is_sent(accept: str, kind: str | None) -> None:
    """The form that suits an Accept header best is sent, and nothing if no form suits."""
    assert kind_for(accept) == kind


def kind_for(accept: str) -> str | None:
    """Return the type of the form that suits an Accept header."""
    form = best_media_type(accept.encode())
    return None if form is None else form.value.content_type.decode()


@pytest.mark.parametrize("path", PAGES)
def test_unsuitable_form_is_not_acceptable(stocked_app: InProcessServer, path: str) -> None:
    """A client that takes no form that there is gets a 406, and one that names none gets HTML."""
    for accept in ("image/png", "*/*;q=0"):
        answer = stocked_app.raw(f"GET {path}", f"Accept: {accept}")
        assert (answer.status, answer.header("content-type")) == (406, "application/json")
        assert answer.header("vary") == "Accept, Accept-Encoding"
    assert stocked_app.raw(f"GET {path}").header("content-type") == HTML


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("format=application/vnd.pypi.simple.v1%2Bjson", V1_JSON),
        ("format=application/vnd.pypi.simple.v1+json", V1_JSON),
        ("format=application/vnd.pypi.simple.latest%2Bjson", V1_JSON),
        ("format=application%2Fvnd.pypi.simple.v1%2Bhtml", V1_HTML),
        ("format=application/vnd.pypi.simple.latest+html", V1_HTML),
        ("x=1&format=text/html", HTML),
        ("format=json", None),
        ("format=", None),
        ("format=application/vnd.pypi.simple.v2+json", None),
        ("noformat=1", V1_JSON),
        ("page=-1", V1_JSON),
    ],
)
def test_format_in_the_query_decides(
    stocked_app: InProcessServer, query: str, kind: str | None
) -> None:
    """`?format=` decides whatever Accept says, and an unknown format is 406."""
    for path in PAGES:
        answer = stocked_app.raw(f"GET {path}?{query}", f"Accept: {V1_JSON}")
        assert answer.status == (406 if kind is None else 200)
        if kind is not None:
            assert answer.header("content-type") == kind


def test_home_is_for_people_and_programs(stocked_app: InProcessServer) -> None:
    """`/` is the page for people, and the list of projects for an installer."""
    assert stocked_app.raw("GET /", f"Accept: {PIP}").header("content-type") == V1_JSON
    for accept in ("text/html", "*/*"):
        page = stocked_app.raw("GET /", f"Accept: {accept}")
        assert page.header("content-type") == HTML
        assert b"<h1>" in page.body


LIKELY = st.text("*/;q=0.1, applicationtexthtmljson+", max_size=60).map(str.encode)


@given(st.binary(max_size=60) | LIKELY)
def test_any_accept_header_has_an_answer(header: bytes) -> None:
    """Whatever is sent has an answer, and nothing is compressed for who does not ask for it."""
    assert best_media_type(header) in (None, *MediaType)
    is_packed = accepts_gzip({b"accept-encoding": header})
    assert not is_packed or b"*" in header or b"gzip" in header.lower()
