"""The home page, the lists of projects with their order and filters, and the pages of errors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest
from html import escape
from operator import attrgetter
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard import errors
from wheelyard.model.downloads import SHOWN_DAYS
from wheelyard.model.rule_reasons import Code
from wheelyard.rendering.project_facts import ProjectFacts, is_classifier
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.page_numbers import PageNumbers, page_count
from wheelyard.rendering.web.viewer import Viewer

PROJECTS_ON_HOME: Final = 20
RESULTS_ON_A_PAGE: Final = 50
"""Projects on a page of the results of a search."""
PROJECTS_ON_A_PAGE: Final = 100
"""Projects on a page of the list of all projects."""

_SHOW_TITLES: Final = {
    "all": "all projects",
    "active": "active",
    "deprecated": "deprecated",
    "archived": "archived",
    "quarantined": "quarantined",
    "yanked": "all releases yanked",
}
_ORIGIN_TITLES: Final = {"private": "private projects", "public": "public packages"}
"""The further values of `show` in an index with public packages, and their words."""
_BEST_MATCH: Final = "match"
_SORT_TITLES: Final = {
    _BEST_MATCH: "best match",
    "date": "latest upload",
    "name": "name",
    "downloads": f"downloads, {SHOWN_DAYS} days",
}
"""
The values of `sort`, and their words.

