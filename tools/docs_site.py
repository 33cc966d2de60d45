"""
The public site of docs/, a folder for each version: `nox -s docs` builds it strictly.

Zensical renders it (`requirements/docs.txt`), as `zensical.toml` and `tools/docs_theme` say. The
pages stay plain Markdown for the forge; what a site needs besides is added to a copy of them. The
tables of docs/README.md are the navigation. A link out of docs/ leads to the forge, at the tag of
the version.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
FORGE: Final = "https://github.com/wheelyard/wheelyard"
SITE: Final = "https://wheelyard.github.io/wheelyard"
LOGO: Final = ROOT / "src" / "wheelyard" / "rendering" / "web" / "assets" / "favicon.svg"
RELEASE: Final = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
"""The tag of a release. That of a candidate is longer: it has no pages of its own."""
MIN_GROUP: Final = 2
"""So many pages of one row of a table are a group of the navigation."""
LINK: Final = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
"""A link to another file of the repository."""
REDIRECT: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>wheelyard</title>
<link rel="icon" href="latest/assets/logo.svg">
<meta http-equiv="refresh" content="0; url=latest/">
<a href="latest/">Documentation of wheelyard</a>
</html>
"""


class Version(NamedTuple):
    """A version whose pages are built."""

    name: str
    """The name of its folder: the first two numbers of the version."""
    ref: str
    """The tag or branch to which links to the forge lead."""
    tree: Path
    """The files of the repository at that tag."""


class SiteError(Exception):
    """A mistake in the pages, with which no site is built."""


