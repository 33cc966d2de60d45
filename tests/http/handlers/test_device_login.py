"""Logins of programs: the endpoints of RFC 8628, and the page on which a person decides."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.http.browser import FORM, Browser
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

PASSWORD = "s3cret"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["htpasswd:ana"], "projects": ["acme-*"], "actions": ["upload"]},
    {"who": ["htpasswd:ana"], "projects": ["tools"], "actions": ["read"]},
)


def settings_in(folder: Path, prefix: str = "", **access: object) -> Settings:
    """Return the settings of a private index with the users ana, who may upload acme-*, and bo."""
    (folder / "htpasswd").write_text(f"ana:{SHA}\nbo:{SHA}\n")
    values = {"cookie_login": True, "htpasswd_file": str(folder / "htpasswd"), **access}
    server = ServerSettings(public_url=f"http://index{prefix}", path_prefix=prefix)
    return Settings(access=AccessSettings(**values), server=server, grant=GRANTS)  # type: ignore[arg-type]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Serve a private index."""
    with in_process(tmp_path, settings_in(tmp_path)) as opened:
        yield opened


def post(server: InProcessServer, path: str, **fields: str | list[str]) -> InProcessResponse:
    """Send a form, as a program does."""
    body = urlencode(fields, doseq=True).encode()
    headers = (FORM, ("Content-Length", str(len(body))))
    return server.get(path, *headers, method="POST", body=[body])


def asked(server: InProcessServer, prefix: str = "", **fields: str) -> dict[str, str]:
    """Begin a login."""
    answer = post(server, f"{prefix}/_/login/device", **{"host": "anas-laptop", **fields})
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store"), answer.body
    body: dict[str, str] = json.loads(answer.body)
    assert '"expires_in":600,"interval":5' in answer.body.decode()
    assert body["verification_uri"].startswith(f"http://index{prefix}/-/login/?request=")
    return body


def fetched(server: InProcessServer, login: dict[str, str], prefix: str = "") -> dict[str, object]:
    """Ask for the token of a login, after the interval."""
    server.clock.advance(seconds=5)
    code = login["device_code"]
    answer = post(server, f"{prefix}/_/login/token", grant_type=GRANT, device_code=code)
    body: dict[str, object] = json.loads(answer.body)
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.status == 200) == ("access_token" in body)
    if answer.status != 200:
        assert body["error_description"] == body["message"]
        assert answer.status == 400
    return body


def page_of(login: dict[str, str]) -> str:
    """Return the path of the page of a login."""
    url = urlsplit(login["verification_uri"])
    return f"{url.path}?{url.query}"


def signed_in(server: InProcessServer, user: str = "ana") -> Browser:
    """Return the browser of somebody who has signed in."""
    browser = Browser(server)
    assert browser.sign_in(user, PASSWORD).status == 303
    return browser


def decide(browser: Browser, login: dict[str, str], **changes: str) -> InProcessResponse:
    """Send the form of a login's page as it is filled in, with the code and these changes."""
    page = browser.open(page_of(login))
    assert page.status == 200, page.body
    text = page.body.decode()
    found = re.findall('<input[^>]* name="([a-z_]+)" value="([^"]*)"', text)
    fields = {name: unescape(value) for name, value in found if name not in ("q", "can")}
    ticked = re.search('name="can" value="([a-z]+)" checked', text)
    fields |= {"action": "approve", "code": login["user_code"]}
    fields |= {"can": ticked[1] if ticked else "", **changes}
    return browser.send(urlsplit(login["verification_uri"]).path, fields)


def test_a_program_gets_a_token_through_a_browser(server: InProcessServer) -> None:
    """A person looks at what a program asks for, types its code, and it gets a token."""
    login, ana = asked(server, scope="read upload", days="30", name="laptop"), signed_in(server)
    assert fetched(server, login)["error"] == "authorization_pending"
    page = ana.open(page_of(login))
    text = unescape(page.body.decode())
    assert page.headers["cache-control"] == "no-store"
    for words in (
        "anas-laptop",
        "read and upload to every project, for 30 days",
        "as your browser",
    ):
        assert words in text, words
    assert "Go on only if you have just run" in text
    assert 'value="acme-*"' in text  # what is asked for, within Ana's rights
    assert login["user_code"] not in text
    assert login["device_code"] not in text

    answer = decide(ana, login, projects="acme-core", can="read", days="7")

    assert (answer.status, answer.headers["location"]) == (303, "/-/login/?done=approved")
    assert "Go back to the terminal" in ana.open(answer.headers["location"]).body.decode()
    body = fetched(server, login)
    token = str(body["access_token"])
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 7 * 86400)
    assert (body["scope"], body["projects"]) == ("read", ["acme-core"])
    assert (body["name"], body["owner"], body["id"]) == ("laptop", "htpasswd:ana", token[4:14])
    seen = server.get("/api/v1/whoami", ("Authorization", f"Bearer {token}"))
    assert json.loads(seen.body)["rights"] == [{"can": ["read"], "projects": ["acme-core"]}]
    assert fetched(server, login)["error"] == "invalid_grant"
    assert ana.open(page_of(login)).status == 404
    assert token[4:14] in ana.open("/-/account/tokens/").body.decode()


