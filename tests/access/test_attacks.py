"""Attacks without a test elsewhere; README.md lists the test of each attack."""

import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.access.access_fixture import (
    EXISTING,
    KINDS,
    OTHER,
    PASSWORD,
    AccessHarness,
    assertion,
    id_token,
    open_harness,
    put_behind_the_proxy,
)
from tests.access.principals import Headers, basic, bearer, by_minted_token
from tests.authentication.verifiers.fake_issuer import CannedResponse as Fault
from tests.distributions import make_wheel
from tests.http.packages import form
from tests.in_process_network import InProcessNetwork, NetworkOrPorts
from wheelyard.wiring.stores import system_runtime

V1 = ("accept", "application/vnd.pypi.simple.v1+json")
READER, MANAGER = basic("reader", PASSWORD), basic("manager", PASSWORD)
STRANGER = basic("stranger", PASSWORD)


@pytest.fixture(scope="module")
def harness(
    tmp_path_factory: pytest.TempPathFactory, process_network: InProcessNetwork
) -> Iterator[AccessHarness]:
    """An index where anybody may read `open-*`, with a CDN before it."""
    http = {"public_max_age": 600}
    with open_harness(
        tmp_path_factory.mktemp("place"), network=process_network, http=http
    ) as harness:
        yield harness


@pytest.fixture(scope="module")
def proxied(
    tmp_path_factory: pytest.TempPathFactory, process_network: InProcessNetwork
) -> Iterator[AccessHarness]:
    """An index where anybody may read `open-*`, behind Google's proxy."""
    with open_harness(
        tmp_path_factory.mktemp("proxied"), network=process_network, adjust=put_behind_the_proxy
    ) as harness:
        yield harness


@pytest.mark.parametrize(
    ("spelling", "status"),
    [
        ("{}", 404),
        ("{}.", 404),
        ("-{}", 404),
        ("{}%00", 400),
        ("{};a=b", 404),
        ("{}%2f..%2fopen-lib", 404),
        ("..%2f{}", 404),
        ("{}%20", 404),
        ("{}::$DATA", 404),
    ],
)
def test_spelling_of_a_name_opens_nothing(
    harness: AccessHarness, spelling: str, status: int
) -> None:
    """However a name is spelt, who may not read the project is refused without a look."""
    for path in ("/simple/{}/", "/pypi/{}/json", "/project/{}/", "/files/{}/shut_lib-1.0.whl"):
        answer = harness.request("GET", path.format(spelling.format("shut-lib")), STRANGER)
        assert answer.status == status
        assert answer.store_keys == ()


@pytest.mark.parametrize(
    ("letters", "status"),
    [
        ("%EF%BD%93hut-lib", 404),
        ("%C5%BFhut-lib", 404),
        ("shut-l%C4%B1b", 404),
        ("shut-li%E2%84%AA", 404),
        ("%FF", 400),
    ],
)
def test_letters_that_look_alike_are_no_name(
    harness: AccessHarness, letters: str, status: int
) -> None:
    """Letters that only look like those of a name, or fold to them, are no name."""
    for headers in (READER, MANAGER):
        answer = harness.request("GET", f"/simple/{letters}/", headers)
        assert answer.status == status
        assert answer.store_keys == ()


@pytest.mark.parametrize("header", ["x-original-url", "x-rewrite-url", "x-forwarded-prefix"])
def test_path_in_a_header_is_ignored(harness: AccessHarness, header: str) -> None:
    """A path that a header claims is neither decided about nor answered."""
    answer = harness.request("GET", "/simple/open-lib/", ((header, "/simple/shut-lib/"), V1))
    assert json.loads(answer.body)["name"] == "open-lib"


@pytest.mark.parametrize(
    "header",
    ["x-goog-iap-jwt-assertion", "x_goog_iap_jwt_assertion", "x-goog-authenticated-user-email"],
)
def test_assertions_where_no_proxy_is(harness: AccessHarness, header: str) -> None:
    """Without Identity-Aware Proxy, headers that claim to be of it open nothing."""
    for value in (assertion("admin@acme.dev"), "accounts.google.com:admin@acme.dev"):
        assert harness.request("GET", "/project/shut-lib/", ((header, value),)).status == 401


