"""Signing in and out in a browser."""

import logging
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec import structs
from packaging.utils import NormalizedName

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.browser import Browser
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.http.app import App
from wheelyard.http.request_authentication import AUTHORIZATION_LIMIT_BYTES, SessionCookie
from wheelyard.model.access import Action, Credential, Identity
from wheelyard.model.project import Status
from wheelyard.settings.sections import (
    AccessSettings,
    HttpSettings,
    ServerSettings,
    Settings,
    WebSettings,
)
from wheelyard.storage.memory import MemoryStore

PASSWORD = "s3cret"
PLAIN = ServerSettings(public_url="http://index")


def cookie_of(address: ServerSettings) -> str:
    """Return the name of the cookie of an index at an address."""
    access = AccessSettings(cookie_login=True)
    cookie = SessionCookie.of(Settings(server=address, access=access))
    assert cookie is not None
    return cookie.name


COOKIE = cookie_of(PLAIN)


def settings_in(folder: Path, server: ServerSettings = PLAIN, *, private: bool = True) -> Settings:
    """Return the settings of an index with the users ana and ben, and `demo`."""
    (folder / "htpasswd").write_text(f"ana:{SHA}\nben:{SHA}\n")
    access = AccessSettings(
        cookie_login=True,
        private=private,
        htpasswd_file=str(folder / "htpasswd"),
        failed_login_per_minute=3,
    )
    return Settings(server=server, access=access, web=WebSettings(contact="it@acme.dev"))