@pytest.mark.parametrize("prefix", ["", "/packages"])
def test_a_person_signs_in_on_the_way(tmp_path: Path, prefix: str) -> None:
    """Who opens the URL signs in first, and comes back; so does who has signed in long ago."""
    with in_process(tmp_path, settings_in(tmp_path, prefix)) as server:
        login, browser = asked(server, prefix), Browser(server)
        page = page_of(login)
        refused = browser.open(page)
        link = re.findall('href="([^"]*/-/sign-in/[^"]*next=[^"]*)"', refused.body.decode())[0]
        (target,) = parse_qs(urlsplit(unescape(link)).query)["next"]
        assert (refused.status, target) == (401, page)
        fields = {"user": "ana", "password": PASSWORD, "next": target}
        answer = browser.send(f"{prefix}/-/sign-in/", fields)
        assert answer.headers["location"] == page
        server.clock.advance(hours=1, seconds=1)
        login = asked(server, prefix)
        stale = browser.open(page_of(login)).body.decode()
        assert "more than an hour ago" in stale
        assert 'name="code"' not in stale
        (link,) = re.findall(f'href="({prefix}/-/sign-in/[^"]*again=)"', stale)
        (target,) = parse_qs(urlsplit(unescape(link)).query)["next"]
        assert target == page_of(login)
        browser.send(f"{prefix}/-/sign-in/", {**fields, "next": target})

        assert decide(browser, login).status == 303
        assert fetched(server, login, prefix)["owner"] == "htpasswd:ana"


def test_a_browser_that_sends_a_password_approves(tmp_path: Path) -> None:
    """Without sessions, the browser asks for name and password, and the person approves."""
    with in_process(tmp_path, settings_in(tmp_path, cookie_login=False)) as server:
        login = asked(server)
        assert Browser(server).open(page_of(login)).headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("changes", "status", "field", "words"),
    [
        ({"code": "BBBBBBBB"}, 400, "code", "does not show this code. You have 4 more tries"),
        ({"code": ""}, 400, "code", "Type the code"),
        ({"days": "91"}, 400, "days", "from 1 to 90"),
        ({"days": "0"}, 400, "days", "from 1 to 90"),
        ({"projects": ""}, 400, "projects", "Name the projects"),
        ({"projects": "*"}, 403, "", "may do no more than its owner"),
        ({"can": "manage"}, 400, "can", "has not asked for that"),
        ({"can": ""}, 400, "can", "Choose what"),
        ({"name": " "}, 400, "name", "needs a name"),
        ({"csrf_token": "x"}, 403, "", "This form is too old"),
        ({"action": "x"}, 400, "", "does not say what to do"),
    ],
)
def test_a_refused_form_says_why(
    server: InProcessServer, changes: dict[str, str], status: int, field: str, words: str
) -> None:
    """A form that is refused comes again with the reason, and the program waits on."""
    login, ana = asked(server), signed_in(server)

    answer = decide(ana, login, **changes)

    text = unescape(answer.body.decode())
    assert (answer.status, words in text) == (status, True)
    assert (f'id="{field}-error"' in text) == (field != "")
    assert fetched(server, login)["error"] == "authorization_pending"
    assert decide(ana, login).status == 303


def test_refusing_is_a_button(server: InProcessServer) -> None:
    """Who refuses needs no code, and the program is told."""
    login, ana = asked(server), signed_in(server)

    answer = decide(ana, login, action="refuse", code="", days="", name="")

    assert answer.headers["location"] == "/-/login/?done=refused"
    assert "gets no token" in ana.open(answer.headers["location"]).body.decode()
    assert fetched(server, login)["error"] == "access_denied"


def test_five_wrong_codes_end_it(server: InProcessServer) -> None:
    """Who guesses codes ends the login with the fifth, and is slowed down before many logins."""
    login, ana = asked(server), signed_in(server)
    for _ in range(4):
        assert decide(ana, login, code="BBBBBBBB").status == 400
    assert decide(ana, login, code="BBBBBBBB").status == 404
    assert ana.open(page_of(login)).status == 404
    assert fetched(server, login)["error"] == "access_denied"
    statuses = [decide(ana, asked(server), code="BBBBBBBB").status for _ in range(8)]
    assert statuses[-1] == 429


