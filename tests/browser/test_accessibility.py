"""Every kind of page, looked at by axe-core; `python -m tools.accessibility` has real packages."""

from collections.abc import Iterable
from itertools import cycle, product, repeat

import pytest

from tests.browser.axe import misplaced, violations
from tests.browser.chromium import Browser
from tests.browser.site import PASSWORD, USER, viewers
from tests.http.servers import RunningServer

PAGES = (
    "/",
    "/?q=acme",
    "/?q=nothing-like-it",
    "/?q=public-lib",
    "/-/projects/1/?show=deprecated&sort=date",
    "/-/projects/1/?sort=downloads&classifier=Framework",
    "/?q=acme&show=archived",
    "/-/docs/",
    "/-/docs/settings/",
    "/-/docs/?q=webhook",
    "/-/projects/1/",
    "/project/acme-core/",
    "/project/acme-core/1.0/",
    "/project/hostile/",
    "/project/acme-core/files/",
    "/project/acme-core/releases/",
    "/project/acme-core/compare/",
    "/project/acme-core/dependencies/",
    "/project/acme-core/1.0/dependencies/",
    "/project/acme-core/downloads/?days=90",
    "/project/many-wheels/",
    "/project/many-wheels/files/?q=3.12",
    "/project/plain/",
    "/project/public-lib/",
    "/project/public-lib/2.0/",
    "/project/public-lib/3.0/",
    "/project/public-lib/releases/",
    "/project/public-lib/history/",
    "/project/zebra/",
    "/project/acme-core/history/",
    "/project/missing/",
    "/setup/",
    "/setup/?client=poetry&project=acme-core",
)
FORMS = (
    "/-/account/",
    "/-/account/tokens/",
    "/-/sign-in/?again=&next=/-/account/tokens/",
    "/-/admin/",
    "/-/admin/journal/",
    "/-/admin/journal/?project=hostile&what=uploaded",
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
    "/-/admin/people/?who=htpasswd:ana",
    "/-/admin/people/?who=user:ben@acme.example",
    "/-/admin/people/?who=oidc:acme:cleo@acme.example",
    "/-/admin/requests/",
    "/-/admin/requests/?decide=approve&package=public-lib+3.0",
    "/-/admin/requests/?decide=block&package=public-lib+3.0",
    "/-/request/?project=public-lib&version=3.0",
    "/-/admin/publishers/",
    "/-/admin/publishers/?add=github",
    "/-/admin/publishers/?add=oidc",
    "/-/admin/publishers/history/",
    "/-/admin/webhooks/",
    "/-/admin/webhooks/?add=webhook",
    "/-/admin/webhooks/history/",
    "/-/admin/indexes/",
    "/-/admin/retention/",
    "/-/admin/indexes/?make=index",
    "/-/admin/tokens/",
    "/-/admin/tokens/?action=make",
    "/-/upload/",
    "/project/acme-core/access/",
    "/project/acme-core/manage/",
    "/project/plain/manage/",
    "/project/acme-core/manage/?version=1.1",
    "/project/acme-core/manage/?version=1.1&action=yank",
    "/project/acme-core/manage/?version=1.1&action=delete",
    "/project/acme-core/manage/?action=status",
    "/project/acme-core/1.1/promote/",
)


Window = tuple[str, int]
"""A colour scheme and a width."""
FEW: tuple[Window, ...] = (("light", 320), ("dark", 768))
"""The windows that pages are looked at in turns."""
EVERY: tuple[Window, ...] = tuple(product(("light", "dark"), (320, 360, 768, 1440)))
WIDTHS = (320, 1024)
"""Widths in which each page has to fit, and its tables; 320 pixels is what WCAG 1.4.10 asks for."""


def test_axe_finds_nothing(browser: Browser, site: RunningServer) -> None:
    """Every kind of page is right for axe-core, fits into a narrow window, and breaks no word."""
    assert complaints(browser, site, cycle(FEW), WIDTHS[:1]) == []


@pytest.mark.weekly
@pytest.mark.parametrize("window", EVERY, ids=lambda window: f"{window[0]}-{window[1]}")
def test_axe_finds_nothing_in_any_window(
    browser: Browser, site: RunningServer, window: Window
) -> None:
    """Every kind of page is right for axe-core in both colour schemes, and fits at each width."""
    assert complaints(browser, site, repeat(window), WIDTHS) == []


def complaints(
    browser: Browser, site: RunningServer, windows: Iterable[Window], widths: Iterable[int]
) -> list[str]:
    """
    Return what is wrong with the pages.

    axe-core looks at each of them in the next of the windows, and each has to fit into these
    `widths`.
    """
    found, wanted = list[str](), {"name": "laptop of ana", "projects": ["acme-*"], "days": 7}
    made = site.client.post("/api/v1/tokens", json=wanted, auth=(USER, PASSWORD)).json()
    questions = (f"/-/account/tokens/?{action}={made['id']}" for action in ("rotate", "revoke"))
    paths = ("/-/sign-in/", *PAGES, *FORMS, *questions)
    with viewers(browser, site.url) as people:
        for path, window in zip(paths, windows, strict=False):
            person = people[path != "/-/sign-in/"]
            person.open(path)
            person.look(*window)
            found += violations(person)
            for width in widths:
                person.look("light", width)
                found += misplaced(person)
    return found
