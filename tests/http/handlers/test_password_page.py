"""The page on which somebody with a password changes it."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.http.browser import Browser
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from wheelyard.authentication import passwords
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

OLD, NEW = "s3cret", "correct horse"
PAGE = "/-/account/password/"


def settings_in(folder: Path, **access: object) -> Settings:
    """Return the settings of a private index with the user ana."""
    (folder / "htpasswd").write_text(f"ana:{SHA}\n")
    values = {"cookie_login": True, "failed_login_per_minute": 3, **access}
    settings = AccessSettings(private=True, htpasswd_file=str(folder / "htpasswd"), **values)  # type: ignore[arg-type]
    return Settings(access=settings, server=ServerSettings(public_url="http://index"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessServer]:
    """Serve a private index."""
    monkeypatch.setattr(passwords, "ROUNDS", 4)
    with in_process(tmp_path, settings_in(tmp_path)) as opened:
        yield opened


@pytest.fixture
def browser(server: InProcessServer) -> Browser:
    """Return the browser of Ana, who has signed in."""
    browser = Browser(server)
    assert browser.sign_in("ana", OLD).status == 303
    return browser


def send(browser: Browser, **changes: str) -> InProcessResponse:
    """Send the form."""
    fields = {"present": OLD, "new": NEW, "again": NEW, **changes}
    return browser.send(PAGE, {"csrf_token": browser.form_token(PAGE), **fields})


def test_a_person_changes_their_password(server: InProcessServer, browser: Browser) -> None:
    """A person changes the password, stays signed in here, and is signed out elsewhere."""
    other = Browser(server)
    other.sign_in("ana", OLD)
    assert f'href="{PAGE.rpartition("account/")[2]}"' in browser.open("/-/account/").body.decode()
    page = browser.open(PAGE)
    assert (page.status, page.headers["cache-control"]) == (200, "no-store")

    answer = send(browser)

    assert (answer.status, answer.headers["location"]) == (303, "/-/account/?password-changed")
    assert answer.headers["cache-control"] == "no-store"
    server.clock.advance(seconds=2)
    assert "Your password is changed" in browser.open(answer.headers["location"]).body.decode()
    assert other.open("/-/account/").status == 401
    assert other.sign_in("ana", OLD).status == 401
    assert other.sign_in("ana", NEW).status == 303


@pytest.mark.parametrize(
    ("changes", "status", "field", "words"),
    [
        ({"present": "hunter2"}, 400, "present", "not your present password"),
        ({"present": ""}, 400, "present", "not your present password"),
        ({"again": "correct house"}, 400, "again", "not what you have typed above"),
        ({"new": OLD, "again": OLD}, 400, "new", "is the present one"),
        ({"new": "short", "again": "short"}, 400, "new", "fewer than 8 characters"),
        ({"csrf_token": "x"}, 403, "", "This form is too old"),
    ],
)
def test_a_refused_form_says_why(
    browser: Browser, changes: dict[str, str], status: int, field: str, words: str
) -> None:
    """A form that is refused has the reason beside its field, and never what was typed."""
    answer = send(browser, **changes)

    text = answer.body.decode()
    assert (answer.status, words in text) == (status, True)
    assert (f'id="{field}-error"' in text) == (field != "")
    assert not any(secret in text for secret in (OLD, NEW, "hunter2", "correct house"))
    assert browser.sign_in("ana", OLD).status == 303


def test_guesses_of_the_present_password_are_limited(browser: Browser) -> None:
    """Whoever sits at somebody else's browser guesses no faster than at the sign-in."""
    statuses = [send(browser, present=f"guess {number}").status for number in range(5)]

    assert statuses == [400, 400, 400, 429, 429]


def test_only_people_with_a_password_have_the_page(server: InProcessServer) -> None:
    """Nobody changes a password with a token, nor without a credential."""
    owner = server.index.authenticator.owners.named("htpasswd:ana")
    requests = (TokenRequest(name="x"), TokenRequest(name="ana's", owner=owner))
    assert Browser(server).open(PAGE).status == 401
    assert Browser(server).send(PAGE, {"present": OLD, "new": NEW, "again": NEW}).status == 401
    for request in requests:
        token, _ = server.index.tokens.create(request, "local:op")
        browser = Browser(server)
        assert browser.sign_in("", token.text).status == 303
        assert PAGE not in browser.open("/-/account/").body.decode()
        assert browser.open(PAGE).status == 403
        fields = {"csrf_token": browser.form_token("/-/account/"), "present": OLD, "new": NEW}
        assert browser.send(PAGE, {**fields, "again": NEW}).status == 403


def test_a_browser_without_a_session_can_change_it(tmp_path: Path, server: InProcessServer) -> None:
    """Where the browser sends the password itself, it is changed, and the browser asks again."""
    del server

    def basic(password: str) -> tuple[str, str]:
        return "Authorization", f"Basic {b64encode(f'ana:{password}'.encode()).decode()}"

    with in_process(tmp_path, settings_in(tmp_path, cookie_login=False)) as opened:
        browser = Browser(opened)
        page = browser.open(PAGE, basic(OLD)).body.decode()
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        fields = {"csrf_token": token, "present": OLD, "new": NEW, "again": NEW}
        answer = browser.send(PAGE, fields, basic(OLD))

        assert (answer.status, "set-cookie" in answer.headers) == (303, False)
        opened.clock.advance(seconds=2)
        assert browser.open("/-/account/", basic(OLD)).status == 401
        assert browser.open("/-/account/", basic(NEW)).status == 200


def test_a_read_only_server_changes_none(tmp_path: Path) -> None:
    """A read-only server takes no password, and says so."""
    settings = settings_in(tmp_path, cookie_login=False)
    header = ("Authorization", f"Basic {b64encode(f'ana:{OLD}'.encode()).decode()}")
    read_only = Settings(access=settings.access, server=ServerSettings(read_only=True))
    with in_process(tmp_path, read_only) as opened:
        browser = Browser(opened)
        assert "Change your password" not in browser.open("/-/account/", header).body.decode()
        assert browser.open(PAGE, header).status == 403
        fields = {"present": OLD, "new": NEW, "again": NEW}
        assert browser.send(PAGE, fields, header).status == 403