Only results of a search have a best match, and only an index that counts downloads has these.
"""

TITLES: Final = MappingProxyType(
    {
        401: "Sign in first",
        403: "Not allowed",
        404: "Not found",
        421: "Another address",
        429: "Too many attempts",
        500: "The server has failed",
        503: "The index does not answer just now",
    }
)
"""The title of the page of an error by its status, in place of the reason phrase."""
TITLES_BY_CODE: Final = MappingProxyType(
    {
        errors.DAMAGED: "The index is damaged",
        errors.IDENTITY_UNAVAILABLE: "Nobody can say now who you are",
    }
)
"""The title of the page of an error by its code, whatever its status."""
LASTING: Final = MappingProxyType(
    {
        errors.DAMAGED: "Part of the index is damaged or lost.",
        errors.NEWER_DOCUMENT: "The message says which version of wheelyard can read it.",
        errors.NEWER_STORE: "The message says which version of wheelyard can write to it.",
        errors.STORAGE_FULL: "The index has no space left.",
        errors.UPSTREAM_UNPROVEN: "The URL of an upstream index may be that of something else.",
        errors.BAD_UPSTREAM: "The log of the server says what is wrong with the other index.",
        "upstream_loop": "The index is set up as its own upstream index.",
        "storage_denied": "The log of the server says which permission it lacks.",
    }
)
"""What to tell the operator, by the code of a failure that does not end by itself."""
NOT_FOUND: Final = 404
"""The HTTP status of a page that does not exist."""
_REFUSED_NAMES: Final = (Code.DENIED, Code.NOT_LISTED)
"""The codes of errors by which the policy refuses a name."""
OFFLINE: Final = (
    "The setting 'upstream.offline' is on. What is installed through this store where there is a "
    "connection is served here, too."
)
"""What to tell the operator of an index that asks no upstream index."""


class ListQuery(Struct, frozen=True):
    """Which projects a list has, and how the list is sorted."""

    show: str = "all"
    """The status or the origin of the listed projects, of `_SHOW_TITLES` or `_ORIGIN_TITLES`."""
    sort: str = "name"
    """The order of the list, of `_SORT_TITLES`: by name, or from the newest or the most."""
    classifier: str = ""
    """The classifier that each listed project has, or one below it. Empty for all projects."""
    words: str = ""
    """The words of the search, or an empty text for a list of all projects."""
    counts_downloads: bool = False
    """Whether the index counts downloads."""

    @classmethod
    def parse(
        cls, field: Callable[[str], str | None], words: str = "", *, counts_downloads: bool
    ) -> "ListQuery":
        """
        Return the query that a form has sent. `field` returns the value of a field, or None.

        Raises Invalid (code `invalid_field`) if a field has a value that the form does not offer.
        """
        typed_classifier = field("classifier") or ""
        query = cls(
            show=field("show") or "all",
            sort=field("sort") or _usual_sort(words),
            # people paste a classifier with blanks around it
            classifier=typed_classifier.strip(),
            words=words,
            counts_downloads=counts_downloads,
        )
        # anybody can write a URL: a value that no form sends is an error
        has_offered_show = query.show in _SHOW_TITLES | _ORIGIN_TITLES
        has_offered_sort = query.sort in query.offered_sorts
        has_bad_classifier = bool(query.classifier) and not is_classifier(query.classifier)
        if not has_offered_show or not has_offered_sort or has_bad_classifier:
            message = "There is no such list of projects. Choose one in the form above the list."
            raise errors.Invalid(message, code="invalid_field")
        return query

    @property
    def text(self) -> str:
        """The query of the list's URL with the question mark, or empty for the usual list."""
        fields: dict[str, str] = {}
        if self.words:
            fields["q"] = self.words
        # the usual list has one URL, whichever form or link leads to it
        if self.is_filtered or self.sort != _usual_sort(self.words):
            fields |= {"show": self.show, "sort": self.sort}
        if self.classifier:
            fields["classifier"] = self.classifier
        if not fields:
            return ""
        # a page shows a lone surrogate as a question mark, too
        return f"?{urlencode(fields, errors='replace')}"

    @property
    def is_filtered(self) -> bool:
        """Whether the list leaves out projects by `show` or `classifier`."""
        return self.show != "all" or bool(self.classifier)

    @property
    def offered_sorts(self) -> Mapping[str, str]:
        """The words for each value of `sort` that the form offers."""
        offered = dict(_SORT_TITLES)
        if not self.words:
            del offered[_BEST_MATCH]
        if not self.counts_downloads:
            del offered["downloads"]
        return offered

    def offered_shows(self, has_public: bool) -> Mapping[str, str]:  # noqa: FBT001 - of a template
        """Return the words for each value of `show` that the form offers."""
        if has_public:
            return _SHOW_TITLES | _ORIGIN_TITLES
        return _SHOW_TITLES

    def select(self, projects: Iterable[ProjectFacts]) -> list[ProjectFacts]:
        """Return the projects that the list has, in their order."""
        return [project for project in projects if self.has(project)]

    def ordered(
        self,
        projects: Sequence[ProjectFacts],
        downloads: Mapping[NormalizedName, int] | None = None,
    ) -> Sequence[ProjectFacts]:
        """
        Return projects in the order of the list. Projects that are equal in it keep their order.

        `projects` are sorted by how well they match, or without a search by name. `downloads` has
        the downloads of projects. While it is None or empty, a list that is sorted by downloads
        keeps the order of `projects`.
        """
        # sorting keeps the order of equal projects, also with `reverse`
        match self.sort:
            case "date":
                return sorted(projects, key=attrgetter("uploaded"), reverse=True)
            case "downloads" if downloads:
                return sorted(projects, key=lambda project: -downloads.get(project.name, 0))
            case "name" if self.words:
                return sorted(projects, key=attrgetter("name"))
            case _:
                return projects

    def has(self, project: ProjectFacts) -> bool:
        """Return whether the list has a project."""
        if self.classifier and not project.has_classifier(self.classifier):
            return False
        match self.show:
            case "all":
                return True
            case "private" | "public":
                return bool(project.origin) == (self.show == "public")
            case _:
                return (project.state or "active") == self.show


def _usual_sort(words: str) -> str:
    """Return the order of a list if nobody has chosen any, which differs for a search."""
    return _BEST_MATCH if words else "name"


class Excerpt(PageNumbers, frozen=True):
    """One page of a list of projects."""

    projects: Sequence[ProjectFacts]
    """The projects on this page."""
    public: int = 0
    """How many projects of the whole list are public packages, or 0 if no page says that."""

    @property
    def counted(self) -> str:
        """The number of projects in the whole list, in words."""
        return _projects_in_words(self.total - self.public, self.public)


def excerpt(projects: Sequence[ProjectFacts], number: int, size: int) -> Excerpt | None:
    """
    Return the page `number` of a list of projects, with `size` projects on a page.

    None if the list has no such page.
    """
    pages = page_count(len(projects), size)
    if not 1 <= number <= pages:
        return None
    start = (number - 1) * size
    projects_on_page = projects[start : start + size]
    public = len(projects) - len(_private_projects(projects))
    return Excerpt(len(projects), number, pages, projects_on_page, public)