def test_programs_that_ask_too_often_are_slowed_down(server: InProcessServer) -> None:
    """A program that asks before five seconds have passed is told to slow down."""
    login = asked(server)
    fields = {"grant_type": GRANT, "device_code": login["device_code"]}
    errors = [json.loads(post(server, "/_/login/token", **fields).body)["error"] for _ in range(2)]
    assert errors == ["authorization_pending", "slow_down"]
    assert fetched(server, login)["error"] == "authorization_pending"

    answers = [post(server, "/_/login/device") for _ in range(31)]

    assert {answer.status for answer in answers[:29]} == {200}
    assert (answers[-1].status, "retry-after" in answers[-1].headers) == (429, True)


@pytest.mark.parametrize(
    ("path", "fields", "error"),
    [
        ("device", {"scope": "admin"}, "invalid_field"),
        ("device", {"scope": "rubbish"}, "invalid_field"),
        ("device", {"days": "x"}, "invalid_field"),
        ("device", {"project": "acme-*-x"}, "invalid_field"),
        ("device", {"project": "a" * 300}, "invalid_name"),
        ("device", {"name": "a\nb"}, "invalid_field"),
        ("device", {"host": ["a", "b"]}, "duplicate_field"),
        ("token", {"grant_type": "password"}, "unsupported_grant_type"),
        ("token", {"grant_type": GRANT}, "invalid_grant"),
        ("token", {"grant_type": GRANT, "device_code": "rubbish"}, "invalid_grant"),
    ],
)
def test_malformed_requests_are_refused(
    server: InProcessServer, path: str, fields: dict[str, str | list[str]], error: str
) -> None:
    """What a program must not send gets an error with what is wrong, and nothing is stored."""
    answer = post(server, f"/_/login/{path}", **fields)

    assert (answer.status, json.loads(answer.body)["error"]) == (400, error)
    assert server.get(f"/_/login/{path}", method="POST", body=[b"{}"]).status == 415
    assert server.get(f"/_/login/{path}").status == 405
    assert not list(server.index.stores.credentials.list("credentials/"))


@pytest.mark.parametrize("days", ["0", "-1", "abc", "366"])
def test_days_that_no_token_has_are_refused(server: InProcessServer, days: str) -> None:
    """A program that asks for impossible days is told which ones are possible."""
    answer = post(server, "/_/login/device", days=days)

    assert json.loads(answer.body)["error_description"] == "Ask for a number of days from 1 to 365."


def test_asking_stores_nothing_but_the_key(server: InProcessServer) -> None:
    """However many programs ask, nothing is stored but the key that signs all of them."""
    for _ in range(3):
        fetched(server, asked(server))

    stored = [str(entry.key) for entry in server.index.stores.credentials.list("credentials/")]
    assert stored == ["credentials/sessions/key.json"]


def test_who_may_not_approve_is_told(server: InProcessServer) -> None:
    """A session of a token, and a person without rights, see what is asked for and why not."""
    login, ana = asked(server), signed_in(server)
    token = str((decide(ana, login), fetched(server, login))[1]["access_token"])
    by_token = Browser(server)
    by_token.sign_in("", token)
    login = asked(server)

    page = by_token.open(page_of(login)).body.decode()
    assert "Only a person who has signed in approves a login" in page
    assert 'name="code"' not in page
    fields = {
        "csrf_token": by_token.form_token("/-/account/"),
        "request": parse_qs(urlsplit(login["verification_uri"]).query)["request"][0],
        "code": login["user_code"],
        "action": "approve",
        "can": "read",
        "projects": "acme-x",
        "days": "1",
        "name": "x",
    }
    assert by_token.send("/-/login/", fields).status == 403
    assert by_token.send("/-/login/", {**fields, "action": "refuse"}).status == 403
    assert Browser(server).send("/-/login/", fields).status == 401
    bo = signed_in(server, "bo").open(page_of(login)).body.decode()
    assert "You have no rights of your own" in bo
    assert fetched(server, login)["error"] == "authorization_pending"
    assert ana.open("/-/login/").status == 404


def test_servers_that_cannot_refuse_to_begin(tmp_path: Path) -> None:
    """A read-only server, and one where nobody signs in, begin no login."""
    settings = settings_in(tmp_path, htpasswd_file="", cookie_login=False)
    with in_process(tmp_path, settings) as server:
        answer = post(server, "/_/login/device")
        body = json.loads(answer.body)
        assert (answer.status, body["error"]) == (403, "login_unavailable")
        assert "put it into ~/.netrc" in body["error_description"]
    read_only = Settings(server=ServerSettings(read_only=True))
    with in_process(tmp_path, read_only) as server:
        answer = post(server, "/_/login/device")
        assert (answer.status, json.loads(answer.body)["error"]) == (403, "read_only")