@pytest.mark.parametrize(
    "header", ["x_goog_iap_jwt_assertion", "x-goog-authenticated-user-email", "authorization"]
)
def test_assertions_in_other_headers(proxied: AccessHarness, header: str) -> None:
    """Behind Identity-Aware Proxy, only the one header that it signs is read."""
    for value in (assertion("admin@acme.dev"), f"Bearer {assertion('admin@acme.dev')}"):
        assert proxied.request("GET", "/project/shut-lib/", ((header, value),)).status == 401


@given(st.binary(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_basic_pair_is_refused(harness: AccessHarness, data: bytes) -> None:
    """Whatever bytes a Basic header holds, the answer is 401."""
    sent = (("authorization", f"Basic {b64encode(data).decode()}"),)
    assert harness.request("GET", "/simple/shut-lib/", sent).status == 401


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_authorization_header_opens_nothing(harness: AccessHarness, value: str) -> None:
    """Whatever an Authorization header says, the answer is 401."""
    assert harness.request("GET", "/simple/shut-lib/", (("authorization", value),)).status == 401


def test_tokens_at_another_door(harness: AccessHarness, proxied: AccessHarness) -> None:
    """An assertion of IAP is no login, a login no assertion, and neither is a CI job's."""
    iap_assertion = assertion("admin@acme.dev")
    assert harness.request("GET", "/simple/shut-lib/", bearer(iap_assertion)).status == 401
    login = (("x-goog-iap-jwt-assertion", id_token("admin@acme.dev")),)
    assert proxied.request("GET", "/project/shut-lib/", login).status == 401
    for token in (iap_assertion, id_token("admin@acme.dev")):
        body = json.dumps({"token": token}).encode()
        assert harness.request("POST", "/_/oidc/mint-token", (), body).status == 422


def test_guessing_is_limited(tmp_path: Path, network: NetworkOrPorts) -> None:
    """Who guesses passwords is told how long to wait, whether the name exists or not."""

    def adjust(document: dict[str, object]) -> None:
        access = document["access"]
        assert isinstance(access, dict)
        access["failed_login_per_minute"] = 5

    with open_harness(tmp_path, network=network, adjust=adjust) as harness:
        assert harness.request("GET", "/simple/shut-lib/", READER).status == 200
        statuses = [
            harness.request("GET", "/simple/shut-lib/", basic(name, f"guess-{number}")).status
            for number in range(10)
            for name in ("reader", "nobody-at-all")
        ]
        last = harness.request("GET", "/simple/shut-lib/", basic("manager", "guess"))
        assert harness.request("GET", "/simple/shut-lib/", READER).status == 200
    assert statuses[:5] == [401] * 5
    assert set(statuses[5:]) == {429}
    assert last.status == 429
    assert f"Try again in {last.header('retry-after')} seconds." in last.body.decode()


def test_removed_user_loses_access(tmp_path: Path, network: NetworkOrPorts) -> None:
    """A user who is removed from the htpasswd file has no access five seconds later."""
    real, later = system_runtime(), [0.0]
    runtime = replace(real, monotonic=lambda: real.monotonic() + later[0])
    with open_harness(tmp_path, network=network, runtime=runtime) as harness:
        assert harness.request("GET", "/simple/shut-lib/", READER).status == 200

        path = tmp_path / "htpasswd"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if "reader" not in line))
        later[0] += 5

        assert harness.request("GET", "/simple/shut-lib/", READER).status == 401


def test_google_failure_is_no_refusal(harness: AccessHarness) -> None:
    """While Google fails, an access token is answered 503, not 401."""
    asked = f"/storage/v1/b/{harness.google.bucket}/iam/testPermissions"
    harness.google.answers[asked] = Fault(status=500)
    try:
        sent = basic("oauth2accesstoken", "ya29.of-somebody-when-google-fails")
        answer = harness.request("GET", "/simple/shut-lib/", sent)
    finally:
        del harness.google.answers[asked]
    assert (answer.status, answer.header("retry-after")) == (503, "5")


