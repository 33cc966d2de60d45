"""The pages about the index: home, settings of clients, search results, lists of names, errors."""

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
PROJECTS_ON_A_PAGE: Final = 100
"""Of the list of all projects."""

_SHOWS: Final = {
    "all": "all projects",
    "active": "active",
    "deprecated": "deprecated",
    "archived": "archived",
    "quarantined": "quarantined",
    "yanked": "all releases yanked",
}
_ORIGINS: Final = {"private": "private projects", "public": "public packages"}
"""Which of them can be shown also where there are public packages."""
_BEST: Final = "match"
_SORTS: Final = {
    _BEST: "best match",
    "date": "latest upload",
    "name": "name",
    "downloads": f"downloads, {SHOWN_DAYS} days",
}
"""What lists can be sorted by: best match in results alone, downloads where they are counted."""

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
"""What pages of errors are called, instead of the reason phrase."""
TITLES_BY_CODE: Final = MappingProxyType(
    {
        errors.DAMAGED: "The index is damaged",
        errors.IDENTITY_UNAVAILABLE: "Nobody can say now who you are",
    }
)
"""What pages of errors with these codes are called, whatever their status."""
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
"""Failures of a server that end only when its operator does something: what to tell them."""
NOT_FOUND: Final = 404
"""The HTTP status of what is not there."""
_REFUSED_NAMES: Final = (Code.DENIED, Code.NOT_LISTED)
OFFLINE: Final = (
    "The setting 'upstream.offline' is on. What is installed through this store where there is a "
    "connection is served here, too."
)
"""What to tell of an index that asks no other."""


class ListQuery(Struct, frozen=True):
    """How a list of projects is sorted, and which of them it has."""

    show: str = "all"
    """One of `_SHOWS` and `_ORIGINS`."""
    sort: str = "name"
    """One of `_SORTS`: names from the first, all others from the newest or the most."""
    classifier: str = ""
    """What each of them has, itself or one below it, or an empty text."""
    words: str = ""
    """What was searched for, or an empty text for a list of all."""
    counts_downloads: bool = False
    """Whether the index counts downloads."""

    @classmethod
    def parse(
        cls, field: Callable[[str], str | None], words: str = "", *, counts_downloads: bool
    ) -> "ListQuery":
        """
        Return the query with the fields of a form, which may be None.

        Raises Invalid (code `invalid_field`) if one has no value that the form offers.
        """
        query = cls(
            show=field("show") or "all",
            sort=field("sort") or _usual_sort(words),
            # people paste it, with blanks around it
            classifier=(field("classifier") or "").strip(),
            words=words,
            counts_downloads=counts_downloads,
        )
        # anybody can write a URL: what no form sends is an error, and no list of its own
        is_offered = query.show in _SHOWS | _ORIGINS and query.sort in query.offered_sorts
        if not is_offered or (query.classifier and not is_classifier(query.classifier)):
            message = "There is no such list of projects. Choose one in the form above the list."
            raise errors.Invalid(message, code="invalid_field")
        return query

    @property
    def text(self) -> str:
        """The query of a URL, with its question mark, or an empty text for the usual list."""
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
        # words may have a lone surrogate, which a page shows as a question mark, too
        return f"?{urlencode(fields, errors='replace')}"

    @property
    def is_filtered(self) -> bool:
        """Whether some projects are left out."""
        return self.show != "all" or bool(self.classifier)

    @property
    def offered_sorts(self) -> Mapping[str, str]:
        """The words for each value of `sort` that the form offers."""
        offered = dict(_SORTS)
        if not self.words:  # in a list of all, nothing matches better than another
            del offered[_BEST]
        if not self.counts_downloads:
            del offered["downloads"]
        return offered

    def offered_shows(self, has_public: bool) -> Mapping[str, str]:  # noqa: FBT001 - of a template
        """Return the words for each value of `show` that the form offers."""
        if has_public:
            return _SHOWS | _ORIGINS
        return _SHOWS

    def select(self, projects: Iterable[ProjectFacts]) -> list[ProjectFacts]:
        """Return those of `projects` that the list has."""
        return [project for project in projects if self.has(project)]

    def ordered(
        self,
        projects: Sequence[ProjectFacts],
        downloads: Mapping[NormalizedName, int] | None = None,
    ) -> Sequence[ProjectFacts]:
        """
        Return projects in the order of the list, and those that are equal in it as they come.

        They come as the best matches, or in a list of all by name. `downloads` has those of names.
        While it is None or empty, an order by downloads is the order in which they come.
        """
        # sorting keeps the order of equal ones, also with `reverse`
        match self.sort:
            case "date":
                return sorted(projects, key=attrgetter("uploaded"), reverse=True)
            case "downloads" if downloads:  # else they are not known now
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
    """Return how a list is sorted if nobody has chosen: results of a search by how they match."""
    return _BEST if words else "name"