def basic(user: str) -> tuple[str, str]:
    """Return the header with the password of a user."""
    return ("Authorization", f"Basic {b64encode(f'{user}:{PASSWORD}'.encode()).decode()}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Serve a private index."""
    with in_process(tmp_path, settings_in(tmp_path)) as opened:
        opened.publish(make_wheel("demo"))
        yield opened


def test_a_person_signs_in_and_out(server: InProcessServer) -> None:
    """A person who needs to sign in does so, comes back to the page, and signs out again."""
    browser = Browser(server)
    refused = browser.open("/project/demo/?page=2")
    assert refused.status == 401
    assert '<form method="post" action="/-/sign-in/">' in refused.body.decode()
    assert 'name="next" value="/project/demo/?page=2"' in refused.body.decode()
    assert "You are not signed in, or not any more" in refused.body.decode()
    assert 'href="mailto:it@acme.dev"' in refused.body.decode()

    assert browser.open("/-/sign-in").headers["location"] == "/-/sign-in/"
    form = browser.open("/-/sign-in/?next=/project/demo/%3Fpage%3D2")
    assert (form.status, form.headers["cache-control"]) == (200, "no-store")
    assert 'name="next" value="/project/demo/?page=2"' in form.body.decode()
    assert 'href="mailto:it@acme.dev"' in form.body.decode()
    signed_in = browser.sign_in("ana", PASSWORD, "/project/demo/")
    assert (signed_in.status, signed_in.headers["location"]) == (303, "/project/demo/")
    assert signed_in.headers["cache-control"] == "no-store"
    page = browser.open("/project/demo/")
    assert page.status == 200
    assert ">ana</a>" in page.body.decode()
    assert browser.open("/-/sign-in/?next=/setup/").headers["location"] == "/setup/"

    old = dict(browser.cookies)
    out = browser.send("/-/sign-out/", {"csrf_token": browser.form_token("/-/account/")})
    assert (out.status, out.headers["location"]) == (303, "/-/sign-in/?signed-out")
    assert browser.cookies == {}
    left = browser.open(out.headers["location"]).body.decode()
    assert "In other browsers you stay signed in.</p>" in left
    assert browser.open("/project/demo/").status == 401
    server.clock.advance(seconds=1)
    assert Browser(server, old).open("/project/demo/").status == 401


def test_form_is_not_shown_where_a_password_would_be_refused(tmp_path: Path) -> None:
    """Where passwords need HTTPS, a page over plain HTTP has a link in place of the form."""
    settings = settings_in(tmp_path)
    access = structs.replace(settings.access, require_https=True)
    with in_process(tmp_path, structs.replace(settings, access=access)) as server:
        safe = Browser(server).open("/project/demo/")
        plain = Browser(server).open("/project/demo/", ("X-Forwarded-For", "192.0.2.1"))

    assert (safe.status, b'name="password"' in safe.body) == (401, True)
    assert (plain.status, b'name="password"' in plain.body) == (401, False)
    assert b'href="/-/sign-in/?next=/project/demo/"' in plain.body


def test_form_of_another_index_leads_to_main_and_back(tmp_path: Path) -> None:
    """In an index beside main, the form signs people in where all do, and comes back."""
    tables = toml_of(index=[{"name": "dev"}])
    with in_process(tmp_path, settings_in(tmp_path), tables=tables) as server:
        asked = Browser(server).open("/dev/project/demo/")

    assert asked.status == 401
    assert b'<form method="post" action="/-/sign-in/">' in asked.body
    assert b'name="next" value="/dev/project/demo/"' in asked.body


def test_a_page_outside_the_prefix_leads_home_after_a_sign_in(tmp_path: Path) -> None:
    """After a sign-in nobody comes to a page that they have not asked for, but home."""
    address = ServerSettings(public_url="http://index/team", path_prefix="/team")
    with in_process(tmp_path, settings_in(tmp_path, address)) as server:
        outside = Browser(server).open("/project/demo/")

    assert outside.status == 404
    assert b'href="/team/-/sign-in/?next=/team/"' in outside.body


def test_signing_out_reaches_every_server(tmp_path: Path) -> None:
    """On a bucket, a sign-out at one server ends what another one has in its caches, in 15 s."""
    store, settings = MemoryStore(Clock().seconds), settings_in(tmp_path)
    with (
        in_process(tmp_path, settings, store=store, near=False) as one,
        in_process(tmp_path, settings, store=store, near=False) as other,
    ):
        one.publish(make_wheel("demo"))
        browser = Browser(one)
        browser.sign_in("ana", PASSWORD)
        elsewhere = Browser(other, dict(browser.cookies))
        answers = [elsewhere.open("/simple/demo/") for _ in range(2)]
        assert [(answer.status, answer.was_quick) for answer in answers] == [
            (200, False),
            (200, True),
        ]

        browser.send("/-/sign-out/", {"csrf_token": browser.form_token("/-/account/")})
        for server in (one, other):
            server.clock.advance(seconds=15)
        assert elsewhere.open("/simple/demo/").status == 401
        assert elsewhere.send("/-/upload/", {}).status == 401


def test_signing_out_of_a_read_only_server(tmp_path: Path) -> None:
    """A server that cannot end a session takes the cookie of it from the browser all the same."""
    store, settings = MemoryStore(Clock().seconds), settings_in(tmp_path)
    reading = structs.replace(settings, server=structs.replace(settings.server, read_only=True))
    with (
        in_process(tmp_path, settings, store=store) as server,
        in_process(tmp_path, reading, store=store) as reader,
    ):
        server.publish(make_wheel("demo"))
        browser = Browser(server)
        browser.sign_in("ana", PASSWORD)
        elsewhere = Browser(reader, dict(browser.cookies))
        assert elsewhere.open("/simple/demo/").status == 200

        out = elsewhere.send("/-/sign-out/", {})
        assert (out.status, out.headers["location"]) == (303, "/-/sign-in/?signed-out")
        assert elsewhere.open("/simple/demo/").status == 401


@pytest.mark.parametrize(
    ("address", "cookie", "attributes"),
    [
        (PLAIN, "wheelyard-session-", "Path=/; HttpOnly; SameSite=Strict"),
        (
            ServerSettings(public_url="http://index/team", path_prefix="/team"),
            "wheelyard-session-",
            "Path=/team/; HttpOnly; SameSite=Strict",
        ),
        (
            ServerSettings(public_url="https://index/team", path_prefix="/team"),
            "__Host-wheelyard-session-",
            "Path=/; Secure; HttpOnly; SameSite=Strict",
        ),
    ],
)
def test_cookie_is_for_this_host_alone(
    tmp_path: Path, address: ServerSettings, cookie: str, attributes: str
) -> None:
    """The cookie is for this host alone, on https for https alone, and for no script or site."""
    scheme = address.public_url.partition("://")[0]
    with in_process(tmp_path, settings_in(tmp_path, address)) as server:
        fields = {"user": "ana", "password": PASSWORD, "next": "/"}
        answer = Browser(server).send(
            f"{address.path_prefix}/-/sign-in/", fields, ("Origin", f"{scheme}://index")
        )

        given = answer.headers["set-cookie"]
        assert given.startswith(cookie)
        assert given.endswith(f"; Max-Age=43200; {attributes}")
        assert answer.headers["location"] == f"{address.path_prefix}/"


def test_cookie_of_an_older_server_is_in_nobodys_way(tmp_path: Path) -> None:
    """Behind a proxy that takes the path away, the cookie of the whole host locks nobody out."""
    older = f"wheelyard-session-{blake2b(b'80/team', digest_size=4).hexdigest()}"
    address = ServerSettings(public_url="http://index/team")
    with in_process(tmp_path, settings_in(tmp_path, address)) as server:
        browser = Browser(server, {older: "a.b"})
        fields = {"user": "ana", "password": PASSWORD, "next": "/team/"}
        assert browser.send("/-/sign-in/", fields).status == 303

        assert browser.cookies[older] == "a.b"
        assert browser.open("/-/account/").status == 200


def test_what_fails_is_said_and_not_repeated(
    server: InProcessServer, caplog: pytest.LogCaptureFixture
) -> None:
    """After a wrong password the form has the user name, the log says why, and both no secret."""
    caplog.set_level(logging.DEBUG)
    browser = Browser(server)
    answers = [browser.sign_in("ana-typo", f"hunter{number}") for number in range(3)]
    limited = browser.sign_in("ana-typo", "hunter4")

    assert [each.status for each in answers] == [401] * 3
    assert {each.headers["www-authenticate"] for each in answers} == {'Bearer realm="wheelyard"'}
    assert all(b">User name or password is wrong.<" in each.body for each in answers)
    assert limited.status == 429
    assert "Too many credentials" in limited.body.decode()
    assert f"Try again in {limited.headers['retry-after']} seconds." in limited.body.decode()
    for answer in (*answers, limited):
        assert b"<form" in answer.body
        assert b"hunter" not in answer.body
        assert b'value="ana-typo"' in answer.body
        assert "set-cookie" not in answer.headers
    assert "htpasswd_user" in caplog.text
    assert "hunter" not in caplog.text


def test_what_no_program_could_send_signs_nobody_in(server: InProcessServer) -> None:
    """What is too long for the header of a program is refused, also a token with blanks behind."""
    token, _ = server.index.tokens.create(
        TokenRequest(name="laptop", actions=Action.READ), "local:op"
    )

    accepted = Browser(server).sign_in("", token.text + " " * 10)
    refused = Browser(server).sign_in("", token.text + " " * AUTHORIZATION_LIMIT_BYTES)

    assert (accepted.status, "set-cookie" in accepted.headers) == (303, True)
    assert (refused.status, "set-cookie" in refused.headers) == (401, False)
    assert b"This token is wrong, or is no longer valid." in refused.body


def test_an_access_token_of_google_signs_nobody_in(server: InProcessServer) -> None:
    """An access token of Google, which programs send, is no sign-in, and the form says what is."""
    answer = Browser(server).sign_in("", "ya29." + "a" * 60)

    assert (answer.status, "set-cookie" in answer.headers) == (401, False)
    assert b"This credential is not for signing in. Use a user name" in answer.body


def test_nobody_has_no_account(tmp_path: Path) -> None:
    """Who has not signed in has no page of an account, even where everybody may read."""
    with in_process(tmp_path, settings_in(tmp_path, private=False)) as public:
        answer = public.get("/-/account/")

    assert answer.status == 401
    assert "Missing or invalid credential." in answer.text


def test_page_of_too_many_attempts_says_once_how_long(server: InProcessServer) -> None:
    """The page of too many attempts names one time to wait, which is that of the answer."""
    typed = [b64encode(f"ana:typo{number}".encode()).decode() for number in range(4)]
    browser, path = Browser(server), "/project/demo/"
    answers = [browser.open(path, ("Authorization", f"Basic {each}")) for each in typed]
    text = answers[-1].body.decode()

    assert answers[-1].status == 429
    assert f"Try again in {answers[-1].headers['retry-after']} seconds." in text
    assert "<li>Wait that long, and load this page again.</li>" in text
    assert "minute" not in text


@pytest.mark.parametrize("typed", [("wyd_0123", "x"), ("s3cret-", "s3cret-"), ("a" * 300, "x")])
def test_secret_in_the_wrong_field_is_not_shown(
    server: InProcessServer, typed: tuple[str, str]
) -> None:
    """A token, or a password, that was typed as the user name does not come back with the form."""
    answer = Browser(server).sign_in(*typed)

    assert answer.status == 401
    assert typed[0].encode() not in answer.body


def test_a_token_is_typed_in_either_way(server: InProcessServer) -> None:
    """A token signs in without a user name, with any, and with the newline that was copied."""
    token, record = server.index.tokens.create(
        TokenRequest(name="laptop", actions=Action.READ), "local:op"
    )
    browser = Browser(server)
    for user, text in (("", token.text), ("ana", token.text), ("", f" {token.text}\n")):
        assert browser.sign_in(user, text).status == 303
        assert ">laptop</a>" in browser.open("/").body.decode()

    server.index.tokens.revoke(record.id, "local:op")
    server.clock.advance(seconds=1)
    assert browser.open("/").status == 401
    told = browser.sign_in("", token.text)
    assert told.status == 401
    assert f"The token laptop ({record.id}) was revoked on" in told.body.decode()
    assert "wheelyard token create" not in told.body.decode()
    assert browser.sign_in("", "ya29.google-access-token").status == 401


def test_any_other_cookie_is_nobodys(server: InProcessServer) -> None:
    """A cookie of another form, too long or there twice, is as if there were none."""
    browser = Browser(server)
    browser.sign_in("ana", PASSWORD)
    genuine = browser.cookies[COOKIE]
    twice = f"{genuine}; {COOKIE}={genuine}"
    for cookie in ("x", "x.y", "." * 99, "é", "a" * 5000, twice, f'"{genuine}"', f"{genuine}x"):
        sent = Browser(server, {COOKIE: cookie})
        assert [sent.open(path).status for path in ("/", "/simple/demo/")] == [401, 401]
        assert sent.open("/-/sign-in/").status == 200


def test_cookies_of_http_2(server: InProcessServer) -> None:
    """HTTP/2 sends each cookie in a header of its own, and the session is found among them."""
    browser = Browser(server)
    browser.sign_in("ana", PASSWORD)
    (pair,) = (f"{name}={value}" for name, value in browser.cookies.items())
    cookies = [("Cookie", each) for each in ("theme=dark", pair, "a=b")]

    assert server.get("/simple/demo/", *cookies).status == 200
    assert server.get("/simple/demo/", *cookies).was_quick
    assert server.get("/simple/demo/", *cookies, ("Cookie", pair)).status == 401


def test_cookies_count_for_reading_and_forms_alone(server: InProcessServer) -> None:
    """A session opens pages, files and the Simple API, and no API that changes something."""
    browser = Browser(server, {"theme": "dark", "other": f"{COOKIE}=x"})
    browser.sign_in("ana", PASSWORD)
    for path in ("/", "/simple/", "/simple/demo/", "/search.json", "/api/v1/whoami", "/setup/"):
        assert browser.open(path).status == 200, path
    yank = browser.send("/api/v1/projects/demo/yank", {})
    upload = browser.send("/legacy/", {":action": "file_upload"})
    assert (yank.status, upload.status) == (401, 401)
    wrong = browser.open("/simple/", ("Authorization", "Bearer wrong"))
    assert wrong.status == 401


def test_form_of_another_site_signs_nobody_in(server: InProcessServer) -> None:
    """A page of another site signs nobody in: not as itself, not with a stored password."""
    browser = Browser(server)
    fields = {"user": "ana", "password": PASSWORD, "next": "/"}
    for name, value in (("Origin", "https://evil.example"), ("Origin", "null")):
        assert browser.send("/-/sign-in/", fields, (name, value)).status == 403
    assert browser.send("/-/sign-in/", fields, ("Sec-Fetch-Site", "cross-site")).status == 403
    assert browser.cookies == {}


def test_every_form_needs_its_token(tmp_path: Path) -> None:
    """No form of any page changes something without its token, or from a page of another site."""
    grant = {"who": ["htpasswd:ana"], "projects": ["*"], "actions": ["admin"]}
    with in_process(tmp_path, settings_in(tmp_path), tables=toml_of(grant=[grant])) as server:
        server.publish(make_wheel("demo"))
        browser = Browser(server)
        browser.sign_in("ana", PASSWORD)
        token = browser.form_token("/-/account/")
        patterns = {route.path for route in server.app.routes.rows if route.takes_form}
        others = {"/-/sign-in/", "/-/upload/"}  # the one has no token, the other is no such form
        plain = {path.replace("{version}", "1.0") for path in patterns - others}
        forms = {re.sub(r"\{\w+\}", "demo", path) for path in plain}

        assert len(forms) > 3
        for path in forms:
            fields = {"action": "status", "status": "archived", "csrf_token": "0.x"}
            answers = [browser.send(path, fields)]
            if path != "/-/sign-out/":
                answers.append(Browser(server).send(path, fields, basic("ana")))
            for answer in answers:
                assert (answer.status, b"This form is too old" in answer.body) == (403, True), path
            fields["csrf_token"] = token
            for name, value in (("Origin", "https://evil.example"), ("Origin", "null")):
                assert browser.send(path, fields, (name, value)).status == 403, path
            assert browser.send(path, fields, ("Sec-Fetch-Site", "cross-site")).status == 403, path
        assert browser.open("/").status == 200
        assert server.index.projects.get(NormalizedName("demo")).status is Status.ACTIVE


@pytest.mark.parametrize("action", ["sign-in", "sign-out"])
@pytest.mark.parametrize("sends_password", [True, False])
def test_an_old_session_is_over(
    server: InProcessServer, action: str, *, sends_password: bool
) -> None:
    """A sign-out or a new sign-in ends the session, also if the browser sends a password."""
    header = [basic("ben")] if sends_password else []
    browser = Browser(server)
    browser.sign_in("ana", PASSWORD)
    old = Browser(server, dict(browser.cookies))
    fields = {"user": "ben", "password": PASSWORD, "next": "/"}
    if action == "sign-out":
        fields = {"csrf_token": browser.form_token("/-/account/")}
        assert browser.send("/-/sign-out/", {"csrf_token": "x"}, *header).status == 403

    assert browser.send(f"/-/{action}/", fields, *header).status == 303

    server.clock.advance(seconds=1)
    assert old.open("/").status == 401
    if action == "sign-in":
        assert ">ben</a>" in browser.open("/").body.decode()


def test_a_header_does_not_vouch_for_a_form(server: InProcessServer) -> None:
    """Who signs in is whom the form names, also if the browser sends somebody else's password."""
    header = basic("ben")
    browser = Browser(server)

    wrong = {"user": "ana", "password": "a guess", "next": "/"}
    assert browser.send("/-/sign-in/", wrong, header).status == 401
    server.clock.advance(hours=24)
    signed_in = browser.send("/-/sign-in/", {**wrong, "password": PASSWORD}, header)

    assert (signed_in.status, signed_in.headers["location"]) == (303, "/")
    assert ">ana</a>" in browser.open("/").body.decode()


def test_caller_may_be_forgotten_within_a_request(
    server: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is answered also if its remembered caller is forgotten in the middle of it."""
    header = basic("ana")
    assert server.get("/api/v1/whoami", header).status == 200
    server.clock.advance(hours=24)  # the hash, too, has to be computed again
    caller = server.index.authenticator.policy.authorize(
        Identity("htpasswd:ana", frozenset({"htpasswd:ana"}))
    )
    answers = [caller]
    callers = server.index.authenticator.callers
    monkeypatch.setattr(callers, "remembered", lambda _: answers.pop() if answers else None)

    assert server.get("/api/v1/whoami", header).status == 200
    assert server.get("/api/v1/whoami", header).status == 200


def test_sign_ins_are_limited(tmp_path: Path) -> None:
    """Whoever signs in again and again has to wait; a team behind one address need not."""
    team = [f"person{number}" for number in range(200)]
    settings = settings_in(tmp_path)
    (tmp_path / "htpasswd").write_text("".join(f"{name}:{SHA}\n" for name in ("ana", *team)))
    with in_process(tmp_path, settings) as server:
        statuses = [Browser(server).sign_in("ana", PASSWORD).status for _ in range(40)]
        assert statuses == [303] * 30 + [429] * 10
        refused = Browser(server).sign_in("ana", PASSWORD)
        assert "Try again in 2 seconds." in refused.body.decode()
        assert {Browser(server).sign_in(name, PASSWORD).status for name in team} == {303}
        server.clock.advance(seconds=2)
        assert Browser(server).sign_in("ana", PASSWORD).status == 303


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ServerSettings(public_url="http://index:1"), ServerSettings(public_url="http://index:2")),
        (
            ServerSettings(public_url="https://index/a", path_prefix="/a"),
            ServerSettings(public_url="https://index/b", path_prefix="/b"),
        ),
        (
            ServerSettings(public_url="http://index"),
            ServerSettings(public_url="http://index/team", path_prefix="/team"),
        ),
        (
            ServerSettings(public_url="https://index"),
            ServerSettings(public_url="https://index:8443/"),
        ),
    ],
)
def test_person_signs_in_to_two_indexes_of_one_host(
    tmp_path: Path, one: ServerSettings, other: ServerSettings
) -> None:
    """A person is signed in to two indexes of one host, by two passwords, at the same time."""
    with (
        in_process(tmp_path, settings_in(tmp_path, one)) as first,
        in_process(tmp_path, settings_in(tmp_path, other)) as second,
    ):
        browser = Browser(first)
        for server, address in ((first, one), (second, other)):
            browser.server = server
            origin = address.public_url.partition("://")[0]
            fields = {"user": "ana", "password": PASSWORD, "next": "/"}
            path = f"{address.path_prefix}/-/sign-in/"
            assert browser.send(path, fields, ("Origin", f"{origin}://index")).status == 303

        assert len(browser.cookies) == 2
        for server, address in ((first, one), (second, other)):
            browser.server = server
            assert ">ana</a>" in browser.open(f"{address.path_prefix}/").body.decode()


@pytest.mark.parametrize("url", ["https://index", "https://INDEX:443/"])
def test_all_spellings_of_an_address_share_a_cookie(url: str) -> None:
    """All servers of an index take the same cookie, however each spells its address."""
    assert cookie_of(ServerSettings(public_url=url)) == cookie_of(
        ServerSettings(public_url="https://index/", port=9000)
    )


def test_link_on_another_site_finds_who_is_signed_in(server: InProcessServer) -> None:
    """A link on another site, which arrives without the cookie, leads to the page all the same."""
    browser = Browser(server)
    browser.sign_in("ana", PASSWORD)
    from_elsewhere = (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"))
    arrived = Browser(server).open("/project/demo/", *from_elsewhere)

    assert arrived.status == 401
    target = "/-/sign-in/?next=/project/demo/"
    assert f'http-equiv="refresh" content="0; url={target}"' in arrived.body.decode()
    assert browser.open(target).headers["location"] == "/project/demo/"
    assert b'http-equiv="refresh' not in Browser(server).open("/project/demo/").body


def test_sign_in_leads_nowhere_else(server: InProcessServer) -> None:
    """Whoever has signed in comes to a page of this index, whatever the link to the form said."""
    browser = Browser(server)
    above = ("/../x", "/a/%2e%2E/%2e%2e/x", "/a/..;/x", "/a/..%5cx", "/%252e%252e/x", "/a//x")
    for target in ("https://evil.example/", "//evil.example", "/\\evil.example", "x", "", *above):
        assert browser.sign_in("ana", PASSWORD, target).headers["location"] == "/"
        asked = browser.open(f"/-/sign-in/?next={quote(target)}")
        assert (asked.status, asked.headers["location"]) == (303, "/")


def test_the_page_one_came_from_is_known(server: InProcessServer) -> None:
    """A link to the sign-in page that names no page leads back to where it was followed."""
    browser = Browser(server)
    browser.sign_in("ana", PASSWORD)
    for referer, target in (
        ("http://index/project/demo/?page=2", "/project/demo/?page=2"),
        ("https://evil.example/project/demo/", "/"),
        ("http://[", "/"),
    ):
        asked = browser.open("/-/sign-in/", ("Referer", referer))
        assert asked.headers["location"] == target


@pytest.mark.parametrize("private", [True, False])
def test_pages_of_one_person_reach_nobody_else(tmp_path: Path, *, private: bool) -> None:
    """What one person gets from the caches is never sent to another one, or to nobody."""
    settings = structs.replace(
        settings_in(tmp_path, private=private), http=HttpSettings(public_max_age=60)
    )
    with in_process(tmp_path, settings) as server:
        server.publish(make_wheel("demo"))
        people = {name: Browser(server) for name in ("ana", "ben", "")}
        for name in ("ana", "ben"):
            assert people[name].sign_in(name, PASSWORD).status == 303
        for path in ("/project/demo/", "/", "/project/demo/", "/simple/demo/"):
            for person in (*people.values(), *people.values()):
                person.open(path)
            answers = {name: each.open(path) for name, each in people.items()}  # the fast path's
            shown = {name: answer.body.decode() for name, answer in answers.items()}
            is_page = not path.startswith("/simple/")
            assert (">ana</a>" in shown["ana"]) == (">ben</a>" in shown["ben"]) == is_page
            assert "ben" not in shown["ana"] + shown[""]
            assert "ana</a>" not in shown["ben"] + shown[""]
            is_shared = "public" in answers[""].headers["cache-control"]
            assert is_shared is not private
            assert "Cookie" in answers["ana"].headers["vary"] or not is_page
            assert is_shared or answers["ana"].headers["cache-control"].startswith("private")
            if is_page:
                assert "Cookie" in answers[""].headers.get("vary", "Cookie")
                assert "public" not in answers["ana"].headers["cache-control"]


def test_the_fast_path_knows_sessions(server: InProcessServer) -> None:
    """A page is repeated without the event loop for a session, whatever other cookies there are."""
    browser = Browser(server)
    browser.sign_in("ana", PASSWORD)
    for number in range(3):
        browser.cookies["visits"] = f"{number}" * 2000  # longer than any other header may be
        answer = browser.open("/simple/demo/")
        assert (answer.status, answer.was_quick) == (200, number > 0)

    server.clock.advance(seconds=2)
    assert not browser.open("/simple/demo/").was_quick
    assert browser.open("/simple/demo/").was_quick
    token = server.index.tokens.create(TokenRequest(name="t", actions=Action.READ), "local:op")[0]
    both = browser.open("/simple/demo/", ("Authorization", f"Bearer {token.text}"))
    assert (both.status, both.was_quick) == (200, False)
    wrong = ("Authorization", "Bearer wrong")
    assert browser.open("/simple/demo/", wrong).status == 401


def test_without_the_setting_there_is_no_sign_in(tmp_path: Path) -> None:
    """Without `cookie_login` there is no sign-in page, and a cookie opens nothing."""
    store, settings = MemoryStore(Clock().seconds), settings_in(tmp_path)
    with in_process(tmp_path, settings, store=store) as server:
        browser = Browser(server)
        browser.sign_in("ana", PASSWORD)
    off = structs.replace(settings.access, cookie_login=False)
    with in_process(tmp_path, structs.replace(settings, access=off), store=store) as server:
        kept = Browser(server, browser.cookies)

        assert browser.cookies
        refused = kept.open("/")
        assert (refused.status, refused.headers["www-authenticate"][:5]) == (401, "Basic")
        assert "sign-in" not in refused.body.decode()
        assert kept.open("/-/sign-in/").status == 404
        assert kept.sign_in("ana", PASSWORD).status == 404


@dataclass(frozen=True)
class AnyAssertion:
    """A verifier that takes every assertion of the proxy for Ana's."""

    def cached_identity(self, credential: Credential) -> Identity | None:
        """Return Ana."""
        return self.verify(credential)

    def verify(self, _: Credential) -> Identity:
        """Return Ana."""
        return Identity("user:ana@acme.dev", frozenset({"user:ana@acme.dev", "anonymous"}))


def test_behind_the_proxy_everybody_is_signed_in(tmp_path: Path) -> None:
    """Identity-Aware Proxy has signed a person in, so the sign-in page leads on, with no cookie."""
    proxied = ("X-Goog-IAP-JWT-Assertion", "an assertion")
    with in_process(tmp_path, Settings(server=PLAIN)) as opened:
        authenticator = structs.replace(opened.index.authenticator, iap=AnyAssertion())
        index = structs.replace(opened.index, authenticator=authenticator)
        browser = Browser(replace(opened, app=App(index), index=index))

        answer = browser.open("/-/sign-in/?next=/setup/", proxied)
        assert (answer.status, answer.headers["location"]) == (303, "/setup/")
        assert "set-cookie" not in answer.headers
        page = browser.open("/setup/", proxied)
        assert ">ana@acme.dev</a>" in page.body.decode()
        assert "private" in page.headers["cache-control"]
        assert not browser.open("/setup/", proxied).was_quick
        assert "ana@acme.dev" not in browser.open("/setup/").body.decode()
        assert b">Sign out of the proxy<" in browser.open("/-/account/", proxied).body
        whoami = browser.open("/api/v1/whoami", proxied)
        assert (whoami.status, b'"user:ana@acme.dev"' in whoami.body) == (200, True)
        past = browser.open("/-/sign-in/")
        assert (past.status, b"at the address of the proxy" in past.body) == (401, True)
