"""
The documentation of this version, which the package carries: its pages as HTML, and its pictures.

The Markdown files are those of `docs/` in the repository. When somebody asks for a page, that page
is rendered, and then all others, by a process such as that for descriptions. The process ends after
the last page. The rendered pages stay in memory, so the server can show them also while the store
does not answer. Nothing is read, and no process runs, before somebody asks for a page.
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
"""The name of the page of a folder, without its suffix."""

_VIEW_BOX: Final = re.compile(rb'viewBox="0 0 ([0-9]+) ([0-9]+)"')
_WEBP: Final = re.compile(rb"RIFF....WEBPVP8(?:X.{8}(.{3})(.{3})| .{10}(..)(..))", re.DOTALL)
_HEAD_BYTES: Final = 512
"""How many bytes of a picture are read. Its width and height are among the first bytes."""
_TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)
_PACKAGE: Final = Path(__file__).parents[1]


class DocumentedPage(Struct, frozen=True):
    """A page of the documentation."""

    path: str
    """The path of the page below the front page, with a slash at its end: `deploy/linux/`."""
    source: str
    """The path of the Markdown file: `deploy/linux.md`."""
    text: str
    """The Markdown, in the dialect of GitHub."""

    @property
    def title(self) -> str:
        """The first heading as plain text, or the path of the Markdown file if it has none."""
        heading = _TITLE.search(self.text)
        if heading is None:
            return self.source
        return heading[1].replace("`", "")


class DocumentationFolder(Struct, frozen=True):
    """The documentation in the package. It is empty if the package was made without it."""

    version: str
    """The version of wheelyard that the documentation is about."""
    pages: Mapping[str, DocumentedPage]
    """The pages, by their paths."""
    files: Mapping[str, Path]
    """All files but the pages, by their paths below the front page: `images/overview.svg`."""
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
    Return the pages and the other files of the documentation.

    Both are empty if the folder does not exist. Raises OSError if a file cannot be read.
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
    """Return the width and height of a picture, or None if the file is no SVG and no WebP."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    view_box = _VIEW_BOX.search(head)
    if view_box is not None:
        return int(view_box[1]), int(view_box[2])
    webp = _WEBP.match(head)
    if webp is None:
        return None
    if webp[1]:  # a VP8X header has each side less one, in three bytes
        width = int.from_bytes(webp[1], "little") + 1
        height = int.from_bytes(webp[2], "little") + 1
        return width, height
    # a VP8 header has each side in the lower 14 bits, and above them a scale, which is ignored
    width = int.from_bytes(webp[3], "little") & 0x3FFF
    height = int.from_bytes(webp[4], "little") & 0x3FFF
    return width, height


def page_path(name: str) -> str:
    """
    Return the path of a page, such as `deploy/linux/`.

    `name` may be that path with or without its slash, or the name of the Markdown file.
    """
    stem = name.removesuffix("/").removesuffix(".md")
    folder, _, page = stem.rpartition("/")
    if page == README:
        stem = folder
    if not stem:
        return FRONT
    return f"{stem}/"


class Documentation:
    """
    Reads the documentation when somebody asks for it, and renders its pages.

    Threads may share it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = RenderProcess(is_own=True)
        self._executor = ThreadPoolExecutor(1, "docs")  # starts a thread when it needs one
        self._lock = Lock()
        """Held while a job is added, never while a job runs."""
        self._jobs = dict[str, Future[Markup | None]]()
        """The jobs that wait, run or are done, by the path of the page that they render."""
        self._is_failing = False
        """Whether the last process could not start, so that the waiting jobs do not try either."""

    @cached_property
    def folder(self) -> DocumentationFolder:
        """The documentation of this version. Two threads at once may both read it."""
        return read_folder(self._path)

    def render(self, path: str) -> Future[Markup | None] | None:
        """
        Return the job that renders a page as HTML, with the links as the Markdown has them.

        The page has to exist. The job, or its result, is None if the page cannot be rendered now.
        All other pages are rendered after this page.
        """
        with self._lock:
            job = self._jobs.get(path)
            has_failed = job is not None and job.done() and job.result() is None
            if job is None or has_failed:
                self._add_jobs(path)
            return self._jobs.get(path)

    def close(self) -> None:
        """End all jobs. Who waits for a job gets an error."""
        # The thread of the executor waits for the answer of the process. So this thread kills the
        # process, and then the other thread ends.
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._process.kill()
        self._executor.shutdown()
        self._process.close()

    def _add_jobs(self, path: str) -> None:
        """
        Add a job for a page, and then one for each page that has no job yet.

        The caller holds the lock.
        """
        pages = self.folder.pages
        # after this page, so that who asks for this page does not wait for all others
        other_paths = [other for other in pages if other != path and other not in self._jobs]
        self._is_failing = False
        with suppress(RuntimeError):  # closed, or this machine has no thread left
            for page_to_render in [path, *other_paths]:
                text = pages[page_to_render].text
                self._jobs[page_to_render] = self._executor.submit(self._render_text, text)
            # after the last page, as a process keeps its memory while it has nothing to do
            self._executor.submit(self._process.close)

    def _render_text(self, text: str) -> Markup | None:
        """
        Return Markdown as HTML, or None if it cannot be rendered.

        Only the one thread of the executor calls this.
        """
        if self._is_failing:
            return None
        answer = self._process.render(text, "GFM")
        # all waiting pages would fail alike, each after the time that a process gets to start
        self._is_failing = answer.get("problem") == "unavailable"
        html = answer.get("html")
        if not html:
            return None
        return Markup(html)  # noqa: S704 - of our text, and sanitised
