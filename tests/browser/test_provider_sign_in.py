"""Signing in with a real provider of OpenID Connect, in a browser with and without scripts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from msgspec.structs import replace

from tests.browser.axe import violations
from tests.browser.chromium import Browser, Person
from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from tests.services.openid import SECRET, RealProvider, running_oidc_provider
from tests.waiting import until
from wheelyard.model.person import Person as Record
from wheelyard.model.person import id_of_subject

pytestmark = pytest.mark.integration

PRIVATE: Final = "[access]\nprivate = true\n"
GRANTS: Final = """
[[grant]]
who = ["oidc:acme:group:platform"]
projects = ["acme-*"]
actions = ["read", "upload"]
"""
PROJECT: Final = "/project/acme-core/"
SIGN_IN: Final = "Sign in with Acme & Co"
NUMBERS: Final = count()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealProvider]:
    """A provider."""
    with running_oidc_provider(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture(scope="module")
def index(
    provider: RealProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server where only a group of the provider may read."""
    tables = provider.table(title="Acme & Co") + provider.table(name="other")
    secrets = {"WHEELYARD_SIGN_IN_ACME_SECRET": SECRET, "WHEELYARD_SIGN_IN_OTHER_SECRET": SECRET}
    folder = tmp_path_factory.mktemp("index")
    with running_server(
        folder, config=PRIVATE + tables, environment=secrets, tables=GRANTS
    ) as server:
        publish(server, make_wheel("acme-core", "1.0"))
        yield server


@pytest.fixture
def subject(provider: RealProvider) -> str:
    """Somebody who has an account at the provider, and has not signed in yet."""
    subject = f"person-{next(NUMBERS)}"
    address = f"{subject}@acme.dev"
    provider.set_account(subject, email=address, email_verified=True, groups=["platform"])
    return subject


@contextmanager
def visitor(
    browser: Browser, index: RunningServer, provider: RealProvider, *, has_scripts: bool = True
) -> Iterator[Person]:
    """Let somebody look at the pages of the index, and of the provider."""
    others = (provider.issuer,)
    with browser.person(index.url, others, java_script_enabled=has_scripts) as person:
        yield person


def log_in(person: Person, subject: str) -> None:
    """Type a name and a password at the provider."""
    person.page.get_by_placeholder("Enter any login").fill(subject)
    person.page.get_by_placeholder("and password").fill("any")
    person.press("Sign-in")


def sign_in(person: Person, subject: str) -> None:
    """Sign in to see the page of the project, and agree at the provider."""
    person.open(f"/-/sign-in/acme/?next={PROJECT}")
    agree(person, subject)


def agree(person: Person, subject: str) -> None:
    """Log in at the provider, and agree to what leads to the page of the project."""
    log_in(person, subject)
    person.press("Continue")
    person.page.wait_for_url(f"**{PROJECT}")


def record_of(index: RunningServer, subject: str) -> Record:
    """Return what is stored of somebody."""
    person = index.index.server.people.get_current("acme", id_of_subject(subject)).value
    assert person is not None
    return person


def make_renewal_due(index: RunningServer, subject: str) -> None:
    """Let it be a while ago that the provider has confirmed somebody."""
    people, person_id = index.index.server.people, id_of_subject(subject)
    snapshot = people.get_current("acme", person_id)
    assert snapshot.value is not None
    before = snapshot.value.confirmed_at - timedelta(minutes=20)
    assert people.save(replace(snapshot.value, confirmed_at=before), snapshot) is not None


@pytest.mark.parametrize(
    "has_scripts",
    [True, pytest.param(False, marks=pytest.mark.weekly)],
    ids=["scripts", "no-scripts"],
)
def test_somebody_signs_in_and_is_where_they_wanted_to_be(
    browser: Browser,
    index: RunningServer,
    provider: RealProvider,
    subject: str,
    *,
    has_scripts: bool,
) -> None:
    """From a page that is not for everybody, by way of the provider, back to that page and out."""
    with visitor(browser, index, provider, has_scripts=has_scripts) as person:
        person.open(PROJECT)
        person.follow("Sign in")
        person.follow(SIGN_IN)
        agree(person, subject)
        # the session's cookie, which no other site's link sends, is there at the first page
        assert person.path == PROJECT
        assert "acme-core" in person.text
        cookies = person.page.context.cookies(index.url)
        kinds = {cookie["name"].rpartition("-")[0]: cookie["sameSite"] for cookie in cookies}
        assert kinds == {"wheelyard-session": "Strict", "wheelyard-sign-in": "Lax"}
        assert all(cookie["httpOnly"] for cookie in cookies)
        assert person.page.get_by_role("link", name=f"{subject}@acme.dev").is_visible()
        person.open("/-/account/")
        assert f"{subject}@acme.dev, by acme" in person.text
        person.press("Sign out")
        assert "You are signed out" in person.text
        # the provider remembers the person, and asks nothing
        person.open(PROJECT)
        person.follow("Sign in")
        person.follow(SIGN_IN)
        person.page.wait_for_url(f"**{PROJECT}")
        assert "acme-core" in person.text


