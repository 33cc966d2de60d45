"""The first page of an index: links that servers and authors may write."""

import pytest

from tests.fake_time import Clock
from wheelyard.http_client.hosts import AddressPolicy
from wheelyard.http_client.urls import parse_url
from wheelyard.sources.index_client import IndexClient, SourceCredentials
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.sources.web_index import ProjectLink, parse_projects

HERE = "https://index.example/simple/"


def links(text: str) -> list[object]:
    """Return all that is read from the first page of an index in HTML."""
    url = parse_url(HERE)
    web = IndexClient(SourceCredentials(url), Clock().runtime(), AddressPolicy())
    return [*parse_projects(FetchedPage(url, "text/html", bytearray(text.encode())), web)]


def projects(text: str) -> list[tuple[str, str]]:
    """Return the names of the projects that a page in HTML lists, and where they are."""
    found = links(text)
    return [
        (each.name, each.url.without_userinfo) for each in found if isinstance(each, ProjectLink)
    ]


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("demo", "demo"),
        ("demo/", "demo"),
        ("Demo_Lib", "demo-lib"),
        ("/simple/demo", "demo"),
        ("demo/index.html", "demo"),
        ("//index.example/simple/demo", "demo"),
        (f"{HERE}demo", "demo"),
    ],
)
def test_a_link_to_a_project(href: str, name: str) -> None:
    """A link into the folder of the index names a project, with a slash at its end or without."""
    url = parse_url(HERE).resolved(href)

    assert projects(f'<a href="{href}">demo</a>') == [(name, url.without_userinfo)]


@pytest.mark.parametrize(
    "href",
    [
        "https://other.example/simple/demo/",
        "//other.example/simple/demo",
        "https://index.example:8443/simple/demo/",
        "http://index.example/simple/demo/",
        "/demo/",
        "../demo/",
        "demo/1.0/",
        "../",
        "./",
        "?C=N;O=D",
        "simple/",
        "+search/",
        "mailto:ana@index.example",
    ],
)
def test_a_link_to_something_else(href: str) -> None:
    """A link to another host, or to another folder of this one, is no project and no fault."""
    assert links(f'<a href="{href}">demo</a>') == []
