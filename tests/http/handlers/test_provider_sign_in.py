"""Signing in with a provider: what a browser is sent, and what it has to come back with."""

import re
from asyncio import create_task, gather, to_thread
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from threading import Event
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from tests.authentication.sign_in.fake_provider import (
    BO,
    SECRET,
    FakeProvider,
    ProviderServer,
    running_providers,
)
from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.browser import Browser
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.in_process_network import NetworkOrPorts
from tests.index_tables import toml_of
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.http.work_limits import PROVIDER_THREADS
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.settings.validation import validate

HERE = "https://packages.acme.dev"
TABLES = toml_of(
    grant=[{"who": ["oidc:acme:group:platform"], "projects": ["*"], "actions": ["read"]}]
)


@dataclass
class Place:
    """A private index, and its two providers."""

    server: InProcessServer
    acme: FakeProvider
    other: FakeProvider

    def come_back(self, start: InProcessResponse, **changes: str) -> str:
        """Sign somebody in at the provider; return the path and query that they come back with."""
        back = {**self.acme.authorize(start.headers["location"]), **changes}
        return f"/-/sign-in/acme/callback?{urlencode(back)}"

    def sign_in(self, browser: Browser, next_path: str = "/project/demo/") -> InProcessResponse:
        """Let somebody sign in."""
        start = browser.open(f"/-/sign-in/acme/?next={quote(next_path, safe='')}")
        return browser.open(self.come_back(start))


def table(name: str, provider: FakeProvider, **more: object) -> dict[str, object]:
    """Return the table of a provider."""
    return {
        "name": name,
        "issuer": provider.issuer,
        "client_id": "wheelyard",
        "secret": SECRET,
        "groups_claim": "groups",
        "allow_private": True,
        **more,
    }


@pytest.fixture
def providers(network: NetworkOrPorts) -> Iterator[ProviderServer]:
    """A server of providers."""
    with running_providers(network) as providers:
        yield providers


def settings_for(acme: FakeProvider, other: FakeProvider, htpasswd: str = "") -> Settings:
    """Return the settings of a private index."""
    return validate(
        Settings(
            server=ServerSettings(public_url=HERE),
            access=AccessSettings(
                private=True,
                failed_login_per_minute=3,
                htpasswd_file=htpasswd,
                htpasswd_may=(),
            ),
            sign_in=(table("acme", acme, title="Acme"), table("other", other)),
        )
    )


@pytest.fixture
def place(providers: ProviderServer, tmp_path: Path) -> Iterator[Place]:
    """An index with two providers, and somebody in the group that may read."""
    clock = Clock()
    acme, other = (providers.provider(clock.seconds) for _ in range(2))
    acme.claims["groups"] = ["platform"]
    with in_process(tmp_path, settings_for(acme, other), clock=clock, tables=TABLES) as server:
        server.publish(make_wheel("demo"))
        yield Place(server, acme, other)


def session_in(answer: InProcessResponse) -> str:
    """Return the Set-Cookie header of an answer if it begins a session."""
    cookie = answer.headers.get("set-cookie", "")
    return cookie if "-session-" in cookie else ""


def target_of(answer: InProcessResponse) -> str:
    """Return where the page after a sign-in leads."""
    match = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', answer.body.decode())
    assert match is not None
    link = unescape(match[1])
    assert f'<a href="{match[1]}">Go on</a>' in answer.body.decode()
    return link


def test_a_browser_is_sent_to_the_provider_and_back(place: Place) -> None:
    """The answer to the provider's redirect is a page with the session, which leads on."""
    browser = Browser(place.server)
    start = browser.open("/-/sign-in/acme/?next=/project/demo/%3Fpage%3D2")
    assert (start.status, start.headers["cache-control"]) == (303, "no-store")
    assert start.headers["location"].startswith(f"{place.acme.issuer}/authorize?")
    name, _, attributes = start.headers["set-cookie"].partition("=")
    assert re.fullmatch(r"__Host-wheelyard-sign-in-[0-9a-f]{8}", name)
    assert attributes.partition("; ")[2] == ("Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Lax")
    end = browser.open(place.come_back(start))
    assert (end.status, end.headers["cache-control"]) == (200, "no-store")
    assert end.headers["referrer-policy"] == "same-origin"
    assert session_in(end).endswith("Max-Age=43200; Path=/; Secure; HttpOnly; SameSite=Strict")
    assert target_of(end) == "/project/demo/?page=2"
    assert ">ana@acme.dev</a>" in end.body.decode()
    assert browser.open("/project/demo/").status == 200