def test_an_answer_that_is_opened_again_signs_nobody_in(
    browser: Browser, index: RunningServer, provider: RealProvider, subject: str
) -> None:
    """The address in the browser's history is worth nothing, also to the person itself."""
    with visitor(browser, index, provider) as person:
        answers = list[str]()
        person.page.on("request", lambda request: answers.append(request.url))
        sign_in(person, subject)
        (callback,) = {url for url in answers if "/callback?" in url}
        person.page.context.clear_cookies(
            name=next(
                cookie["name"]
                for cookie in person.page.context.cookies(index.url)
                if cookie["name"].startswith("wheelyard-session")
            )
        )
        assert person.open(callback.removeprefix(index.url)) == 400
        assert "This sign-in was begun more than ten minutes ago" in person.text
        person.follow(SIGN_IN)
        person.page.wait_for_url(f"**{PROJECT}")


def test_a_stolen_state_signs_nobody_in_elsewhere(
    browser: Browser, index: RunningServer, provider: RealProvider, subject: str
) -> None:
    """Who is sent a link to the provider does not end up in somebody else's sign-in."""
    with visitor(browser, index, provider) as thief, visitor(browser, index, provider) as person:
        person.open("/-/sign-in/acme/")
        with thief.page.expect_request("**/auth?*") as sent:
            thief.open("/-/sign-in/acme/")
        assert sent.value.url.startswith(provider.issuer)
        person.page.goto(sent.value.url)
        log_in(person, subject)
        person.press("Continue")
        assert "This sign-in was begun more than ten minutes ago, in another browser" in person.text
        assert person.open(PROJECT) == 401


@pytest.mark.parametrize(
    ("begun_with", "changes", "words"),
    [
        ("acme", {"nonce": "another"}, "The answer of Acme & Co could not be trusted"),
        ("other", {"redirect_uri": "{acme}"}, "This sign-in was begun more than ten minutes ago"),
    ],
    ids=["nonce", "provider"],
)
def test_a_request_that_is_changed_on_its_way_signs_nobody_in(
    browser: Browser,
    index: RunningServer,
    provider: RealProvider,
    subject: str,
    *,
    begun_with: str,
    changes: dict[str, str],
    words: str,
) -> None:
    """An ID token of another request, or an answer to another provider, is not taken."""
    with visitor(browser, index, provider) as person:
        start = f"{index.url.rstrip('/')}/-/sign-in/{begun_with}/"
        sent = person.page.context.request.get(start, max_redirects=0).headers["location"]
        parts, here = urlsplit(sent), index.url.rstrip("/")
        acme = f"{here}/-/sign-in/acme/callback"
        asked = dict(parse_qsl(parts.query))
        asked |= {name: value.format(acme=acme) for name, value in changes.items()}
        person.page.goto(parts._replace(query=urlencode(asked)).geturl())
        log_in(person, subject)
        person.press("Continue")
        assert words in person.text
        assert person.open(PROJECT) == 401


def test_links_and_addresses_of_others_open_nothing(
    browser: Browser, index: RunningServer, provider: RealProvider, subject: str
) -> None:
    """An address that is not verified signs nobody in, and no link leads to another site."""
    address = f"{subject}@acme.dev"
    provider.set_account(subject, email=address, email_verified=False, groups=["platform"])
    with visitor(browser, index, provider) as person:
        start = "/-/sign-in/acme/?next=https%3A%2F%2Fevil.example%2F"
        person.open(start)
        log_in(person, subject)
        person.press("Continue")
        assert "Acme & Co has not verified your e-mail address." in person.text
        assert person.open(PROJECT) == 401
        provider.set_account(subject, email=address, email_verified=True, groups=["platform"])
        person.open(start)  # the provider remembers the person
        person.page.wait_for_url(person.base)
        assert person.open(PROJECT) == 200


def test_who_cancels_at_the_provider_is_told_so(
    browser: Browser, index: RunningServer, provider: RealProvider
) -> None:
    """The page says that the provider has not signed anybody in, and is right for axe-core."""
    with visitor(browser, index, provider) as person:
        person.look("dark", 320)
        person.open("/-/sign-in/")
        assert violations(person) == []
        person.look("light", 768)
        person.follow(SIGN_IN)
        person.page.get_by_text("[ Cancel ]").click()
        person.page.wait_for_url("**/callback?*")
        assert "Acme & Co did not sign you in." in person.text
        assert person.page.get_by_role("link", name=SIGN_IN).is_visible()
        assert violations(person) == []


def test_what_the_provider_says_at_a_renewal_holds(
    browser: Browser, index: RunningServer, provider: RealProvider, subject: str
) -> None:
    """A group that is taken away is lost, a name follows, and a deleted account is signed out."""
    with visitor(browser, index, provider) as person:
        sign_in(person, subject)
        first = record_of(index, subject).refresh_token
        new_name = f"new-{subject}@acme.dev"
        provider.set_account(subject, email=new_name, email_verified=True, groups=["sales"])
        make_renewal_due(index, subject)
        until(lambda: person.open(PROJECT) == 404)
        assert record_of(index, subject).groups == ("sales",)
        assert record_of(index, subject).refresh_token != first
        assert person.page.get_by_role("link", name=new_name).is_visible()
        provider.delete_account(subject)
        make_renewal_due(index, subject)
        until(lambda: person.open(PROJECT) == 401)
    assert f"renamed by acme: oidc:acme:{subject}@acme.dev, name {new_name}" in index.log
    ended = f"sessions ended by acme: oidc:acme:{new_name}, reason provider_invalid_grant"
    assert ended in index.log
