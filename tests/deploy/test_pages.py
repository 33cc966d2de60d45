"""What the pages about deploying and the files that they speak of have in common."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, system_program
from tests.deploy.gcloud import FILES as FILES_WITH_LINES
from tests.deploy.gcloud import lines, words_of, wrong
from wheelyard.settings.reading import unknown_variables

FOLDER = REPOSITORY / "deploy"
DOCS = REPOSITORY / "docs" / "deploy"
PAGES = [*sorted(DOCS.glob("*.md")), REPOSITORY / "docs" / "keeping.md"]
TUTORIAL = FOLDER / "cloud-shell" / "tutorial.md"
IGNORED = {"__pycache__", ".terraform"}
FILES = [
    path
    for path in sorted(FOLDER.rglob("*"))
    if path.is_file() and not IGNORED & set(path.relative_to(FOLDER).parts)
]
SHELL = re.compile(r"^ *```(?:sh|bash)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
VARIABLE = re.compile(
    r"(?<![A-Za-z_])WHEELYARD_[A-Z_]*[A-Z](?![A-Z_])"
)  # beginnings of names are none
OUTSIDE = {"WHEELYARD_AUTH", "WHEELYARD_IMAGE", "WHEELYARD_LISTEN", "WHEELYARD_URL"}
"""Variables of Compose and of GitHub, and not of the server."""


def text_of(path: Path) -> str:
    """Return a page or a file."""
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page leads to a file that is there, and to a heading in it."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text_of(page))

    wrong = [f"{path}#{heading}" for path, heading in links if not leads(page, path, heading)]

    assert links
    assert wrong == []


def leads(page: Path, path: str, heading: str) -> bool:
    """Whether a link leads somewhere."""
    target = page.parent / path if path else page
    return target.exists() and (not heading or heading in headings(target))


def headings(page: Path) -> set[str]:
    """Return the headings of a page as links have them."""
    titles = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_listed() -> None:
    """The first page leads to every other one."""
    first = text_of(DOCS / "README.md")

    assert [page.name for page in DOCS.glob("*.md") if f"({page.name}" not in first] == [
        "README.md"
    ]


def test_every_file_is_named() -> None:
    """No file of deploy/ is there of which no page says what it is for."""
    said = "\n".join(text_of(page) for page in sorted((REPOSITORY / "docs").rglob("*.md")))

    assert [str(path.relative_to(FOLDER)) for path in FILES if not is_named(path, said)] == []


def is_named(path: Path, said: str) -> bool:
    """Whether a page names a file or a folder that it lies in, or a file beside it needs it."""
    parts = path.relative_to(FOLDER).parts
    folders = ["/".join(("deploy", *parts[:length])) for length in range(2, len(parts))]
    if path.name == "kustomization.yaml":  # which is called by its folder
        folders = [f"kustomize {path.parent.relative_to(REPOSITORY)}"]
    beside = [text_of(each) for each in FILES if each.parent == path.parent != FOLDER]
    name = path.name.removesuffix(".dockerignore")
    return name in said or any(folder in said for folder in folders) or name in "\n".join(beside)


def test_variables_are_settings() -> None:
    """Every variable of the server that a page or a file names is a setting that there is."""
    found = {name for path in (*PAGES, *FILES) for name in VARIABLE.findall(text_of(path))}

    assert found - OUTSIDE
    assert unknown_variables(dict.fromkeys(found - OUTSIDE, "")) == []


def test_lines_are_whole() -> None:
    """Every line that a reader is meant to type is one that a shell can read."""
    blocks = [block for page in (*PAGES, TUTORIAL) for block in SHELL.findall(text_of(page))]
    for block in blocks:
        script = block.replace("{{project-id}}", "project")
        read = subprocess.run([system_program("bash"), "-n"], input=script, text=True, check=False)
        assert read.returncode == 0, block


def test_lines_for_gcloud() -> None:
    """Every line for gcloud, in pages and scripts, has a command and flags that gcloud has."""
    found = [line for file in FILES_WITH_LINES for line in lines(file)]

    assert len(found) > 300
    assert [each for line in found for each in wrong(words_of(line))] == []


@pytest.mark.parametrize(
    "line",
    [
        "gcloud run services replace - --regoin=europe-west1",
        "gcloud run depoly wheelyard",
        "gcloud run services",
        "gcloud artifacts repositories create wheelyard --mode=somehow",
        "gcloud --nothing run services list",
    ],
)
def test_wrong_gcloud_lines_are_found(line: str) -> None:
    """A flag or a command that gcloud has not is found, whatever else is right."""
    assert wrong(words_of(line)) != []


def test_lines_are_typed_where_files_are() -> None:
    """Every file below deploy/ that a line names is there."""
    for page in (*PAGES, TUTORIAL):
        for block in SHELL.findall(text_of(page)):
            paths = re.findall(
                r"(?<![\w/.])deploy/[\w./-]*\w\.(?:py|sh|toml|yaml|yml|json)\b", block
            )
            missing = [path for path in paths if not (REPOSITORY / path).exists()]
            assert [path for path in missing if "/bundle/" not in path] == [], page.name


def test_the_button() -> None:
    """The button opens the tutorial that there is."""
    (path,) = re.findall(r"cloudshell_tutorial=([\w./-]+)\)", text_of(DOCS / "cloud-shell.md"))

    assert REPOSITORY / path == TUTORIAL
