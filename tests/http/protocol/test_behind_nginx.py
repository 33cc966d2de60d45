"""An index below a path of another host, behind a real nginx, with or without its prefix."""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Final
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2
import pytest

from tests.authentication.sign_in.fake_provider import SECRET, FakeProvider, running_providers
from tests.browser.site import PASSWORD, USER
from tests.distributions import make_wheel
from tests.http.packages import post
from tests.http.prefix_proxy import TEAM, Proxied, Setup, behind_nginx
from tests.http.servers import token_of
from tests.plain_http import LOCALLY
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML: Final = {"Accept": "text/html,application/xhtml+xml"}
DEMO: Final = make_wheel("demo")
INDEX: Final = '[main]\npromote_only = false\n[[index]]\nname = "dev"\nread = "anyone"\n'
LINK: Final = re.compile(r'\b(?:href|src|action)="([^"]*)"|content="0; url=([^"]*)"|<id>([^<]*)<')

SETUPS: Final = {
    "strip": Setup(takes_away=TEAM),
    "strip, no Host": Setup(takes_away=TEAM, passes_host=False),
    "strip, IPv6": Setup(takes_away=TEAM, host="[::1]"),
    "strip the first of two": Setup(takes_away="/of", path_prefix=TEAM),
    "keep": Setup(path_prefix=TEAM),
    "keep, no Host": Setup(path_prefix=TEAM, passes_host=False),
    "keep, no URL": Setup(path_prefix=TEAM, has_public_url=False),
    "keep, no URL, IPv6": Setup(path_prefix=TEAM, has_public_url=False, host="[::1]"),
}

WITH_URL: Final = {name: setup for name, setup in SETUPS.items() if setup.has_public_url}
"""The setups in which the server knows where a provider has to send people."""


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    """A provider that people sign in with."""
    with running_providers() as providers:
        yield providers.provider(system_runtime().seconds)


def marked(setups: Mapping[str, Setup]) -> list[object]:
    """Return setups as parameters, of which those that others resemble run once a week."""
    weekly = {"strip", "keep, no Host", "keep, no URL, IPv6"}
    return [
        pytest.param(setup, id=name, marks=[pytest.mark.weekly] if name in weekly else [])
        for name, setup in setups.items()
    ]


