"""Every kind of page, looked at by axe-core; `python -m tools.accessibility` does more of it."""

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
"""Colour schemes and widths; `tools.accessibility` has more."""


def test_axe(browser: Browser, site: RunningServer) -> None:
    """axe-core finds nothing on any kind of page, on a telephone and on a tablet."""
    found = []
    with viewers(browser, site.url) as people:
        for path in ("/-/sign-in/", *PAGES, *FORMS):
            person = people[path != "/-/sign-in/"]
            person.open(path)
            for scheme, width in WINDOWS:
                person.look(scheme, width)
                found += violations(person)

    assert found == []
