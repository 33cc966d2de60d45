"""What the root of an upstream index shows: a list of projects, or something else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.http_client.urls import parse_url
from wheelyard.upstream.parsing import (
    NO_PROJECTS,
    ONE_PROJECT,
    OTHER_PAGE,
    ROOT_LIMIT_BYTES,
    RootPage,
    why_no_index,
)

URL = "https://index.example.com/simple/"
JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html; charset=utf-8"
DECLARED = '<meta name="pypi:repository-version" content="1.0">'
FILE = '<a href="https://files.example.com/six-1.0-py3-none-any.whl#sha256=0">six-1.0.whl</a>'
NGINX = (
    "<html><head><title>Index of /simple/</title></head><body><h1>Index of /simple/</h1><hr><pre>"
    '<a href="../">../</a>\n<a href="Six/">six/</a>   31-Oct-2026 12:00   -\n</pre><hr></body>'
)


def why(body: str | bytes, kind: str = HTML, url: str = URL, asked: str = URL) -> str:
    """Return why the answer shows no index."""
    data = body.encode() if isinstance(body, str) else body
    is_cut = len(data) > ROOT_LIMIT_BYTES
    root = RootPage(parse_url(asked), parse_url(url), kind, data[:ROOT_LIMIT_BYTES], is_cut)
    return why_no_index(root)


def listing(*names: str) -> str:
    """Return a list in JSON."""
    projects = [{"_last-serial": 7, "name": name} for name in names]
    return json.dumps({"meta": {"_last-serial": 7, "api-version": "1.3"}, "projects": projects})


MANY = [f"name-{number}" for number in range(5000)]
LARGE = json.dumps(
    {
        "files": [
            {"core-metadata": {"sha256": "0"}, "filename": f"six-{number}.whl", "hashes": {}}
            for number in range(5000)
        ],
        "meta": {"api-version": "1.3"},
        "name": "six",
    }
)
"""The page of a project that is not read whole, and is cut off within its files."""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (listing(), JSON),
        (listing("six"), "application/json"),
        (listing(*MANY), JSON),
        (f"<html><head>{DECLARED}</head><body></body></html>", HTML),
        (f'<html><head>{DECLARED}</head><body><a href="/simple/six/">Six</a>', HTML),
        ('<a href="six">six</a>', "application/vnd.pypi.simple.v1+html"),
        ("<!DOCTYPE html>" + "".join(f'<a href="/simple/{n}/">{n}</a><br>' for n in MANY), HTML),
        (f"{DECLARED}" + "".join(f'<a href="{n}/">{n}</a>\n' for n in MANY), HTML),
        ('<a href="zope.interface/">zope.interface</a> <a href="a_b/">A-b</a>', HTML),
        (NGINX, HTML),
        (f'<base href="{URL}"><a href="six/">six</a>', HTML),
    ],
)
def test_a_list_of_projects(body: str, kind: str) -> None:
    """A list in JSON or HTML shows an index, however long it is, and also an empty one."""
    assert why(body, kind) == ""


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ("", HTML, NO_PROJECTS),
        ("", "", OTHER_PAGE),
        ("{}", JSON, OTHER_PAGE),
        ("[]", JSON, OTHER_PAGE),
        ('{"meta": {"api-version": "2.0"}, "projects": []}', JSON, OTHER_PAGE),
        ('{"projects": [{"name": "six"}]}', "application/json", OTHER_PAGE),
        ('{"meta": {"api-version": "1.0"}, "projects": ["six"]}', JSON, OTHER_PAGE),
        ('{"meta": {"api-version": "1.0"}, "projects": null}', JSON, OTHER_PAGE),
        (listing("six")[:-1], JSON, OTHER_PAGE),
        ("[" * 100_000, JSON, OTHER_PAGE),
        ('{"meta": {"api-version": "1.0"}, "name": "six", "files": []}', JSON, ONE_PROJECT),
        *((" " * pad + LARGE, JSON, ONE_PROJECT) for pad in range(0, 90, 15)),
        (f"{DECLARED}{FILE}", HTML, ONE_PROJECT),
        (FILE, HTML, ONE_PROJECT),
        (f"{DECLARED}<title>Links for six</title>", HTML, ONE_PROJECT),
        ("<h1>It works!</h1>", HTML, NO_PROJECTS),
        ('<a href="/login/">Sign in to the network</a>', HTML, OTHER_PAGE),
        ('<form action="/"><a href="login/">login</a></form>', HTML, OTHER_PAGE),
        ('<a href="https://other.example/six/">six</a>', HTML, OTHER_PAGE),
        ('<base href="https://other.example/"><a href="six/">six</a>', HTML, OTHER_PAGE),
        ('<a href="https://other.example/simple/six/">six</a>', HTML, OTHER_PAGE),
        (f'{DECLARED}<a href="/six/">six</a>', HTML, OTHER_PAGE),
        ('<a href="simple/">simple/</a><a href="packages/">packages/</a>', HTML, OTHER_PAGE),
        ('<a href="about">about</a>', HTML, OTHER_PAGE),
        ('<a href="six/extra/">six</a>', HTML, OTHER_PAGE),
        ('<a href="http://[/">x</a>', HTML, OTHER_PAGE),
        ('<a href="six/"><b>six</b></a>', HTML, OTHER_PAGE),
        ("<a " * 30_000, HTML, NO_PROJECTS),
    ],
)
def test_any_other_page_shows_no_index(body: str, kind: str, expected: str) -> None:
    """The page of one project, a web site, a portal and a folder above the index are none."""
    assert why(body, kind) == expected


def test_a_list_at_another_path_shows_no_index() -> None:
    """A list at another path says nothing of the pages below the URL of the settings."""
    below = why(listing("six"), JSON, asked="https://index.example.com/")

    assert below == f"its root leads to {URL}, which has to be its url then"
    assert why(listing("six"), JSON, url=URL.replace("index.", "cache.")) == ""


@given(st.text() | st.binary(), st.sampled_from((JSON, HTML, "text/plain")))
def test_no_answer_is_a_fault(body: str | bytes, kind: str) -> None:
    """Whatever the root of an upstream index answers, looking at the answer raises no error."""
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    for more in (data, b'<a href="' + data, data * 3000):
        assert isinstance(why(more, kind), str)