@pytest.fixture(scope="module", params=marked(SETUPS))
def index(
    request: pytest.FixtureRequest, provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    """An index with the project demo, also in the index dev, in each setup."""
    setup: Setup = request.param
    path = f"/of{TEAM}" if setup.takes_away == "/of" else TEAM
    config = (
        f'[[sign_in]]\nname = "acme"\nissuer = "{provider.issuer}"\n'
        f'client_id = "wheelyard"\nallow_private = true\n'
    )
    secret = {"WHEELYARD_SIGN_IN_ACME_SECRET": SECRET}
    folder = tmp_path_factory.mktemp("proxied")
    with behind_nginx(folder, setup, config, path, secret, INDEX) as proxied:
        token = token_of(proxied.server.index, can="upload", place="*")
        for name in ("", "/dev"):
            path = f"{setup.path_prefix}{name}/legacy/"
            answer = post(proxied.server, DEMO, path, token=token)
            assert answer.status_code == 200, answer.text
        yield proxied


@pytest.fixture
def browser() -> Iterator[httpx2.Client]:
    """A browser, which keeps cookies by their paths and follows no redirect by itself."""
    with httpx2.Client(timeout=60, headers=HTML, **LOCALLY) as client:
        yield client


def sign_in(browser: httpx2.Client, index: Proxied, next_path: str = "") -> httpx2.Response:
    """Send the form of the sign-in page as it is, and return the answer."""
    page = browser.get(f"{index.url}/-/sign-in/?{urlencode({'next': next_path})}")
    form = re.search(r'<form method="post" action="([^"]*-/sign-in/)">', page.text)
    back = re.search(r'name="next" value="([^"]*)"', page.text)
    assert form is not None
    assert back is not None
    fields = {"user": USER, "password": PASSWORD, "next": unescape(back[1])}
    origin = index.url.removesuffix(urlsplit(index.url).path)
    target = urljoin(str(page.url), form[1])
    return browser.post(target, data=fields, headers={"Origin": origin})


def links_of(answer: httpx2.Response) -> set[str]:
    """Return the URLs to which an answer leads, by links, forms, redirects and feeds."""
    base = str(answer.url)
    location, kind = answer.headers.get("location", ""), answer.headers.get("content-type", "")
    found = LINK.findall(answer.text) if "ml" in kind else []
    # an id of a feed may be a name instead of a URL
    texts = {location, *(unescape(text) for match in found for text in match)}
    urls = {urljoin(base, text).partition("#")[0] for text in texts if not text.startswith("urn:")}
    origin = base.removesuffix(base.partition("://")[2]) + urlsplit(base).netloc
    return {url for url in urls if url.startswith(f"{origin}/")}


def test_everything_leads_to_what_is_there(index: Proxied, browser: httpx2.Client) -> None:
    """Every link, form and redirect on the pages of an index stays below its URL, and works."""
    assert sign_in(browser, index).status_code == 303
    coming = [
        f"{index.url}{path}"
        for path in ("/", "/dev/", "/project/Demo/", "/simple", "/dev/simple/Demo/", "/feed.xml")
    ]
    known, failed = set(coming), set[str]()
    while coming and len(known) < 500:
        url = coming.pop()
        answer = browser.get(url)
        if answer.status_code >= 400:
            failed.add(url)
        found = links_of(answer) - known
        known |= found
        if "/-/docs/" in url and not answer.has_redirect_location:
            # `test_docs.py` reads each page of the documentation; here one shows how they link
            found = {min(found)} if url.endswith("/-/docs/") else set[str]()
        coming += sorted(found)

    assert {url for url in known if not url.startswith(f"{index.url}/")} == set()
    # forms that only take a POST
    assert {url for url in failed if not re.search(r"/-/(sign-out|client)/", url)} == set()
    assert any("/dev/project/demo/" in url for url in known)
    assert any(url.endswith(".whl") for url in known)


@pytest.mark.parametrize(
    "path", ["/nothing/x/y", "/project/nothing/", "/-/docs/no/thing/", "/dev/no/thing/x/"]
)
def test_error_pages_lead_back(index: Proxied, browser: httpx2.Client, path: str) -> None:
    """Whatever was asked for, the links of the error's page lead to pages that are there."""
    lost = browser.get(index.url + path)
    links = links_of(lost) - {str(lost.url)}  # to its main part

    assert lost.status_code == 404
    assert {url for url in links if not url.startswith(f"{index.url}/")} == set()
    assert browser.get(urljoin(str(lost.url), min(links, key=len))).status_code == 200
    for url in links:
        assert browser.get(url).status_code < 400, url


@pytest.mark.parametrize("path", ["/project/demo/", "/dev/project/demo/", "/-/account/tokens/"])
def test_signing_in_leads_back(index: Proxied, browser: httpx2.Client, path: str) -> None:
    """Whoever signs in by a password comes back to the page, signed in below this path alone."""
    target = urlsplit(index.url).path + path
    signed_in = sign_in(browser, index, target)
    there = urljoin(str(signed_in.url), signed_in.headers["location"])

    assert (signed_in.status_code, there) == (303, index.url + path)
    assert f"Path={urlsplit(index.url).path}/;" in signed_in.headers["set-cookie"]
    page = browser.get(there)
    assert f">{USER}</a>" in page.text
    token = re.search(
        r'name="csrf_token" value="([^"]+)"', browser.get(f"{index.url}/-/account/").text
    )
    assert token is not None
    origin = index.url.removesuffix(urlsplit(index.url).path)
    out = browser.post(
        f"{index.url}/-/sign-out/", data={"csrf_token": token[1]}, headers={"Origin": origin}
    )
    left = urljoin(str(out.url), out.headers["location"])
    assert (out.status_code, left) == (303, f"{index.url}/-/sign-in/?signed-out")
    assert "You are signed out" in browser.get(left).text


def test_the_link_of_an_error_leads_back(index: Proxied, browser: httpx2.Client) -> None:
    """From the page that asks to sign in, the way leads to that page again."""
    asked = f"{index.url}/-/account/"
    refused = browser.get(asked)
    next_path = re.search(r'name="next" value="([^"]+)"', refused.text)

    assert refused.status_code == 401
    assert f"{index.url}/-/sign-in/" in links_of(refused)
    assert next_path is not None
    signed_in = sign_in(browser, index, next_path[1])
    assert urljoin(str(signed_in.url), signed_in.headers["location"]) == asked


@pytest.mark.parametrize("index", marked(WITH_URL), indirect=True)
def test_a_provider_leads_back(
    index: Proxied, browser: httpx2.Client, provider: FakeProvider
) -> None:
    """A provider sends people back below the path, where they are who they were there."""
    target = f"{urlsplit(index.url).path}/project/demo/"
    start = browser.get(f"{index.url}/-/sign-in/acme/?{urlencode({'next': target})}")
    back = provider.authorize(start.headers["location"])
    (callback,) = parse_qs(urlsplit(start.headers["location"]).query)["redirect_uri"]
    end = browser.get(f"{callback}?{urlencode(back)}")

    assert callback == f"{index.url}/-/sign-in/acme/callback"
    assert end.status_code == 200
    assert f'url={target}"' in end.text
    assert "ana@acme.dev" in browser.get(f"{index.url}/project/demo/").text


def test_programs_find_files(index: Proxied) -> None:
    """Installers, mirrors and PyPI's JSON find the files, whatever the spelling of the name."""
    with httpx2.Client(timeout=60, follow_redirects=True, **LOCALLY) as client:
        for path in (
            "/simple/Demo/",
            "/demo/",
            "/dev/Demo/",
            "/dev/simple/demo",
            "/pypi/simple/Demo",
        ):
            answer = client.get(index.url + path, headers={"Accept": JSON})
            assert str(answer.url).startswith(f"{index.url}/"), path
            (file,) = answer.json()["files"]
            url = urljoin(str(answer.url), file["url"])
            assert url.startswith(f"{index.url}/")
            assert client.get(url).content == DEMO.body
            assert client.get(f"{url}.metadata").status_code == 200
        for path in ("/pypi/Demo/json", "/dev/pypi/demo/1.0/json"):
            answer = client.get(index.url + path)
            url = urljoin(str(answer.url), answer.json()["urls"][0]["url"])
            assert url.startswith(f"{index.url}/")
            assert client.get(url).content == DEMO.body
