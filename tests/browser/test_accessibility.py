"""Every kind of page, looked at by axe-core; `python -m tools.accessibility` has real packages."""

from collections.abc import Iterable, Iterator
from itertools import cycle, product, repeat
from operator import itemgetter

import pytest

from tests.browser.axe import misplaced, violations
from tests.browser.chromium import Browser
from tests.browser.site import PASSWORD, USER, viewers
from tests.http.servers import RunningServer

SIGN_IN = "/-/sign-in/"
"""The page that only somebody sees who has not signed in."""
PAGES = (
    SIGN_IN,
    "/",
    "/?q=acme",
    "/?q=nothing-like-it",
    "/?q=public-lib",
    "/-/docs/",
    "/-/docs/settings/",
    "/-/docs/?q=webhook",
    "/-/projects/1/",
    "/project/acme-core/",
    "/project/acme-core/1.0/",
    "/project/acme-core/files/",
    "/project/acme-core/releases/",
    "/project/acme-core/compare/",
    "/project/acme-core/dependencies/",
    "/project/acme-core/downloads/?days=90",
    "/project/many-wheels/files/?q=3.12",
    "/project/public-lib/",
    "/project/public-lib/3.0/",
    "/project/zebra/",
    "/project/acme-core/history/",
    "/project/missing/",
    "/setup/",
)
FORMS = (
    "/-/account/",
    "/-/account/tokens/",
    "/-/sign-in/?again=&next=/-/account/tokens/",
    "/-/admin/",
    "/-/admin/journal/",
    "/-/admin/explain/?kind=htpasswd&who=ana&project=acme-core&can=upload",
    "/-/admin/grants/",
    "/-/admin/grants/?action=add",
    "/-/admin/grants/history/",
    "/-/admin/groups/",
    "/-/admin/groups/?action=make",
    "/-/admin/groups/?group=team",
    "/-/admin/health/",
    "/-/admin/settings/",
    "/-/admin/storage/",
    "/-/admin/names/",
    "/-/admin/names/?action=reserve",
    "/-/admin/names/?release=acme-next",
    "/-/admin/people/",
    "/-/admin/people/?who=user:ben@acme.example&action=end",
    "/-/admin/people/?who=oidc:acme:cleo@acme.example",
    "/-/admin/requests/",
    "/-/admin/requests/?decide=approve&package=public-lib+3.0",
    "/-/request/?project=public-lib&version=3.0",
    "/-/admin/publishers/",
    "/-/admin/publishers/?add=oidc",
    "/-/admin/webhooks/",
    "/-/admin/webhooks/?add=webhook",
    "/-/admin/indexes/",
    "/-/admin/retention/",
    "/-/admin/indexes/?make=index",
    "/-/admin/tokens/",
    "/-/admin/tokens/?action=make",
    "/-/upload/",
    "/project/acme-core/access/",
    "/project/plain/manage/",
    "/project/acme-core/manage/?version=1.1",
    "/project/acme-core/manage/?version=1.1&action=delete",
    "/project/acme-core/manage/?action=status",
    "/project/acme-core/1.1/promote/",
)
AGAIN = (
    "/-/projects/1/?show=deprecated&sort=date",
    "/-/projects/1/?sort=downloads&classifier=Framework",
    "/?q=acme&show=archived",
    "/project/hostile/",
    "/project/acme-core/1.0/dependencies/",
    "/project/many-wheels/",
    "/project/plain/",
    "/project/public-lib/2.0/",
    "/project/public-lib/releases/",
    "/project/public-lib/history/",
    "/setup/?client=poetry&project=acme-core",
    "/-/admin/journal/?project=hostile&what=uploaded",
    "/-/admin/people/?who=htpasswd:ana",
    "/-/admin/people/?who=user:ben@acme.example",
    "/-/admin/requests/?decide=block&package=public-lib+3.0",
    "/-/admin/publishers/?add=github",
    "/-/admin/publishers/history/",
    "/-/admin/webhooks/history/",
    "/project/acme-core/manage/",
    "/project/acme-core/manage/?version=1.1&action=yank",
)
"""Pages of which another one has all kinds of elements, from the same template."""


Window = tuple[str, int]
"""A colour scheme and a width."""
FEW: tuple[Window, ...] = (("light", 320), ("dark", 768))
"""The windows that pages are looked at in turns."""
EVERY: tuple[Window, ...] = tuple(product(("light", "dark"), (320, 360, 768, 1440)))
WIDTHS = (320, 1024)
"""Widths in which each page has to fit, and its tables; 320 pixels is what WCAG 1.4.10 asks for."""


def test_axe_finds_nothing(browser: Browser, site: RunningServer) -> None:
    """Every kind of page is right for axe-core, fits into a narrow window, and breaks no word."""
    looks = zip((*PAGES, *FORMS, *questions(site)), cycle(FEW), strict=False)
    # a window that stays as it is costs nothing
    assert complaints(browser, site, sorted(looks, key=itemgetter(1)), WIDTHS[:1]) == []


@pytest.mark.weekly
@pytest.mark.parametrize("window", EVERY, ids=lambda window: f"{window[0]}-{window[1]}")
def test_axe_finds_nothing_in_any_window(
    browser: Browser, site: RunningServer, window: Window
) -> None:
    """Every page is right for axe-core in both colour schemes, and fits at each width."""
    looks = zip((*PAGES, *FORMS, *AGAIN, *questions(site)), repeat(window), strict=False)
    assert complaints(browser, site, looks, WIDTHS) == []


def questions(site: RunningServer) -> Iterator[str]:
    """Make a token, and return the paths of the questions about it."""
    wanted = {"name": "laptop of ana", "projects": ["acme-*"], "days": 7}
    made = site.client.post("/api/v1/tokens", json=wanted, auth=(USER, PASSWORD)).json()
    return (f"/-/account/tokens/?{action}={made['id']}" for action in ("rotate", "revoke"))


def complaints(
    browser: Browser,
    site: RunningServer,
    looks: Iterable[tuple[str, Window]],
    widths: Iterable[int],
) -> list[str]:
    """
    Return what is wrong with the pages.

    axe-core looks at each of them in its window, and each has to fit into these `widths`.
    """
    found = list[str]()
    with viewers(browser, site.url) as people:
        for path, (scheme, width) in looks:
            person = people[path != SIGN_IN]
            person.look(scheme, width)
            person.open(path)
            found += violations(person)
            for other in set(widths) - {width}:
                person.look(scheme, other)
                found += misplaced(person)
    return found
