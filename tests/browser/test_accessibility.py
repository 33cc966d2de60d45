"""Every kind of page, looked at by axe-core; `python -m tools.accessibility` does more of it."""

from itertools import cycle

from tests.browser.axe import violations
from tests.browser.chromium import Browser
from tests.browser.site import viewers
from tests.http.servers import RunningServer

PAGES = (
    "/",
    "/?q=acme",
    "/?q=nothing-like-it",
    "/project/acme-core/",
    "/project/acme-core/1.0/",
    "/project/hostile/",
    "/project/many-wheels/",
    "/project/plain/",
    "/project/public-lib/",
    "/project/zebra/",
    "/project/acme-core/history/",
    "/project/missing/",
    "/setup/",
)
FORMS = (
    "/-/account/",
    "/-/tokens/",
    "/-/upload/",
    "/project/acme-core/access/",
    "/project/acme-core/manage/",
    "/project/acme-core/manage/?version=1.1",
    "/project/acme-core/manage/?version=1.1&action=yank",
    "/project/acme-core/manage/?version=1.1&action=delete",
    "/project/acme-core/manage/?action=status",
)


WINDOWS = (("light", 360), ("dark", 768))
"""Colour schemes and widths, taken in turns; `tools.accessibility` looks at all pages in all."""


def test_axe(browser: Browser, site: RunningServer) -> None:
    """axe-core finds nothing on any kind of page, be it on a telephone or on a tablet."""
    found = []
    with viewers(browser, site.url) as people:
        for path, window in zip(("/-/sign-in/", *PAGES, *FORMS), cycle(WINDOWS), strict=False):
            person = people[path != "/-/sign-in/"]
            person.open(path)
            person.look(*window)
            found += violations(person)

    assert found == []
