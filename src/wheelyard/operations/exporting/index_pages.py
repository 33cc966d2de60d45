"""The pages of a site that belong to no project: lists of all projects, fixed pages."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import ceil
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from wheelyard.operations.exporting.manifest import Options
from wheelyard.operations.exporting.page_writer import INDEX, PAGE_CACHE_CONTROL, SitePage
from wheelyard.operations.exporting.site_pages import (
    ATOM,
    FEED,
    FILE_CACHE_CONTROL,
    HTML,
    INDEX_JSON,
    JSON,
    SIMPLE_JSON,
)
from wheelyard.operations.search.project_table import VisibleProjects
from wheelyard.rendering import simple_pages
from wheelyard.rendering.error_facts import ErrorFacts
from wheelyard.rendering.feeds import FeedEntry, index_feed
from wheelyard.rendering.fixed_texts import HEALTHY, ROBOTS
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.search_json import search_json
from wheelyard.rendering.web.environment import ANYONE, PageEnvironment
from wheelyard.rendering.web.home import (
    LATEST_UPLOADS,
    NAMES_ON_A_PAGE,
    PROJECTS_ON_HOME,
    excerpt,
    home_page,
    list_page,
    setup_page,
)
from wheelyard.storage.base import Key, WebType

SEARCH: Final = "search.json"
TEXT: Final = WebType("text/plain; charset=utf-8", PAGE_CACHE_CONTROL)
NOT_FOUND: Final = "404.html"
"""The page that many web servers send for what they do not have."""
LISTS: Final = "-/projects/"
COMMON_PATHS: Final = (Key(NOT_FOUND), Key("favicon.ico"), Key("robots.txt"), Key("health"))
"""Pages that the owner of a web server may have, too; theirs are left as they are."""
PREFIXES: Final = ("simple/", "setup/", "-/", INDEX, SEARCH, FEED, *COMMON_PATHS)
"""The prefixes of all pages that belong to no project, and of others."""


class IndexPages(Struct, frozen=True):
    """Makes the pages of a site that belong to no project."""

    options: Options
    environment: PageEnvironment
    """What the pages for people share, made with these options."""

    def fixed(self) -> Iterator[SitePage]:
        """Yield what depends on options alone: first the files that all pages load."""
        for asset in self.environment.assets.values():
            kind = WebType(asset.media_type, FILE_CACHE_CONTROL)
            yield SitePage(asset.path, kind, partial(bytes, asset.body))
        icon = self.environment.assets["favicon.ico"]
        for path, kind, body in (
            ("favicon.ico", WebType(icon.media_type, PAGE_CACHE_CONTROL), icon.body),
            ("robots.txt", TEXT, ROBOTS),
            ("health", TEXT, HEALTHY),
        ):
            yield SitePage(path, kind, partial(bytes, body))
        setup = partial(setup_page, self.environment, ANYONE, can_publish=False)
        yield SitePage(f"setup/{INDEX}", HTML, setup)
        yield SitePage(NOT_FOUND, HTML, self._not_found)

    def lists(self, facts: Sequence[ProjectFacts]) -> Iterator[SitePage]:
        """Yield the lists of all projects, which show names and statuses."""
        names = [each.name for each in facts]
        pages = ceil(len(names) / NAMES_ON_A_PAGE) if len(names) > PROJECTS_ON_HOME else 0
        for number in range(pages, 0, -1):  # each links to the next
            if page := excerpt(facts, number, NAMES_ON_A_PAGE):
                render = partial(list_page, self.environment, ANYONE, page)
                yield SitePage(f"{LISTS}{number}/{INDEX}", HTML, render)
        listed = partial(simple_pages.list_html, names)
        yield SitePage(f"simple/{INDEX}", HTML, listed)
        listed = partial(simple_pages.list_json, names)
        yield SitePage(f"simple/{INDEX_JSON}", SIMPLE_JSON, listed)

    def overviews(
        self, facts: Sequence[ProjectFacts], latest: Iterable[FeedEntry]
    ) -> Iterator[SitePage]:
        """Yield the pages that any change may change; `latest` are for the feed."""
        environment = self.environment
        brand, base_url = environment.brand.name, environment.base_url
        yield SitePage(SEARCH, JSON, partial(search_json, facts))
        yield SitePage(FEED, ATOM, partial(index_feed, brand, base_url, latest))
        uploads = VisibleProjects(tuple(facts)).latest_uploads(LATEST_UPLOADS)
        yield SitePage(INDEX, HTML, partial(home_page, environment, ANYONE, facts, uploads))

    def _not_found(self) -> bytes:
        # it is sent for paths of any depth, so its links begin at the root of the host
        root = urlsplit(self.options.base_url).path + "/"
        message = "There is nothing at this address."
        facts = ErrorFacts(status=404, code="not_found", phrase="Not Found", message=message)
        return self.environment.render("error.html", ANYONE, root, error=facts)