@pytest.mark.parametrize("kind", KINDS)
def test_what_shared_caches_keep(harness: AccessHarness, kind: str) -> None:
    """Shared caches may store public pages without a name of the reader, and no others."""
    name, file = f"{kind}-lib", harness.packages[f"{kind}-lib"].filename
    pages = (f"/simple/{name}/", f"/pypi/{name}/json", f"/project/{name}/", f"/files/{name}/{file}")
    for path in (*pages, f"/files/{name}/{file}.metadata"):
        answer = harness.request("GET", path, READER)
        assert answer.status == 200
        caching = set(answer.header("cache-control").split(", "))
        is_shared = kind == "open" and not path.startswith("/project/")  # has the reader's name
        assert ("public" in caching, "private" in caching) == (is_shared, not is_shared)
        assert kind == "open" or "authorization" in answer.header("vary").lower()
        known = harness.request("GET", path, (*READER, ("if-none-match", answer.header("etag"))))
        assert (known.status, known.header("vary")) == (304, answer.header("vary"))
        assert known.header("cache-control") == answer.header("cache-control")
    assert harness.request("GET", "/simple/", READER).header("cache-control") == "private, no-cache"


def test_cached_answers_reach_no_other_caller(harness: AccessHarness) -> None:
    """Cached responses of one caller are never served to another, in any order."""
    everybody: tuple[Headers, ...] = ((), READER, STRANGER, basic("admin", PASSWORD))
    first = [harness.request("GET", "/simple/", (*person, V1)).body for person in everybody]
    again = [harness.request("GET", "/simple/", (*each, V1)).body for each in reversed(everybody)]
    assert first == again[::-1]
    assert first[0] == first[2] != first[1]
    assert len({first[0], first[1], first[3]}) == 3


def test_token_in_a_query_opens_nothing(
    harness: AccessHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A token in a query opens nothing, and is not in the log."""
    token = harness.token("*", can="read")
    with caplog.at_level(logging.DEBUG):
        for name in ("access_token", "token", "password", "key"):
            answer = harness.request("GET", f"/simple/shut-lib/?{name}={token}")
            assert answer.status == 401
            assert token.encode() not in answer.body
    assert token[14:] not in caplog.text


@pytest.mark.parametrize(
    "path",
    [
        *("/simple/?next=//evil.example", "/simple/%2f%2fevil.example", "//evil.example"),
        *("/%5cevil.example", "//evil.example/simple"),
    ],
)
def test_redirects_lead_nowhere_else(harness: AccessHarness, path: str) -> None:
    """No redirect leaves this host: each is a path with one slash at its beginning."""
    to = harness.request("GET", path, READER).header("location")
    assert to == "" or (to.startswith("/") and not to.startswith(("//", "/\\")))


@pytest.mark.parametrize("header", ["x-http-method-override", "x-method-override", "x-http-method"])
def test_method_in_a_header_is_ignored(harness: AccessHarness, header: str) -> None:
    """A method is what the request line says, whatever a header or a query claims."""
    path = "/api/v1/projects/shut-lib/yank"
    body = b'{"version": "1.0", "file": null}'
    kind = ("content-type", "application/json")
    answer = harness.request("GET", path, (*MANAGER, (header, "POST"), kind), body)
    assert answer.status == 405
    assert harness.request("GET", "/simple/open-lib/?_method=DELETE", MANAGER).status == 200


def test_filename_decides_about_the_right(harness: AccessHarness) -> None:
    """A form with the name of another project gives no right, and is refused."""
    package = make_wheel("shut-lib", "8.0")
    head = b'--frontier\r\nContent-Disposition: form-data; name="name"\r\n\r\nother-lib\r\n'

    kind = ("content-type", "multipart/form-data; boundary=frontier")
    own = basic("__token__", harness.token(OTHER, can="upload"))
    right = basic("__token__", harness.token("shut-*", can="upload"))
    assert harness.request("POST", "/legacy/", (*own, kind), form(package)).status == 403
    for credential in (own, right):
        both = harness.request("POST", "/legacy/", (*credential, kind), head + form(package))
        assert both.status == 400


def test_patterns_match_no_other_names(harness: AccessHarness) -> None:
    """A token for shut-* opens neither shut nor shutter."""
    sent = bearer(harness.token("shut-*", can="upload"))
    assert harness.upload(make_wheel("shut-here", "1.0"), sent).status == 200
    for name in ("shut", "shutter", "shu-t", "not-shut-lib"):
        assert harness.upload(make_wheel(name, "1.0"), sent).status == 403


def test_jobs_read_nothing_else(harness: AccessHarness) -> None:
    """A job that publishes one project reads no private project of others."""
    sent = by_minted_token("that")(harness)
    assert harness.request("GET", f"/simple/{OTHER}/", sent).status == 200
    assert [harness.request("GET", f"/simple/{name}/", sent).status for name in EXISTING] == [
        200,
        404,
        403,
    ]