def main() -> int:
    """Build the site; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs_site", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the site; what is in it is removed")
    parser.add_argument("--releases", action="store_true", help="build all releases, by their tags")
    options = parser.parse_args()
    try:
        with TemporaryDirectory() as scratch:
            versions = released(Path(scratch)) if options.releases else []
            versions = versions or [Version(number(ROOT), "main", ROOT)]
            build_site(versions, options.folder, Path(sys.executable).with_name("zensical"))
    except (SiteError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def number(tree: Path) -> str:
    """Return the first two numbers of the version that a tree has in its pyproject.toml."""
    version = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"]
    return ".".join(version.split(".")[:2])


def released(folder: Path, repository: Path = ROOT) -> list[Version]:
    """Check out the last release of each minor version into a folder; return them, newest first."""
    tags = _git("-C", str(repository), "tag", "--list", "v*").split()
    matches = [match for tag in tags if (match := RELEASE.fullmatch(tag))]
    versions: dict[str, Version] = {}
    for match in sorted(matches, key=lambda match: [*map(int, match.groups())], reverse=True):
        tag, name = match[0], f"{match[1]}.{match[2]}"
        if name not in versions:
            source, target = str(repository), str(folder / name)
            quietly = ("-c", "advice.detachedHead=false")
            _git(*quietly, "clone", "--quiet", "--shared", "--branch", tag, source, target)
            versions[name] = Version(name, tag, folder / name)
    return list(versions.values())


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def build_site(versions: Sequence[Version], site: Path, zensical: Path) -> None:
    """
    Build the pages of versions, newest first; the newest one is `latest`, too.

    `zensical` is the program of `requirements/docs.txt`.

    Raises:
        SiteError: A page is in no table of docs/README.md, or a link leads nowhere.
    """
    if site.is_dir() and any(site.iterdir()) and not (site / "versions.json").exists():
        raise SiteError(f"{site} has files, and is not a site: name a new folder")
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    for version in versions:
        with TemporaryDirectory() as work:
            _build(version, versions, Path(work), zensical)
            shutil.move(Path(work) / "site", site / version.name)
    newest = site / versions[0].name
    shutil.copytree(newest, site / "latest")
    shutil.copy(newest / "404.html", site)  # the only one that the forge shows
    (site / "index.html").write_text(REDIRECT)
    listed = [
        {"version": shown.name, "title": shown.name, "aliases": ["latest"] * (shown is versions[0])}
        for shown in versions
    ]
    (site / "versions.json").write_text(json.dumps(listed))  # for the chooser of the theme


def _build(version: Version, versions: Sequence[Version], work: Path, zensical: Path) -> None:
    docs = work / "docs"
    shutil.copytree(version.tree / "docs", docs)
    shutil.copytree(ROOT / "tools" / "docs_theme", work / "theme")
    shutil.copytree(work / "theme" / "assets", docs / "assets")
    shutil.copy(LOGO, docs / "assets" / "logo.svg")
    for page in docs.rglob("*.md"):
        source = version.tree / "docs" / page.relative_to(docs)
        page.write_text(prepared(source, version))
    is_newest = version is versions[0]
    added = {
        "site_url": f"{SITE}/{'latest' if is_newest else version.name}/",
        "nav": navigation(version.tree / "docs"),
        "extra": {
            "version": {"provider": "mike"},
            "shown": version.name,
            "versions": [built.name for built in versions],
        },
    }
    lines = "".join(f"{key} = {_toml(value)}\n" for key, value in added.items())
    config = (ROOT / "zensical.toml").read_text().replace("[project]\n", f"[project]\n{lines}", 1)
    (work / "zensical.toml").write_text(config)
    command = [str(zensical), "build", "--strict"]
    done = subprocess.run(command, cwd=work, check=False, capture_output=True, text=True)
    if done.returncode:
        report = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)  # without colours
        raise SiteError(report.partition("Traceback")[0])
    _finish(work / "site", docs)


def _finish(site: Path, docs: Path) -> None:
    """
    Add to the built pages what neither Markdown nor the theme has.

    That is a description, pictures that are loaded late, prompts that nobody copies, tables without
    a head, and dark colours where no script can choose them.
    """
    for source in docs.rglob("*.md"):
        path = source.relative_to(docs).with_suffix("")
        page = site / (path.parent if path.name == "README" else path) / "index.html"
        described = f'<meta name="description" content="{description(source.read_text())}">'
        page.write_text(page.read_text().replace("</title>", f"</title>\n{described}", 1))
    for page in site.rglob("*.html"):
        text = page.read_text().replace("<img ", '<img loading="lazy" ')
        text = text.replace('<span class="gp">$ </span>', '<span class="gp"></span>')
        text = re.sub(r"<thead>\s*<tr>\s*(<th></th>\s*)+</tr>\s*</thead>", "", text)
        page.write_text(text.replace("<th></th>", "<td></td>"))
    for sheet in site.glob("assets/stylesheets/modern/*.css"):
        dark = re.findall(r"\[data-md-color-scheme=slate\](\{[^}]*\})", sheet.read_text())
        rules = "".join(f".no-js body{rule}" for rule in dark)
        with (site / "assets" / "style.css").open("a") as style:
            style.write(f"@media (prefers-color-scheme: dark) {{ {rules} }}\n")


def prepared(page: Path, version: Version) -> str:
    """Return a page, with links to the forge where they leave docs/."""
    text = page.read_text()
    problems = []

    def lead(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / link[1]))
        if not target.exists() or not target.is_relative_to(version.tree):
            problems.append(link[1])
            return link[0]
        if target.is_relative_to(version.tree / "docs"):
            return link[0]
        kind = "tree" if target.is_dir() else "blob"
        path = target.relative_to(version.tree)
        return f"]({FORGE}/{kind}/{version.ref}/{path}{link[2] or ''})"

    linked = LINK.sub(lead, text)
    if problems:
        raise SiteError(f"{page}: these links lead nowhere: {', '.join(problems)}")
    return linked


def description(text: str) -> str:
    """Return the first paragraph of a page, without its marks, for an attribute of HTML."""
    paragraph = text.partition("\n\n")[2].partition("\n\n")[0]
    words = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", paragraph)
    return escape(" ".join(re.sub(r"[`*]", "", words).split()))


def navigation(docs: Path) -> list[object]:
    """
    Return the navigation: sections of docs/README.md, with the pages that their tables lead to.

    A row with several pages is a group, which has the name of its first column. The README of a
    folder comes with the other pages of that folder.
    """
    front = (docs / "README.md").read_text()
    row = re.compile(r"^\|([^|]*)\|(.*)\|$", re.MULTILINE)
    unlisted = {page for _, cell in row.findall(front) for page in _pages(cell)}
    listed = {"README.md", *unlisted}
    sections: list[object] = ["README.md"]
    for section in front.split("\n## ")[1:]:
        entries: list[object] = []
        for title, cell in row.findall(section):
            inside = [page for page in _pages(cell) if page in unlisted]
            unlisted.difference_update(inside)
            pages = [_entry(docs, page, listed) for page in inside]
            entries += pages if len(pages) < MIN_GROUP else [{_capitalized(title.strip()): pages}]
        sections.append({section.partition("\n")[0]: entries})
    if missing := {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - listed:
        raise SiteError(f"No table of docs/README.md leads to {', '.join(sorted(missing))}")
    return sections


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def _pages(text: str) -> Iterable[str]:
    """Return the pages below the same folder that a text links to, but no parts of pages."""
    links = re.findall(r"\]\(([\w./-]+\.md)\)", text)
    return dict.fromkeys(link for link in links if not link.startswith("../"))


def _entry(docs: Path, page: str, listed: set[str]) -> object:
    """Return the entry of a page; that of a README has those pages which are not `listed` yet."""
    if not page.endswith("/README.md"):
        return page
    text, folder = (docs / page).read_text(), page.rpartition("/")[0]
    inside = [f"{folder}/{name}" for name in _pages(text)]
    pages = [name for name in inside if name not in listed]
    listed.update(pages)
    return {text.partition("\n")[0].removeprefix("# "): [page, *pages]}


def _toml(value: object) -> str:
    """Return a value as it is written in TOML."""
    if isinstance(value, dict):
        pairs = [f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