def test_without_a_refresh_token_a_session_lasts_an_hour(place: Place) -> None:
    """Where the provider gives no refresh token, a session lasts an hour."""
    place.acme.gives_refresh_tokens = False
    assert "Max-Age=3600;" in session_in(place.sign_in(Browser(place.server)))


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("/project/demo/", "/project/demo/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\\\evil.example/", "/"),
        ("/%2F%2Fevil.example/", "/"),
        ("/-/sign-in/acme/callback?code=x", "/"),
        ("javascript:alert(1)", "/"),
        ('/"><script>alert(1)</script>', '/"><script>alert(1)</script>'),  # a path, escaped
        ("/project/demo/;url=https://evil.example/", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_led_to_another_place(place: Place, asked: str, target: str) -> None:
    """The page after a sign-in leads to a page of this index, whatever the link has asked for."""
    assert target_of(place.sign_in(Browser(place.server), asked)) == target


def test_all_tabs_of_a_browser_keep_their_sign_in(place: Place) -> None:
    """Two sign-ins that were begun in one browser can both be finished."""
    browser = Browser(place.server)
    one, two = (browser.open(f"/-/sign-in/acme/?next=/{name}/") for name in ("one", "two"))
    assert one.headers["set-cookie"] == two.headers["set-cookie"]
    for start, target in ((two, "/two/"), (one, "/one/")):
        assert target_of(browser.open(place.come_back(start))) == target


def _in_another_browser(place: Place, _browser: Browser, path: str) -> InProcessResponse:
    other = Browser(place.server)
    other.open("/-/sign-in/acme/")
    return other.open(path)


def _without_cookies(place: Place, _browser: Browser, path: str) -> InProcessResponse:
    return Browser(place.server).open(path)


def _again(_place: Place, browser: Browser, path: str) -> InProcessResponse:
    assert browser.open(path).status == 200
    return browser.open(path)


def _at_the_other_provider(_place: Place, browser: Browser, path: str) -> InProcessResponse:
    return browser.open(path.replace("/acme/", "/other/"))


def _too_late(place: Place, browser: Browser, path: str) -> InProcessResponse:
    place.server.clock.advance(minutes=10)
    return browser.open(path)


def _with_another_state(_place: Place, browser: Browser, path: str) -> InProcessResponse:
    return browser.open(re.sub("state=[^&]*", "state=AAAA", path))


def _without_state(_place: Place, browser: Browser, path: str) -> InProcessResponse:
    return browser.open(re.sub("&state=[^&]*", "", path))


@pytest.mark.parametrize(
    "come_back",
    [
        _in_another_browser,
        _without_cookies,
        _again,
        _at_the_other_provider,
        _too_late,
        _with_another_state,
        _without_state,
    ],
)
def test_an_answer_that_does_not_belong_here_signs_nobody_in(
    place: Place, come_back: Callable[[Place, Browser, str], InProcessResponse]
) -> None:
    """An answer for another browser, provider or time, or one that was used, signs nobody in."""
    browser = Browser(place.server)
    path = place.come_back(browser.open("/-/sign-in/acme/"))
    answer = come_back(place, browser, path)
    assert (answer.status, session_in(answer)) == (400, "")
    assert "This sign-in was begun more than ten minutes ago" in unescape(answer.body.decode())
    assert f'href="{HERE}/-/sign-in/acme/?next=/"' in answer.body.decode()


def test_a_mixed_up_issuer_signs_nobody_in(place: Place) -> None:
    """An answer that says to be of another issuer is not exchanged."""
    browser = Browser(place.server)
    start = browser.open("/-/sign-in/acme/")
    answer = browser.open(place.come_back(start, iss=place.other.issuer))
    assert (answer.status, session_in(answer)) == (403, "")
    assert place.acme.server.asked(f"{place.acme.path}/token") == 0


def test_one_parameter_twice_is_refused(place: Place) -> None:
    """An answer of a provider that has one parameter twice is refused."""
    browser = Browser(place.server)
    path = place.come_back(browser.open("/-/sign-in/acme/"))
    answer = browser.open(f"{path}&code=another")
    assert (answer.status, session_in(answer)) == (400, "")


@pytest.mark.parametrize(
    ("claims", "status", "words"),
    [
        ({"email_verified": False}, 403, "has not verified your e-mail address"),
        ({"email": None}, 403, "does not tell this index your email"),
        ({"email": "group:platform"}, 403, "cannot be a name here"),
    ],
)
def test_who_may_not_sign_in_is_told_why(
    place: Place, claims: dict[str, object], status: int, words: str
) -> None:
    """The page says what is wrong with the account, and leads on to where somebody wanted to go."""
    place.acme.claims |= claims
    answer = place.sign_in(Browser(place.server))
    assert (answer.status, session_in(answer)) == (status, "")
    assert words in unescape(answer.body.decode())
    again = f'{HERE}/-/sign-in/acme/?next=/project/demo/">Sign in with Acme</a>'
    assert again in answer.body.decode()


def test_errors_of_the_provider_are_not_shown(place: Place) -> None:
    """What stands in the address of an answer is not on the page: anybody can write it."""
    browser = Browser(place.server)
    start = browser.open("/-/sign-in/acme/")
    state = parse_qs(urlsplit(start.headers["location"]).query)["state"][0]
    query = urlencode(
        {"error": "access_denied", "error_description": "Call 555-0100", "state": state}
    )
    answer = browser.open(f"/-/sign-in/acme/callback?{query}")
    assert answer.status == 403
    assert "Acme did not sign you in." in answer.body.decode()
    assert "555" not in answer.body.decode()


def test_a_name_that_somebody_had_before_is_refused(place: Place) -> None:
    """An address that the provider gives to another account opens nothing of the first one."""
    assert place.sign_in(Browser(place.server)).status == 200
    place.acme.claims |= {"sub": "another-ana"}
    answer = place.sign_in(Browser(place.server))
    assert (answer.status, session_in(answer)) == (409, "")
    assert "The name ana@acme.dev belongs to somebody else here" in answer.body.decode()
    place.acme.claims |= {**BO}
    assert place.sign_in(Browser(place.server)).status == 200


def test_a_provider_that_is_away_is_a_page(place: Place) -> None:
    """Before and after the visit to a provider, a page says that the provider does not answer."""
    browser = Browser(place.server)
    start = browser.open("/-/sign-in/acme/")
    path = place.come_back(start)
    place.acme.break_off()
    answer = browser.open(path)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "Acme could not be asked who you are" in answer.body.decode()
    answer = Browser(place.server).open("/-/sign-in/other/")
    assert answer.status == 303  # it is another one
    place.other.break_off()
    place.server.clock.advance(days=2)
    answer = Browser(place.server).open("/-/sign-in/other/")
    assert (answer.status, "set-cookie" in answer.headers) == (503, False)
    assert "Other could not be asked" in answer.body.decode()


def test_guesses_are_limited(place: Place) -> None:
    """After three refused answers of a provider, a network has to wait."""
    browser = Browser(place.server)
    browser.open("/-/sign-in/acme/")
    statuses = [browser.open("/-/sign-in/acme/callback?state=x&code=y").status for _ in range(4)]
    assert statuses == [400, 400, 400, 429]


def _sign_in_cookie(start: InProcessResponse) -> tuple[str, str]:
    return "Cookie", start.headers["set-cookie"].partition(";")[0]


async def _guess(place: Place, client: str) -> int:
    """Let a stranger come back to the first provider with a code of their own."""
    start = await place.server.ask("/-/sign-in/acme/", client=client)
    state = parse_qs(urlsplit(start.headers["location"]).query)["state"][0]
    path = f"/-/sign-in/acme/callback?{urlencode({'code': 'invented', 'state': state})}"
    return (await place.server.ask(path, _sign_in_cookie(start), client=client)).status


async def _sign_in_at_the_other(place: Place) -> InProcessResponse:
    start = await place.server.ask("/-/sign-in/other/")
    back = urlencode(place.other.authorize(start.headers["location"]))
    return await place.server.ask(f"/-/sign-in/other/callback?{back}", _sign_in_cookie(start))


@pytest.mark.parametrize(
    ("client", "asked"),
    [("127.0.0.{}", 3), ("10.0.{}.1", PROVIDER_THREADS)],
    ids=["one network", "many networks"],
)
def test_a_slow_provider_delays_no_other(place: Place, client: str, asked: int) -> None:
    """While strangers wait for one provider, somebody signs in with another."""
    may_answer, exchange = Event(), f"{place.acme.path}/token"
    place.acme.before_exchange = lambda: may_answer.wait(TIMEOUT_SECONDS)

    async def play() -> tuple[InProcessResponse, list[int]]:
        guesses = [create_task(_guess(place, client.format(number))) for number in range(1, 25)]
        try:
            await to_thread(until, lambda: place.acme.server.asked(exchange) == asked)
            answer = await _sign_in_at_the_other(place)
            assert place.acme.server.asked(exchange) == asked  # and nobody is done
        finally:
            may_answer.set()
        return answer, await gather(*guesses)

    answer, statuses = place.server.runner.get_loop().run_until_complete(play())
    assert session_in(answer)
    assert {*statuses} == ({403, 429} if asked == 3 else {403})
    assert place.acme.server.asked(exchange) == statuses.count(403)


def test_another_sign_in_ends_the_session_before(place: Place) -> None:
    """The cookie of a session works no more once its browser has signed in anew."""
    browser = Browser(place.server)
    place.sign_in(browser)
    name = next(name for name in browser.cookies if "-session-" in name)
    before = browser.cookies[name]
    start = browser.open("/-/sign-in/acme/")
    path = place.come_back(start)
    del browser.cookies[name]  # a Strict cookie does not come from the site of the provider
    assert session_in(browser.open(path))
    assert browser.open("/project/demo/").status == 200
    assert Browser(place.server, {name: before}).open("/project/demo/").status == 401


def test_a_failed_sign_in_ends_no_session(place: Place) -> None:
    """Who cannot sign in again, or does not come back, stays signed in."""
    browser = Browser(place.server)
    place.sign_in(browser)
    start = browser.open("/-/sign-in/acme/")
    assert browser.open(place.come_back(start, code="invented")).status == 403
    assert browser.open("/project/demo/").status == 200


def test_another_name_is_no_other_limit(place: Place) -> None:
    """Of one account thirty sign-ins a minute are taken, whatever it is called."""
    statuses = []
    for number in range(31):
        place.acme.claims["email"] = f"ana{number // 10}@acme.dev"
        statuses.append(place.sign_in(Browser(place.server)).status)
    assert statuses == [*[200] * 30, 429]


@pytest.mark.parametrize("path", ["/-/sign-in/nobody/", "/-/sign-in/nobody/callback?code=x"])
def test_an_unknown_provider_is_not_found(place: Place, path: str) -> None:
    """A link to a provider that the settings do not have any more leads to those that they have."""
    answer = Browser(place.server).open(path)
    assert answer.status == 404
    assert "Sign in with Acme" in answer.body.decode()


def test_without_a_provider_no_sign_in_with_one_is_found(tmp_path: Path) -> None:
    """A server without a provider has neither a way to one nor a way back from one."""
    with in_process(tmp_path, Settings()) as server:
        for path in ("/-/sign-in/acme/", "/-/sign-in/acme/callback?code=x&state=y"):
            assert Browser(server).open(path).status == 404


def test_a_look_at_the_headers_uses_nothing_up(place: Place) -> None:
    """A HEAD or POST of the link back from a provider does not use up the sign-in."""
    browser = Browser(place.server)
    path = place.come_back(browser.open("/-/sign-in/acme/"))
    assert place.server.get(path, method="HEAD").status == 405
    assert place.server.get(path, method="POST").status == 405
    assert browser.open(path).status == 200


def test_the_providers_come_first_on_the_page(place: Place, tmp_path: Path) -> None:
    """Buttons for the providers, then the form: open if there are passwords, else folded."""
    page = Browser(place.server).open("/-/sign-in/?next=/project/demo/").body.decode()
    links = re.findall(r'<a class="button" href="([^"]+)">([^<]+)</a>', page)
    start = f"{HERE}/-/sign-in"
    assert links == [
        (f"{start}/acme/?next=/project/demo/", "Sign in with Acme"),
        (f"{start}/other/?next=/project/demo/", "Sign in with Other"),
    ]
    assert page.index("Sign in with Other") < page.index("<details>") < page.index("<form method")
    (tmp_path / "htpasswd").write_text("")
    settings = settings_for(place.acme, place.other, str(tmp_path / "htpasswd"))
    (tmp_path / "two").mkdir()
    with in_process(tmp_path / "two", settings) as server:
        page = Browser(server).open("/-/sign-in/").body.decode()
    assert page.index("Sign in with Other") < page.index("With a password") < page.index("<form m")
    assert "<details>" not in page


def test_a_sign_out_is_not_one_at_the_provider(place: Place) -> None:
    """Who signs out learns what goes on: other browsers, and the session at the provider."""
    page = Browser(place.server).open("/-/sign-in/?signed-out").body.decode()
    assert "You are signed out in this browser. In other browsers you stay signed in." in page
    assert "with an account of Acme or Other, you are still signed in there" in page


def test_a_wrong_token_opens_the_form(place: Place) -> None:
    """Who has typed a token that does not fit sees the field again."""
    answer = Browser(place.server).sign_in("", "wyd_nonsense")
    assert answer.status == 401
    assert "<details open>" in answer.body.decode()


def test_who_comes_back_after_hours_has_the_rights_of_now(place: Place) -> None:
    """Who comes back after hours has the rights that the provider tells of now, also for a form."""
    browser = Browser(place.server)
    place.sign_in(browser)
    assert browser.open("/project/demo/").status == 200
    place.acme.claims["groups"] = ["sales"]
    place.server.clock.advance(hours=3)
    assert browser.open("/project/demo/").status == 404
    place.acme.claims["groups"] = ["platform"]
    place.server.clock.advance(hours=3)
    token = browser.form_token("/-/account/")
    place.server.clock.advance(hours=3)
    assert browser.send("/-/sign-out/", {"csrf_token": token}).status == 303
    assert len(place.acme.renewals) == 3


def test_who_comes_back_while_the_provider_is_away_waits_for_it(place: Place) -> None:
    """A session does not count while the provider cannot confirm it, and the page says so."""
    browser = Browser(place.server)
    place.sign_in(browser)
    place.acme.break_off()
    place.server.clock.advance(hours=3)
    for _ in range(2):
        answer = browser.open("/project/demo/")
        assert (answer.status, "retry-after" in answer.headers) == (503, True)
        assert "Acme does not answer" in answer.body.decode()
        assert (
            'href="/-/sign-in/?next=/project/demo/">sign in</a> in another' in answer.body.decode()
        )
        assert "You are signed in again as soon as it does." in answer.body.decode()
    assert browser.open("/-/sign-in/").status == 200  # another way in stays open
    place.acme.repair()
    place.server.clock.advance(minutes=2)
    assert browser.open("/project/demo/").status == 200


def test_a_confirmation_that_ends_in_the_middle_of_a_request(
    providers: ProviderServer, tmp_path: Path
) -> None:
    """A page that also tells of other indexes is answered in the second in which it ends."""
    clock = Clock()
    acme = providers.provider(clock.seconds)
    acme.claims["groups"] = ["platform"]
    grant = {"who": ["oidc:acme:group:platform"], "projects": ["*"], "index": "main,dev"}
    tables = toml_of(index=[{"name": "dev"}], grant=[{**grant, "actions": ["read", "upload"]}])
    with in_process(tmp_path, settings_for(acme, acme), clock=clock, tables=tables) as server:
        server.publish_to("dev", make_wheel("demo", "1.0"))
        browser = Browser(server)
        Place(server, acme, acme).sign_in(browser, "/dev/project/demo/")
        acme.break_off()
        clock.advance(minutes=59, seconds=59.5)
        assert browser.open("/dev/project/demo/1.0/").status == 200
        # the caller is still remembered in dev, and has to be confirmed in main
        clock.advance(seconds=0.75)
        assert browser.open("/dev/project/demo/1.0/").status == 200
        form = browser.open("/dev/project/demo/1.0/promote/")
    assert (form.status, "retry-after" in form.headers) == (503, True)


def test_no_secret_of_a_sign_in_is_in_the_log(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has who has signed in, and neither code, state nor refresh token."""
    caplog.set_level("DEBUG")
    browser = Browser(place.server)
    path = place.come_back(browser.open("/-/sign-in/acme/"))
    browser.open(path)
    browser.open(path)
    place.acme.claims |= {"email": "stranger@evil.example", "email_verified": False}
    place.sign_in(browser)
    assert "signed in by oidc:acme:ana@acme.dev" in caplog.text
    assert "a credential was refused: acme: state_used, from 127.0.0.0/24" in caplog.text
    assert "a credential was refused: acme: email_unverified, from 127.0.0.0/24" in caplog.text
    sent = parse_qs(urlsplit(path).query)
    secrets = (sent["code"][0], sent["state"][0], "refresh-", "access-", SECRET, "stranger")
    assert [secret for secret in secrets if secret in caplog.text] == []


def test_a_refresh_token_is_sealed_in_the_store(place: Place) -> None:
    """Whoever reads the store finds no refresh token that a provider would take."""
    place.sign_in(Browser(place.server))
    store = place.server.index.stores.credentials
    (entry,) = store.list("credentials/people/")
    body = b"".join(store.read(entry.key))
    assert b'"refresh_token":"' in body
    assert b"refresh-" not in body