def home_page(
    environment: PageEnvironment,
    viewer: Viewer,
    projects: Sequence[ProjectFacts],
    *,
    takes_uploads: bool = True,
) -> bytes:
    """
    Return the bytes of the home page, with the newest of `projects`.

    `projects` are all projects that the viewer may read. The page names public packages only if no
    project is private. `takes_uploads` is whether files can be published to this index now.
    """
    root = "./"
    private = _private_projects(projects)
    # uploads of public packages are no news of this index
    named_projects = private or projects
    newest = nlargest(PROJECTS_ON_HOME, named_projects, key=attrgetter("uploaded"))
    return environment.render(
        "home.html",
        viewer,
        root,
        # in words, as an index with both kinds has two numbers
        counted=_projects_in_words(len(private), len(projects) - len(private)),
        count=len(projects),
        private=len(private),
        projects=newest,
        query=ListQuery(sort="date", counts_downloads=environment.counts_downloads),
        classifiers=None,
        action="-/projects/1/",
        takes_uploads=takes_uploads,
        upload_url=environment.with_links(environment.client_settings.upload_url, root),
    )


def _private_projects(projects: Sequence[ProjectFacts]) -> list[ProjectFacts]:
    """Return the projects that are from no upstream index."""
    return [project for project in projects if not project.origin]


def _projects_in_words(private: int, public: int) -> str:
    """Return the numbers of private projects and public packages in words, without a zero."""
    texts: list[str] = []
    if private or not public:
        texts.append(_with_noun(private, "project"))
    if public:
        texts.append(_with_noun(public, "public package"))
    return " and ".join(texts)


def _with_noun(count: int, noun: str) -> str:
    """Return a number and its noun, which gets an s unless the number is 1."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}s"


class ErrorFacts(Struct, frozen=True, kw_only=True):
    """The facts that the page of an error shows."""

    status: int
    code: str
    phrase: str
    message: str
    sign_in: str = ""
    """The URL of the sign-in page, or an empty text if people cannot sign in."""
    is_behind_proxy: bool = False
    """Whether Identity-Aware Proxy signs people in."""
    leads_to_sign_in: bool = False
    """Whether the browser goes from the page to the sign-in page by itself."""
    may_pass: bool = True
    """Whether the response says when to try again."""
    contact: str = ""
    """Whom to ask, as a text, an e-mail address or a URL, if the operator has named somebody."""
    similar: Sequence[ProjectFacts] = ()
    """The projects with a name like the one that was not found."""

    other_pages: Mapping[str, str] = MappingProxyType({})
    """The URLs of pages that a list has, by their words, if the error is a wrong page number."""

    @property
    def title(self) -> str:
        """The title of the page: what has happened, in a few words."""
        # the most exact title comes first: a code tells more than a status
        if self.other_pages:
            return "There is no such page"
        if self.code in TITLES_BY_CODE:
            return TITLES_BY_CODE[self.code]
        if self._is_offline:
            return "This index works offline"
        if self.code == errors.UPSTREAM_UNAVAILABLE:
            return "The upstream index does not answer just now"
        if self.is_refused_name:
            return "Not among the packages here"
        return TITLES.get(self.status, self.phrase)

    @property
    def is_refused_name(self) -> bool:
        """Whether the policy refuses the name, so that another spelling does not help."""
        return self.status == NOT_FOUND and self.code in _REFUSED_NAMES

    @property
    def for_operator(self) -> str:
        """What to tell the operator of a failure, or an empty text if it may be over soon."""
        if self._is_offline:
            return OFFLINE
        return LASTING.get(self.code, "")

    @property
    def _is_offline(self) -> bool:
        """Whether the upstream index is not asked at all, by a setting."""
        return self.code == errors.UPSTREAM_UNAVAILABLE and not self.may_pass


def plain_error_page(root: str, facts: ErrorFacts) -> bytes:
    """Return the bytes of the page of an error, without any template, as templates may fail."""
    title = escape(facts.title)
    message = escape(facts.message)
    home = escape(root)
    name = f"Error {facts.status}, {escape(facts.code)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="robots" content="noindex"></head>\n<body><main><h1>{title}</h1>\n'
        f'<p>{message}</p>\n<p>{name}</p>\n<p><a href="{home}">To the home page</a></p>\n'
        "</main></body>\n</html>\n"
        # the message may repeat a path with a lone surrogate
    ).encode("utf-8", "replace")
