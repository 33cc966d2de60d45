"""The page that compares two releases of a project."""

import re
from base64 import b64encode
from collections.abc import Iterator
from html import unescape

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.servers import token_of
from tests.operations.in_memory_index import ALICE
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, Settings

SETTINGS = Settings(access=AccessSettings(private=True))
PAGE = "/project/demo/compare/"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """A private index with releases that differ."""
    with in_process(tmp_path_factory.mktemp("index"), SETTINGS) as app:
        app.publish(
            make_wheel(
                "demo", "1.0", "Requires-Dist: idna>=2", "Requires-Dist: six", "Summary: One"
            ),
            make_wheel(
                "demo",
                "1.1rc1",
                "Requires-Dist: idna>=3",
                "Summary: <b>",
                "Project-URL: https://demo.example/",
                "Project-URL: Source, https://demo.example/source",
            ),
            make_sdist(
                "demo", "2.0", "Requires-Dist: idna>=3", "Summary: Two", "Requires-Python: >=3.9"
            ),
            make_wheel("alone"),
            make_wheel("nothing-left"),
        )
        nothing = parse_name("nothing-left")
        app.index.lifecycle.change("delete", ALICE, nothing, Selection(parse_version("1.0")), "")
        yield app


def read(app: InProcessServer, path: str, *projects: str) -> tuple[int, str]:
    """Return the status and the words of a page, for who may read these projects."""
    secret = token_of(app.index, *(projects or ("*",)), can="read")
    login = ("authorization", f"Basic {b64encode(f'__token__:{secret}'.encode()).decode()}")
    answer = app.get(path, login, ("accept", "text/html"))
    words = re.sub("<del>(.*?)</del>", r"-\1-", answer.body.decode())
    words = re.sub("<ins>(.*?)</ins>", r"+\1+", words)
    return answer.status, " ".join(unescape(re.sub("<[^>]*>", " ", words)).split())


def test_what_differs_is_marked(app: InProcessServer) -> None:
    """Facts that differ are marked, and of lists what was added and what was removed."""
    status, page = read(app, f"{PAGE}?old=1.0&new=2.0")

    assert status == 200
    assert "Summary differs One Two" in page
    assert "Python differs none >=3.9" in page
    assert "Dependencies 1 added, 2 removed. 1.0 -idna >=2- -six- 2.0 +idna >=3+" in page
    assert "Files 1 added, 1 removed. 1.0 -any Python 3- " in page
    assert "+source code+" in page


def test_links_are_compared_by_label_and_address(app: InProcessServer) -> None:
    """A link is shown with its label, and one that has no label by its address alone."""
    _, page = read(app, f"{PAGE}?old=1.0&new=1.1rc1")

    links = "+https://demo.example/+ +Source: https://demo.example/source+"
    assert f"Links 2 added, 0 removed. 1.0 none 1.1rc1 {links}" in page


@pytest.mark.parametrize(
    ("query", "versions"),
    [
        ("", "1.0 2.0"),
        ("?new=1.1rc1", "1.0 1.1rc1"),
        ("?old=1.1rc1", "1.1rc1 2.0"),
        ("?old=2.0&new=v1.0.0", "2.0 1.0"),
        ("?old=1.0&new=1.0", "1.0 1.0"),
        ("?old=2.0", "1.0 2.0"),
        ("?new=1.0", "1.0 1.1rc1"),
    ],
)
def test_the_latest_two_are_compared_by_default(
    app: InProcessServer, query: str, versions: str
) -> None:
    """A release that the query does not name is the latest, and the final one before the other."""
    status, page = read(app, f"{PAGE}{query}")

    assert status == 200
    assert f"From To Compare {versions} " in page


def test_equal_releases_have_no_mark(app: InProcessServer) -> None:
    """A release compared with itself differs in nothing."""
    _, page = read(app, f"{PAGE}?old=1.0&new=1.0")

    assert "differs" not in page
    assert "Dependencies No difference." in page


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"{PAGE}?old=9.9", 404, "has no release '9.9'"),
        (f"{PAGE}?new=rubbish", 404, "has no release 'rubbish'"),
        ("/project/nothing-left/compare/", 404, "no releases that could be compared"),
        ("/project/nosuch/compare/", 404, "Not found"),
    ],
)
def test_what_is_missing_is_said(app: InProcessServer, path: str, status: int, words: str) -> None:
    """A release that does not exist, or what is no version, is missing, as at its own page."""
    answer, page = read(app, path)

    assert (answer, words in page) == (status, True), page


def test_a_single_release_is_compared_with_nothing(app: InProcessServer) -> None:
    """The page that compares the releases of a project with one release says so."""
    status, page = read(app, "/project/alone/compare/")

    assert (status, "There is one release, 1.0" in page) == (200, True)


def test_who_may_not_read_a_project_compares_nothing(app: InProcessServer) -> None:
    """A project that the caller may not read is as one that does not exist."""
    hidden = read(app, PAGE, "alone")
    missing = read(app, PAGE.replace("demo", "nodemo"), "alone")

    assert hidden[0] == missing[0] == 404
    assert hidden[1] == missing[1].replace("nodemo", "demo")


def test_another_spelling_is_redirected(app: InProcessServer) -> None:
    """Another spelling of a name is redirected to the page that compares its releases."""
    secret = token_of(app.index, "*", can="read")
    login = ("authorization", f"Basic {b64encode(f'__token__:{secret}'.encode()).decode()}")

    answer = app.get("/project/Demo/compare/?old=1.0", login, ("accept", "text/html"))

    assert (answer.status, answer.headers["location"]) == (301, f"{PAGE}?old=1.0")


def test_long_lists_are_cut(app: InProcessServer) -> None:
    """Of thousands of items some are shown, those that differ apart, and how many more."""
    lines = [f"Classifier: Topic :: {number}" for number in range(3000)]
    app.publish(
        make_wheel("large", "1.0", *lines), make_wheel("large", "2.0", *lines[1:], "Classifier: B")
    )

    _, page = read(app, "/project/large/compare/")

    assert "Classifiers 1 added, 1 removed. 1.0 -Topic :: 0- 2.0 +B+ 2,999 in both 1.0 " in page
    assert "And 5,000 more." in page
