"""
The documentation of this version, which the package carries: its pages as HTML, and its pictures.

The Markdown is that of `docs/` in the repository. Whoever asks for the first page has all of them
rendered, that one first, by a process like that for descriptions. It ends after the last one.
Memory keeps the pages: the server can show them where the store does not answer. So nothing is read
and no process runs while nobody asks.
"""

import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from wheelyard.operations.descriptions.child_process import RenderProcess

FRONT: Final = ""
"""The path of the front page."""
README: Final = "README"
"""The page of a folder, without its suffix."""

_VIEW_BOX: Final = re.compile(rb'viewBox="0 0 ([0-9]+) ([0-9]+)"')
_WEBP: Final = re.compile(rb"RIFF....WEBPVP8(?:X.{8}(.{3})(.{3})| .{10}(..)(..))", re.DOTALL)
_HEAD_BYTES: Final = 512
"""Of a picture: its size is among them."""
_TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)
_PACKAGE: Final = Path(__file__).parents[1]


class DocumentedPage(Struct, frozen=True):
    """A page of the documentation."""

    path: str
    """Its path below the front page, which ends with a slash: `deploy/linux/`."""
    source: str
    """The path of its Markdown: `deploy/linux.md`."""
    text: str
    """The Markdown, as GitHub shows it."""

    @property
    def title(self) -> str:
        """The first heading, as text."""
        title = _TITLE.search(self.text)
        if title is None:
            return self.source
        return title[1].replace("`", "")


class DocumentationFolder(Struct, frozen=True):
    """What the package has of the documentation: nothing, if somebody has left it out."""

    version: str
    """The version of wheelyard that it is about."""
    pages: Mapping[str, DocumentedPage]
    """By their paths."""
    files: Mapping[str, Path]
    """The other files, by their paths below the front page: `images/overview.svg`."""
    sizes: Mapping[str, tuple[int, int]]
    """The width and height of each picture, in pixels, by its path."""


def find_folder() -> Path:
    """Return the folder of the documentation, which may not exist."""
    installed = _PACKAGE / "docs"
    # In a clone, which may be installed as editable, the pages are beside `src`. They are copied
    # into the package only when a wheel is built.
    if _PACKAGE.parent.name == "src" and not installed.is_dir():
        return _PACKAGE.parents[1] / "docs"
    return installed


def read_folder(folder: Path) -> DocumentationFolder:
    """
    Return what is in the folder of the documentation, or no pages and files if it does not exist.

    Raises OSError if a file cannot be read.
    """
    pages = dict[str, DocumentedPage]()
    files = dict[str, Path]()
    sizes = dict[str, tuple[int, int]]()
    for file in sorted(folder.rglob("*.*")):
        if not file.is_file():
            continue
        name = file.relative_to(folder).as_posix()
        if name.endswith(".md"):
            page = DocumentedPage(page_path(name), name, file.read_text("utf-8"))
            pages[page.path] = page
            continue
        files[name] = file
        size = _picture_size(file)
        if size is not None:
            sizes[name] = size
    return DocumentationFolder(version("wheelyard"), pages, files, sizes)


def _picture_size(path: Path) -> tuple[int, int] | None:
    """Return the width and height of a picture, or None if it is none, or of another type."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    box = _VIEW_BOX.search(head)
    if box is not None:
        return int(box[1]), int(box[2])
    webp = _WEBP.match(head)
    if webp is None:
        return None
    if webp[1]:  # a VP8X header: each side less one, in three bytes
        width = int.from_bytes(webp[1], "little") + 1
        height = int.from_bytes(webp[2], "little") + 1
        return width, height
    # a VP8 header: each side in 14 bits, and above them how it is scaled, which is no matter here
    width = int.from_bytes(webp[3], "little") & 0x3FFF
    height = int.from_bytes(webp[4], "little") & 0x3FFF
    return width, height


def page_path(name: str) -> str:
    """Return the path that a page has, however somebody spells it: `deploy/linux.md`."""
    stem = name.removesuffix("/").removesuffix(".md")
    folder, _, page = stem.rpartition("/")
    if page == README:
        stem = folder
    if not stem:
        return FRONT
    return f"{stem}/"


class Documentation:
    """
    Reads the documentation once, and renders its pages, for any thread, until it is closed.

    Nothing is read before somebody asks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = RenderProcess(is_own=True)
        self._executor = ThreadPoolExecutor(1, "docs")  # starts a thread when it needs one
        self._lock = Lock()
        """Held while a job is added, never while one runs."""
        self._jobs = dict[str, Future[Markup | None]]()
        """By the path of the page: what waits, runs or is done."""
        self._is_failing = False
        """Whether no process can be started, so that what waits is not tried either."""

    @cached_property
    def folder(self) -> DocumentationFolder:
        """The documentation of this version. Two threads at once may both read it."""
        return read_folder(self._path)

    def render(self, path: str) -> Future[Markup | None] | None:
        """
        Return the HTML of a page that exists, where links lead to files, as in the Markdown.

        It is None, now or in the end, if the page cannot be rendered now. All other pages are
        rendered behind it.
        """
        with self._lock:
            job = self._jobs.get(path)
            # a page that could not be rendered is tried again when somebody asks for it again
            if job is None or (job.done() and job.result() is None):
                self._begin(path)
            return self._jobs.get(path)

    def _begin(self, path: str) -> None:
        """Add a job for a page, and one for each other page that has none. For within the lock."""
        pages = self.folder.pages
        # whoever waits for this page does not wait for all others
        other_pages = [page for page in pages if page != path and page not in self._jobs]
        self._is_failing = False
        with suppress(RuntimeError):  # closed, or this machine has no thread left
            for added in [path, *other_pages]:
                self._jobs[added] = self._executor.submit(self._run, pages[added].text)
            # after the last page, as a process that has nothing to do keeps its memory
            self._executor.submit(self._process.close)

    def close(self) -> None:
        """End what is rendered, with an error for whoever waits."""
        # killed in this thread, as the executor's own waits for the answer; then it comes to an end
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._process.kill()
        self._executor.shutdown()
        self._process.close()

    def _run(self, text: str) -> Markup | None:
        """Return a page as HTML, or None. For the one thread of the executor."""
        if self._is_failing:
            return None
        answer = self._process.render(text, "GFM")
        # all pages that wait would fail alike, each after the time that a process gets to start
        self._is_failing = answer.get("problem") == "unavailable"
        html = answer.get("html")
        if not html:
            return None
        return Markup(html)  # noqa: S704 - of our text, and sanitised
