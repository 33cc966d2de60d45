"""Which pages a site has, and how the application is asked for each."""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from wheelyard.rendering.listing import Listing
from wheelyard.rendering.project_facts import releases_of
from wheelyard.rendering.web.file_list import file_pages
from wheelyard.rendering.web.home import NAMES_ON_A_PAGE, PROJECTS_ON_HOME, page_count

INDEX: Final = "index.html"
HTML: Final = b"text/html"
SIMPLE_JSON: Final = b"application/vnd.pypi.simple.v1+json"
ANY: Final = b"*/*"
LISTS: Final = "-/projects/"


class Question(Struct, frozen=True):
    """A page to ask for, and where it is in a site."""

    path: str
    """The path of the request, without the slash at its beginning."""
    accept: bytes
    leaf: str = ""
    """The name of the page's file if the path is that of a folder."""

    @property
    def target(self) -> str:
        """The path of the page in the site."""
        return f"{self.path}{self.leaf}"


def project_questions(project: Listing, history: Iterable[int]) -> Iterator[Question]:
    """
    Yield the pages of a project, that of the project itself last.

    `history` has the numbers of the older pages of its history.
    """
    name, releases = project.name, releases_of(project)
    yield Question(f"simple/{name}/", HTML, INDEX)
    yield Question(f"simple/{name}/", SIMPLE_JSON, "index.json")
    if releases:
        yield Question(f"pypi/{name}/json", ANY)
    for release in releases:
        folder = f"project/{name}/{release.version}/"
        for selection in file_pages(release):
            yield Question(f"{folder}{selection.path}", HTML, INDEX)
        yield Question(folder, HTML, INDEX)
    for number in history:
        yield Question(f"project/{name}/history/{number}/", HTML, INDEX)
    yield Question(f"project/{name}/history/", HTML, INDEX)
    if not project.origin.is_upstream:
        yield Question(f"project/{name}/feed.xml", ANY)
    yield Question(f"project/{name}/", HTML, INDEX)


def history_path(name: str, number: int) -> str:
    """Return the path of an older page of the history of a project in a site."""
    return f"project/{name}/history/{number}/{INDEX}"


def name_questions(projects: int) -> Iterator[Question]:
    """Yield the lists of the names and statuses of so many projects."""
    pages = page_count(projects, NAMES_ON_A_PAGE) if projects > PROJECTS_ON_HOME else 0
    for number in range(pages, 0, -1):  # each links to the next
        yield Question(f"{LISTS}{number}/", HTML, INDEX)
    yield Question("simple/", HTML, INDEX)
    yield Question("simple/", SIMPLE_JSON, "index.json")


OVERVIEWS: Final = (
    Question("search.json", ANY),
    Question("feed.xml", ANY),
    Question("", HTML, INDEX),
)
"""The pages that any change may change."""
