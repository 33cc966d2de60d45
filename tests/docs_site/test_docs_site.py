"""The pages of docs/ as a site: they are whole, and say what the forge shows."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from readme_renderer import markdown

from tests.clients.harness import REPOSITORY
from tests.docs_site.building import built_site, zensical
from tools.docs_site import (
    FORGE,
    SITE,
    SiteError,
    Version,
    build_site,
    navigation,
    prepared,
    released,
)

DOCS = REPOSITORY / "docs"
SHOWN = {"blockquote", "em", "h1", "h2", "h3", "h4", "img", "li", "ol", "pre", "strong", "table"}
"""Elements that have to be the same on the forge and on the site."""
VOID = {"br", "hr", "img", "input", "link", "meta", "path", "use"}
THEME = {"button", "nav"}
"""Elements that the theme adds to the text of a page."""


class Document(HTMLParser):
    """What a test asks of an HTML page: its links, its anchors, and its text with its elements."""

    def __init__(self, page: str, *, in_article: bool = True) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        """Tag and URL."""
        self.article_links: list[str] = []
        self.anchors = {"", "__skip", "__comments"}
        self._shown: list[str] = []
        self._is_article = not in_article
        self._hidden = 0
        self.feed(page)

    @property
    def text(self) -> str:
        """The elements and the text of the article, without spaces and signs of prompts."""
        return "".join("".join(self._shown).replace("$", "").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the attributes of an element, and the element itself if it is text of the page."""
        values = {name: value or "" for name, value in attrs}
        self.anchors.add(values.get("id", ""))
        for url in (values[name] for name in ("href", "src") if name in values):
            self.links.append((tag, url))
            if self._is_article and tag == "a":
                self.article_links.append(url)
        self._is_article = self._is_article or tag == "article"
        of_theme = tag in THEME or values.get("class", "").startswith(("headerlink", "md-"))
        if self._hidden or (of_theme and tag in {*THEME, "a"}):
            self._hidden += tag not in VOID
        elif self._is_article and tag in SHOWN:
            self._shown.append(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self._is_article = self._is_article and tag != "article"
        if self._hidden and tag not in VOID:
            self._hidden -= 1

    def handle_data(self, data: str) -> None:
        """Take the text of the article."""
        if self._is_article and not self._hidden:
            self._shown.append(data)


@pytest.fixture(scope="module")
def site() -> Path:
    """The site of two versions with the same pages."""
    return built_site()


@pytest.fixture(scope="module")
def documents(site: Path) -> dict[str, Document]:
    """Each page of the site by its path."""
    pages = site.rglob("*.html")
    return {f"/{page.relative_to(site)}": Document(page.read_text()) for page in pages}


@pytest.mark.integration
def test_every_link_of_the_site_leads_somewhere(site: Path, documents: dict[str, Document]) -> None:
    """Every link of the site leads to a page and an anchor of it, or to the forge."""
    wrong = [
        (path, url)
        for path, document in documents.items()
        for _, url in document.links
        if not _leads(site, documents, path, url)
    ]

    assert wrong == []


def _leads(site: Path, documents: dict[str, Document], path: str, url: str) -> bool:
    target = urlsplit(urljoin(f"{SITE}{path}", url))
    if f"{target.scheme}://{target.netloc}{target.path}".startswith(f"{FORGE}/blob/v"):
        return (REPOSITORY / target.path.split("/", 5)[5]).is_file()
    if not target.geturl().startswith(f"{SITE}/"):
        return True
    relative = unquote(target.path.removeprefix(urlsplit(SITE).path))
    page = f"{relative}index.html" if relative.endswith("/") else relative
    if page not in documents:
        return (site / page.removeprefix("/")).is_file()
    return unquote(target.fragment) in documents[page].anchors


@pytest.mark.integration
def test_pages_load_nothing_from_other_hosts(documents: dict[str, Document]) -> None:
    """No page of the site loads a script, a style, a font or a picture from another host."""
    loaded = {url for document in documents.values() for tag, url in document.links if tag != "a"}

    assert [url for url in loaded if "//" in url and not url.startswith(f"{SITE}/")] == []


@pytest.mark.integration
def test_every_page_of_the_site_is_two_clicks_away(documents: dict[str, Document]) -> None:
    """From the front page every page is at most two links of the text away."""
    pages = {path for path in documents if path.startswith("/latest/")}

    first = {"/latest/index.html"}
    second = _linked(documents, first)
    third = _linked(documents, second)

    assert pages - first - second - third == {"/latest/404.html"}
    assert len(pages) == len(list(DOCS.rglob("*.md"))) + 1


def _linked(documents: dict[str, Document], paths: set[str]) -> set[str]:
    targets = {
        urlsplit(urljoin(f"{SITE}{path}", url)).path.removeprefix(urlsplit(SITE).path)
        for path in paths
        for url in documents[path].article_links
    }
    return {f"{target}index.html" for target in targets if f"{target}index.html" in documents}


@pytest.mark.integration
def test_the_site_shows_what_the_forge_shows(site: Path) -> None:
    """A page has the same lists, tables, code and text on the site as on the forge."""
    different = list[str]()
    for page in sorted(DOCS.rglob("*.md")):
        on_site = Document(_built(site, page).read_text()).text
        html = markdown.render(page.read_text()) or ""
        if on_site != Document(html, in_article=False).text:
            different.append(str(page.relative_to(DOCS)))

    assert different == []  # further lines of a list entry are indented by four spaces


def _built(site: Path, page: Path) -> Path:
    path = page.relative_to(DOCS).with_suffix("")
    return site / "latest" / (path.parent if path.name == "README" else path) / "index.html"


@pytest.mark.integration
def test_every_page_has_what_search_engines_show(site: Path) -> None:
    """Each page has a title and a description of its own, a link to edit it, and late pictures."""
    titles, descriptions = set[str](), set[str]()
    for page in DOCS.rglob("*.md"):
        html = _built(site, page).read_text()
        titles.update(re.findall(r"<title>(.{9,})</title>", html))
        descriptions.update(re.findall(r'<meta name="description" content="(.{40,})">', html))
        assert f'href="{FORGE}/edit/main/docs/{page.relative_to(DOCS)}"' in html
        assert html.count("<img ") == html.count('<img loading="lazy" ')

    assert len(titles) == len(descriptions) == len(list(DOCS.rglob("*.md")))


@pytest.mark.integration
def test_versions_are_side_by_side(site: Path) -> None:
    """Each version has its pages, links to the others, and to its own tag on the forge."""
    old, latest = ((site / name / "index.html").read_text() for name in ("0.1", "latest"))

    assert f"{FORGE}/blob/v0.1.0/CHANGELOG.md" in old
    assert f"{FORGE}/blob/v0.2.0/CHANGELOG.md" in latest
    assert "The latest version is 0.2." in old
    assert "The latest version is" not in latest
    for page in (old, latest):
        assert {"./../0.1/", "./../0.2/"} <= set(re.findall(r'href="([^"]*)"', page))
    assert 'href="/wheelyard/latest/' in (site / "404.html").read_text()


FRONT = """\
# Documentation

Every page there is.

## Tasks

| task | page |
|---|---|
| publish | [Publishing](publish.md) |
"""
"""A front page."""


def _version(folder: Path, line: str) -> Version:
    """Make a repository of a front page and another one that ends with a line."""
    docs = folder / "tree" / "docs"
    docs.mkdir(parents=True)
    (docs / "README.md").write_text(FRONT)
    (docs / "publish.md").write_text(f"# Publishing\n\nHow to publish.\n\n{line}\n")
    (docs.parent / "LICENSE").write_text("Apache")
    return Version("0.1", "v0.1.0", docs.parent)


@pytest.mark.integration
def test_a_link_to_a_missing_heading_fails_the_build(tmp_path: Path) -> None:
    """No site is built of a page with a link to a heading that is not there."""
    good, bad = "[a](README.md#tasks) [b](../LICENSE)", "[a](README.md#task)"

    build_site([_version(tmp_path / "good", good)], tmp_path / "site", zensical())
    with pytest.raises(SiteError, match=r"anchor does not exist\n.*publish\.md:5:"):
        build_site([_version(tmp_path / "bad", bad)], tmp_path / "site", zensical())


@pytest.mark.parametrize(
    "link", ["missing.md", "images/missing.svg", "../MISSING", "../../../etc/passwd"]
)
def test_a_link_to_a_missing_file_fails_the_build(tmp_path: Path, link: str) -> None:
    """No site is built of a page with a link to a file that the repository has not."""
    version = _version(tmp_path, f"[a]({link})")

    with pytest.raises(SiteError, match=rf"publish\.md: these links lead nowhere: {link}"):
        prepared(version.tree / "docs" / "publish.md", version)


def test_a_page_that_no_table_has_fails_the_build(tmp_path: Path) -> None:
    """A page that no table or README of a folder leads to fails the build."""
    docs = _version(tmp_path, "").tree / "docs"
    (docs / "lost.md").write_text("# Lost\n")

    with pytest.raises(SiteError, match=r"No table of docs/README\.md leads to lost\.md"):
        navigation(docs)


def test_navigation_is_in_the_order_of_the_tables(tmp_path: Path) -> None:
    """A row of a table is a page or a group of the navigation, and a folder is a group."""
    docs = _version(tmp_path, "").tree / "docs"
    (docs / "deploy").mkdir()
    with (docs / "README.md").open("a") as front:
        front.write("| run it | [Deployment](deploy/README.md), [upgrading](publish.md#a) |\n")
        front.write("\n## More\n\n| | |\n|---|---|\n| terms | [b](b.md), [a](a.md) |\n")
        front.write("| a cluster | [GKE](deploy/gke.md), [publishing](publish.md) |\n")
    (docs / "deploy" / "README.md").write_text(
        "# Deployment\n\n[linux](linux.md) [a](../a.md) [gke](gke.md)\n"
    )
    for name in ("a", "b", "deploy/gke", "deploy/linux"):
        (docs / f"{name}.md").write_text("# A page\n")

    assert navigation(docs) == [
        "README.md",
        {"Tasks": ["publish.md", {"Deployment": ["deploy/README.md", "deploy/linux.md"]}]},
        {"More": [{"Terms": ["b.md", "a.md"]}, "deploy/gke.md"]},
    ]


@pytest.mark.integration
def test_releases_are_found_by_their_tags(tmp_path: Path) -> None:
    """The site has the last patch release of each minor one, newest first, and no candidate."""
    repository = tmp_path / "repository"
    git = ("git", "-C", str(repository), "-c", "user.name=ana", "-c", "user.email=ana@acme.example")
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    for tag in ("v0.9.0", "v0.9.10", "v0.9.2", "v0.10.0", "v0.11.0rc1", "vendor"):
        (repository / "page").write_text(tag)
        subprocess.run([*git, "add", "page"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", tag], check=True)
        subprocess.run([*git, "tag", tag], check=True)

    versions = released(tmp_path / "unpacked", repository)

    assert [(each.name, each.ref) for each in versions] == [("0.10", "v0.10.0"), ("0.9", "v0.9.10")]
    assert [(each.tree / "page").read_text() for each in versions] == ["v0.10.0", "v0.9.10"]


def test_the_pages_are_read_in_an_afternoon() -> None:
    """The prose of the pages has fewer than 45,000 words."""
    names = ("api.md", "commands.md", "errors.md", "settings.md", "standards.md")
    listed = {DOCS / name for name in names}
    pages = [page.read_text() for page in DOCS.rglob("*.md") if page not in listed]
    prose = [re.sub(r"```.*?```", "", page, flags=re.DOTALL) for page in pages]

    assert sum(len(page.split()) for page in prose) < 45_000
