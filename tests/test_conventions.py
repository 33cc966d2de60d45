"""The promises of CONTRIBUTING.md about the code itself."""

import ast
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tools.error_codes import SECTIONS, page_with_tables
from wheelyard.api.table import OPERATIONS
from wheelyard.cli.main import COMMANDS
from wheelyard.errors import WheelyardError
from wheelyard.http.error_responses import STATUS_BY_TYPE, status_of
from wheelyard.model.index_definition import IndexFields
from wheelyard.settings.sections import ARRAY_TABLES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "wheelyard").rglob("*.py"))
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


DOCUMENTS = [
    *(page for page in PAGES if page.name != "CHANGELOG.md"),  # which names what was there once
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "keyring", "tests/access")),
    *(ROOT / "src" / "wheelyard").rglob("__init__.py"),
]
"""Documents of the repository: its pages, and the docstrings of packages."""
FOLDERS = ("benchmarks", "deploy", "docs", "keyring", "requirements", "src", "tests", "tools")
FORGE_URL = "https://github.com/wheelyard/wheelyard"
FORGE = re.compile(
    r"https://(?:github|raw\.githubusercontent)\.com/wheelyard/wheelyard/(?:blob/)?main/"
)
"""How a page that is also shown elsewhere, such as the README on an index, names our files."""
LINK_TARGET = re.compile(r"\]\([^)]*\)")
REPOSITORY_PATH = re.compile(rf"(?<![\w/.$}}-])(?:\./)?((?:{'|'.join(FOLDERS)})/[\w./<>*-]*[\w>*])")
"""A path from the root of the repository, in text or in lines to type."""
FILE_NAME = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|sh|css|yaml))`")
"""A file that is named without its whole path; what readers write themselves has other endings."""
OF_READERS = (
    "deploy/app-engine/bundle",
    "deploy/image/.env",
    "deploy/image/auth",
    "tools/pylock.toml",
)
"""What a reader makes there, or has in an example."""


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text())


@pytest.fixture(scope="module", autouse=True)
def _trees() -> Iterator[None]:
    """Drop all trees in the end: half a million objects, through which garbage collections go."""
    yield
    tree.cache_clear()


def test_pages_that_messages_name_exist() -> None:
    """Every page of the documentation that a message names by its URL is there."""
    text = "".join(path.read_text() for path in SOURCES)
    pages = set(re.findall(r"{DOCUMENTATION}/([\w/-]+\.md)", text))

    assert len(pages) > 5
    assert {page for page in pages if not (DOCS / page).is_file()} == set()
    assert "docs/settings.md" not in text


def test_no_class_has_the_name_of_another() -> None:
    """A public class name means one thing in the whole package."""
    classes = [
        node.name
        for path in SOURCES
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]

    assert [name for name, count in Counter(classes).items() if count > 1] == []


def test_operations_are_called_by_their_row() -> None:
    """No page and no command runs an operation of the API without the check of its right."""
    names = {operation.run.__name__ for operation in OPERATIONS}
    direct = set[str]()
    for path in SOURCES:
        if path.relative_to(ROOT / "src/wheelyard").parts[0] not in ("cli", "http"):
            continue
        imported = {
            alias.asname or alias.name: alias.name
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wheelyard.api.")
            for alias in node.names
        }
        calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        called = [imported.get(func.id) for func in calls if isinstance(func, ast.Name)]
        direct |= {f"{path.name} {name}" for name in called if name in names}

    assert direct == set()


def test_local_names_say_what_they_hold() -> None:
    """No name in the code is one of those that fit any value."""
    vague = {"each", "found", "item", "known", "some", "thing", "told"}
    names = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.id}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name) and node.id in vague
    }

    assert names == set()


def test_constants_come_first() -> None:
    """A constant stands before the classes and functions of its module, unless it needs one."""
    assert [f"{path}: {name}" for path in SOURCES for name in _late_constants(tree(path))] == []


def _late_constants(module: ast.Module) -> Iterator[str]:
    """Yield the names that are given after the first definition, and need nothing before them."""
    defined = set[str]()
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and defined:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            names = {ast.unparse(target) for target in targets}
            if defined.isdisjoint(_names_in(node)):
                yield from names
            else:
                defined |= names


def _names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names in a statement, also those in a text, which may be an annotation."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        for text in _texts(inner):
            yield from re.findall(r"\w+", text)


def test_functions_are_short() -> None:
    """Nine functions in ten have at most 30 lines, and none has more than 60."""
    # the line is a part of the key, as classes of one module have methods of one name
    sizes = {
        (str(path.relative_to(ROOT)), node.lineno, node.name): end - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (end := node.end_lineno)
    }

    assert statistics.quantiles(sizes.values(), n=10)[-1] <= 30
    assert {function for function, size in sizes.items() if size > 60} == set()


def test_modules_import_few_others() -> None:
    """No module needs more than 24 others, but what builds an index, and the table of routes."""
    modules = {".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in SOURCES}
    needed = {
        str(path.relative_to(ROOT / "src")): len(_imported(path, modules))
        for path in SOURCES
        if path.parent.name != "wiring" and path.name != "routes.py"
    }

    assert {name for name, count in needed.items() if count > 24} == set()


def _imported(path: Path, modules: set[str]) -> set[str]:
    """Return the modules of ours that a module imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wheelyard"):
            inner = {f"{node.module}.{name.name}" for name in node.names} & modules
            found |= inner or {str(node.module)}
    return found


def test_every_table_is_documented() -> None:
    """docs/settings.md shows each table of settings, docs/indexes.md that of an index."""
    page = (DOCS / "settings.md").read_text()

    assert [name for name in ARRAY_TABLES if f"\n[[{name}]]\n" not in page] == []
    assert "\n[groups]\n" in page
    indexes = (DOCS / "indexes.md").read_text()
    of_index = indexes.partition("\n[[index]]\n")[2].partition("\n## ")[0]
    assert [name for name in IndexFields.__struct_fields__ if name not in of_index] == []


def test_settings_that_pages_name_exist() -> None:
    """Every setting that a page names by its table and key is one."""
    table = set(re.findall(r"^\| `([\w.]+)` \|", (DOCS / "settings.md").read_text(), re.MULTILINE))
    named = {
        f"{section}.{key}"
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for section, key in re.findall(r"`\[([a-z_.]+)\] ([a-z_]+)[` =]", page.read_text())
    }

    assert len(named) > 30
    assert named - table == set()


def test_every_refusal_is_documented() -> None:
    """docs/errors.md lists every code that a refusal gives, and none that nothing gives."""
    listed = {code for rows in SECTIONS.values() for row in rows for code in row.codes}
    written = {text for path in SOURCES for node in ast.walk(tree(path)) for text in _texts(node)}
    page = (DOCS / "errors.md").read_text()

    assert page == page_with_tables(page)
    assert {code for path in SOURCES for code in _codes(tree(path))} <= listed
    assert listed <= written


NOT_OVER_HTTP: Final = frozenset(
    {("damaged_document", 400), ("https_required", 400), ("newer_store", 400)}
)
"""Errors that no server answers with: it does not start, or a command sends nothing."""


def test_every_status_is_documented() -> None:
    """docs/errors.md has the status of each refusal over HTTP, as the server answers it."""
    documented = {
        code: row.statuses for rows in SECTIONS.values() for row in rows for code in row.codes
    }
    raised = {
        (code, status_of(family("", code=code)))
        for path in SOURCES
        for code, family in _raised(tree(path))
        if documented.get(code)  # else a constant of the same name, or an error of commands
    }

    assert len(raised) > 70
    wrong = {(code, status) for code, status in raised if status not in documented[code]}
    # trusted publishing turns its own into 422
    assert {(code, status) for code, status in wrong if "-" not in code} == NOT_OVER_HTTP


def test_every_command_is_documented() -> None:
    """The README, or a page that it leads to, shows each command."""
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    text = "\n".join(page.read_text() for page in pages)

    assert [name for name in COMMANDS if f"wheelyard {name}" not in text] == []


def test_the_readme_is_whole_on_an_index() -> None:
    """On an index, where no file of ours is beside the README, its links and its picture work."""
    links = re.findall(r"\]\((.*?)\)", (ROOT / "README.md").read_text())

    assert [link for link in links if not link.startswith("https://")] == []


def test_no_block_runs_a_name_that_nobody_has_published() -> None:
    """Until a version is released, no line that a reader copies takes wheelyard from an index."""
    readme, changelog = (ROOT / name for name in ("README.md", "CHANGELOG.md"))
    if re.search(r"^## \[[0-9]", changelog.read_text(), re.MULTILINE):
        return
    published = re.compile(
        r"^(?:\$ )?(?:uvx|pipx run|pipx install|uv tool install|(?:uv )?pip install) wheelyard",
        re.MULTILINE,
    )
    pages = [page for page in (readme, *DOCS.rglob("*.md")) if page.name != "upgrading.md"]
    first, *_ = _blocks(readme)

    assert first == f"git clone {FORGE_URL} && cd wheelyard\npython3 dev.py serve\n"
    assert {page.name for page in pages if published.search("\n".join(_blocks(page)))} == set()


def _blocks(page: Path) -> list[str]:
    """Return the blocks of lines to type of a page."""
    return re.findall(r"```(?:sh|shell|console)\n(.*?)```", page.read_text(), re.DOTALL)


def test_ci_runs_the_line_of_the_readme() -> None:
    """CI runs the line with which the README tells a newcomer to test, and no other."""
    (line,) = re.findall(r'^line="(.+)"$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE)

    assert f"This runs all the tests:\n\n    {line}\n\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link of a page to our files leads to one that is there, and to a heading in it."""
    text = FORGE.sub("/", page.read_text())
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text)

    wrong = [f"{path}#{heading}" for path, heading in links if not _leads(page, path, heading)]

    assert wrong == []


def test_every_page_is_two_clicks_away() -> None:
    """The front page of the documentation leads to every page of it in at most two clicks."""
    first = DOCS / "README.md"
    second = _linked_pages(first)
    third = {page for linked in second for page in _linked_pages(linked)}

    assert len(second) > 30
    assert {*DOCS.rglob("*.md")} - {first} - second - third == set()


def _linked_pages(page: Path) -> set[Path]:
    links = re.findall(r"\]\((?!https?:)([^)#]+\.md)", page.read_text())
    return {(page.parent / link).resolve() for link in links} & {*DOCS.rglob("*.md")}


def _leads(page: Path, path: str, heading: str) -> bool:
    base = ROOT if path.startswith("/") else page.parent
    target = base / path.lstrip("/") if path else page
    return target.exists() and (not heading or heading in headings(target))


def headings(page: Path) -> set[str]:
    """Return the headings of a page as links have them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def _codes(tree: ast.AST) -> set[str]:
    """Return every code that is given by its name, or as the second word of a refusal."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            found |= _texts(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "error_response":
            found |= _texts(node.args[1])
    return found


def _raised(tree: ast.AST) -> Iterator[tuple[str, type[WheelyardError]]]:
    """Yield the code and the class of each error that is made with a code or a name of one."""
    families = {family.__name__: family for family in STATUS_BY_TYPE}
    for node in ast.walk(tree):
        family = families.get(getattr(getattr(node, "func", None), "id", ""))
        if family is None:
            continue
        for word in node.keywords if isinstance(node, ast.Call) else ():
            if word.arg == "code":
                named = _constants().get(getattr(word.value, "id", ""), set())
                yield from ((code, family) for code in _texts(word.value) | named)


@cache
def _constants() -> dict[str, set[str]]:
    """Return the texts that the constants of all modules stand for, by their names."""
    texts = defaultdict[str, set[str]](set)
    for path in SOURCES:
        for node in tree(path).body:
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                texts[getattr(node.target, "id", "")] |= _texts(node.value)
    return texts


def _texts(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    return set()


@cache
def repository_files() -> str:
    """Return the path of every file of the repository, each on a line and after a slash."""
    below = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*"))
    return "\n".join(f"/{path.relative_to(ROOT)}" for path in (*ROOT.glob("*.*"), *below)) + "\n"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_documents_name_exist(document: Path) -> None:
    """A document names only files and folders of the repository that are there."""
    text = LINK_TARGET.sub("]", document.read_text("utf-8"))

    paths = {re.sub("<.*?>", "*", path) for path in REPOSITORY_PATH.findall(text)}
    ours = {path for path in paths if not path.startswith(OF_READERS)}
    assert [path for path in ours if not any((*ROOT.glob(path), *DOCS.glob(path)))] == []
    names = FILE_NAME.findall(text)
    assert [name for name in names if f"/{name}\n" not in repository_files()] == []
