"""The pages about deployment, and the files that they name."""

import re
import subprocess
from pathlib import Path

from tests.clients.harness import REPOSITORY, system_program
from tests.deploy.gcloud import FILES as FILES_WITH_LINES
from tests.deploy.gcloud import lines, wrong
from wheelyard.settings.load import unknown_variables

FOLDER = REPOSITORY / "deploy"
DOCS = REPOSITORY / "docs" / "deploy"
PAGES = [
    *sorted(DOCS.glob("*.md")),
    *(DOCS.parent / name for name in ("backup.md", "dev-prod-ci.md", "troubleshooting.md")),
]
TUTORIAL = FOLDER / "cloud-shell" / "tutorial.md"
IGNORED = {"__pycache__", ".terraform"}
FILES = [
    path
    for path in sorted(FOLDER.rglob("*"))
    if path.is_file() and not IGNORED & set(path.relative_to(FOLDER).parts)
]
SHELL = re.compile(r"^ *```(?:sh|bash)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
VARIABLE = re.compile(r"(?<![A-Za-z_])WHEELYARD_[A-Z_]*[A-Z](?![A-Z_])")
OUTSIDE = {"WHEELYARD_AUTH", "WHEELYARD_IMAGE", "WHEELYARD_LISTEN", "WHEELYARD_URL"}
"""Variables of Compose and of GitHub, and not of the server."""


def test_every_page_is_listed() -> None:
    """The first page leads to every other one."""
    first = (DOCS / "README.md").read_text()

    pages = {page.name for page in DOCS.glob("*.md")}
    assert {name for name in pages if f"({name}" not in first} == {"README.md"}


def test_every_file_is_named() -> None:
    """No file of deploy/ is there of which no page says what it is for."""
    docs = "\n".join(page.read_text() for page in sorted((REPOSITORY / "docs").rglob("*.md")))

    assert [str(path.relative_to(FOLDER)) for path in FILES if not _is_named(path, docs)] == []


def _is_named(path: Path, docs: str) -> bool:
    """Return whether a page names a file or its folder, or a file beside it needs it."""
    parts = path.relative_to(FOLDER).parts
    folders = ["/".join(("deploy", *parts[:length])) for length in range(2, len(parts))]
    if path.name == "kustomization.yaml":  # which is called by its folder
        folders = [f"kustomize {path.parent.relative_to(REPOSITORY)}"]
    beside = [file.read_text() for file in FILES if file.parent == path.parent != FOLDER]
    name = path.name.removesuffix(".dockerignore")
    return name in docs or any(folder in docs for folder in folders) or name in "\n".join(beside)


def test_variables_are_settings() -> None:
    """Every variable of the server that a page or a file names is a setting that there is."""
    paths = [*(REPOSITORY / "docs").rglob("*.md"), *FILES]
    named = {name for path in paths for name in VARIABLE.findall(path.read_text())}

    assert {"WHEELYARD_STORE", "WHEELYARD_ACCESS_METRICS_TOKEN"} <= named
    assert unknown_variables(dict.fromkeys(named - OUTSIDE, "x")) == []


def test_lines_are_whole() -> None:
    """Every line that a reader is meant to type is one that a shell can read."""
    blocks = [block for page in (*PAGES, TUTORIAL) for block in SHELL.findall(page.read_text())]
    for block in blocks:
        script = block.replace("{{project-id}}", "project")
        read = subprocess.run([system_program("bash"), "-n"], input=script, text=True, check=False)
        assert read.returncode == 0, block


def test_lines_for_gcloud() -> None:
    """Every line for gcloud, in pages and scripts, has a command and flags that gcloud has."""
    commands = [line for file in FILES_WITH_LINES for line in lines(file)]

    assert len(commands) > 250
    assert [each for line in commands for each in wrong(line)] == []


def test_lines_are_typed_where_files_are() -> None:
    """Every file below deploy/ that a line names is there."""
    for page in (*PAGES, TUTORIAL):
        for block in SHELL.findall(page.read_text()):
            paths = re.findall(
                r"(?<![\w/.])deploy/[\w./-]*\w\.(?:py|sh|toml|yaml|yml|json)\b", block
            )
            missing = [path for path in paths if not (REPOSITORY / path).exists()]
            assert [path for path in missing if "/bundle/" not in path] == [], page.name