class Excerpt(PageNumbers, frozen=True):
    """One page of a list of projects."""

    projects: Sequence[ProjectFacts]
    """Those on this page."""
    public: int = 0
    """How many of all are public packages, as far as the page tells them apart."""

    @property
    def counted(self) -> str:
        """How many there are, in words."""
        return _counted(self.total - self.public, self.public)


def excerpt(projects: Sequence[ProjectFacts], number: int, size: int) -> Excerpt | None:
    """Return the page `number` of a list of projects, `size` on each, or None if there is none."""
    pages = page_count(len(projects), size)
    if not 1 <= number <= pages:  # the number stands in the URL, and may be any
        return None
    on_page = projects[(number - 1) * size : number * size]
    public = len(projects) - len(_private(projects))
    return Excerpt(len(projects), number, pages, on_page, public)


def home_page(
    environment: PageEnvironment,
    viewer: Viewer,
    projects: Sequence[ProjectFacts],
    *,
    takes_uploads: bool = True,
) -> bytes:
    """
    Return the bytes of the home page, with the newest of `projects`.

    These are all that the viewer may read. Public packages are named only if no project is private.
    `takes_uploads` is whether files can be published to this index now.
    """
    root = "./"
    private = _private(projects)
    # the uploads to public packages are no news of this index
    newest = nlargest(PROJECTS_ON_HOME, private or projects, key=attrgetter("uploaded"))
    return environment.render(
        "home.html",
        viewer,
        root,
        # in words, as an index with both kinds has two numbers
        counted=_counted(len(private), len(projects) - len(private)),
        count=len(projects),
        private=len(private),
        projects=newest,
        query=ListQuery(sort="date", counts_downloads=environment.counts_downloads),
        classifiers=None,
        action="-/projects/1/",
        takes_uploads=takes_uploads,
        upload_url=environment.with_links(environment.client_settings.upload_url, root),
    )


def _private(projects: Sequence[ProjectFacts]) -> list[ProjectFacts]:
    return [project for project in projects if not project.origin]


def _counted(private: int, public: int) -> str:
    """Return both numbers in words, but a number of none only if the other is none, too."""
    texts: list[str] = []
    if private or not public:
        texts.append(_with_noun(private, "project"))
    if public:
        texts.append(_with_noun(public, "public package"))
    return " and ".join(texts)


def _with_noun(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}s"


class ErrorFacts(Struct, frozen=True, kw_only=True):
    """What the page of an error says."""

    status: int
    code: str
    phrase: str
    message: str
    sign_in: str = ""
    """The URL of the sign-in page, or an empty text if nobody can sign in there."""
    is_behind_proxy: bool = False
    """Whether Identity-Aware Proxy signs people in."""
    leads_to_sign_in: bool = False
    """Whether the page leads there by itself."""
    may_pass: bool = True
    """Whether the response says when to try again."""
    contact: str = ""
    """Whom to ask, as a text, an e-mail address or a URL, if the operator has named somebody."""
    similar: Sequence[ProjectFacts] = ()
    """The projects that may have been meant by a name that is not there."""

    other_pages: Mapping[str, str] = MappingProxyType({})
    """The pages that a list has, if it has none of a number: their URLs, by words."""

    @property
    def title(self) -> str:
        """What has happened, in a few words."""
        # what is known best comes first: a code tells more than a status
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
        """Whether the policy refuses a name, so that another spelling of it does not help."""
        return self.status == NOT_FOUND and self.code in _REFUSED_NAMES

    @property
    def for_operator(self) -> str:
        """What to tell the operator of a failure, or an empty text if it may be over soon."""
        if self._is_offline:
            return OFFLINE
        return LASTING.get(self.code, "")

    @property
    def _is_offline(self) -> bool:
        return self.code == errors.UPSTREAM_UNAVAILABLE and not self.may_pass


def plain_error_page(root: str, facts: ErrorFacts) -> bytes:
    """Return the bytes of the page of an error, made without a template, which may be missing."""
    # here no template escapes them
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
