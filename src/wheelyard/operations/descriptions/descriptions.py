"""
Descriptions as HTML, which one process renders in the background, each once, the shortest first.

The store keeps the results below `derived/`, by text and renderer. Until there is a result, a page
has the plain text. The process stays for a minute after the last description, as its start takes
longer than most descriptions. The shortest description is first, as a long one takes as long as
many others.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from threading import Lock, Timer
from typing import Any, Final

from markupsafe import Markup
from msgspec import Struct

from wheelyard.catalog import keys, removed
from wheelyard.catalog.document_cache import Codec
from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.errors import WheelyardError
from wheelyard.model.metadata import CoreMetadata
from wheelyard.operations.descriptions.child_process import RenderProcess
from wheelyard.storage.base import Key, Store, Stored

logger = logging.getLogger("wheelyard")

MAX_LENGTH: Final = 512 * 1024
"""The most characters of a description that are rendered, or shown as plain text."""
CACHE_CAPACITY: Final = 8 * 1024**2
"""The most characters of HTML that are kept in memory."""
RESULT_OVERHEAD: Final = 200
"""What a result takes in memory beside its HTML, in characters."""
MAX_WAITING: Final = 100
"""The most descriptions that wait. Others have to wait until their pages are asked for again."""
RETRY_SECONDS: Final = 60.0
"""The time until a description is tried again whose failure was not its own."""
PROCESS_SECONDS: Final = 60.0
"""How long the process waits for another description."""
KEPT_SECONDS: Final = 90 * 86_400.0
"""The age from which a result is deleted. A page that needs the result has it made again."""
LIBRARIES: Final = ("readme_renderer", "docutils", "nh3", "Pygments")
"""The libraries that decide what the HTML of a description is."""

_UNSHOWN_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff]")
"""Controls, lone surrogates, and the overrides that show text in another order than it has."""

TOO_LARGE: Final = "it is longer than 512 KiB"
NO_RST: Final = "it is not valid reStructuredText; the command twine check says where"
NO_MARKUP: Final = "it cannot be rendered"
_REASONS: Final = {
    "slow": "rendering it took more than a second",
    "complex": "it is too complex to render",
}
"""The reasons on a page, by the problem in the answer of the process."""
NOT_YET: Final = "it is not rendered yet. Load this page again in a minute"


class RenderedDescription(Struct, frozen=True, kw_only=True):
    """A description as HTML that is safe in a page."""

    html: Markup
    """The HTML, which is empty if there is no description."""
    is_final: bool = True
    """Whether the HTML stays so. If not, a page with it must not be cached."""
    job: Future[Any] | None = None
    """Ends when the description has been rendered, or None if nothing waits for that."""


class _Result(Struct, frozen=True):
    """The result of rendering a description, in the form that is stored."""

    html: str = ""
    """The HTML, which is empty if the description is shown as plain text."""
    reason: str = ""
    """Why it is shown as plain text, or empty if a page does not say that."""


_RESULTS: Final = Codec(_Result)


class _Description(Struct, frozen=True):
    """A description in a markup."""

    text: str
    markup: str
    is_declared: bool
    """Whether the author has said that the text has this markup."""
    key: Key
    """The key of the result in the store."""


class _Job(Struct, frozen=True):
    """A description that waits to be rendered, or is being rendered."""

    description: _Description
    is_looked_up: bool
    """Whether the store was asked for a result before, and had none."""
    result: Future[_Result | None]

    @property
    def length(self) -> int:
        """The length of the text."""
        return len(self.description.text)


class Descriptions:
    """
    Renders descriptions, for any thread, until it is closed.

    Args:
        store: Keeps the results. If the store may only be read, memory keeps them.
        monotonic: The clock for descriptions that are tried again later.
        waits: Whether callers wait until a description is rendered, as for a static site.
    """

    def __init__(
        self, store: Store, monotonic: Callable[[], float], *, waits: bool = False
    ) -> None:
        self._store = store
        self._waits = waits
        self._results: LruCache[Key, _Result] = LruCache(CACHE_CAPACITY)
        self._failures: ExpiringCache[Key, bool] = ExpiringCache(monotonic, 1000)
        self._process = RenderProcess()
        # both start their thread with their first task
        self._executor = ThreadPoolExecutor(1, "describe")
        self._writer = ThreadPoolExecutor(1, "describe-write")
        self._lock = Lock()
        """Held while a job is added or removed, never while one runs."""
        self._jobs = dict[Key, _Job]()
        """The jobs that wait or run."""
        self._end_timer: Timer | None = None
        """Ends the process, unless another job comes before."""

    def begin(self, core: CoreMetadata) -> None:
        """Have the description of a new release rendered in the background, without any I/O."""
        description = _parse(core)
        if description is not None and self._results.get(description.key) is None:
            self._submit(description, is_looked_up=False)

    def render(self, core: CoreMetadata) -> RenderedDescription:
        """
        Return the description of a release as HTML, or as plain text if it cannot be rendered.

        A description that is not rendered yet is plain text, which is not final. Rendering it
        begins, unless too many wait, or it has failed within the last minute: then `job` is None.
        If callers are to wait, the result is waited for. A description that is too long or cannot
        be rendered is plain text with the reason, which is final.
        """
        description = _parse(core)
        if description is None:
            text = core.description or ""
            reason = ""
            if _markup(core.description_content_type):
                reason = TOO_LARGE
            html = Markup()
            if text.strip():
                html = plain(text, reason)
            return RenderedDescription(html=html)
        text = description.text
        key = description.key
        result = self._results.get(key) or self._read_result(key)
        job: Future[_Result | None] | None = None
        if result is None and not self._failures.get(key):
            job = self._submit(description, is_looked_up=True)
            # a site that is exported is not made again a minute later
            if job is not None and self._waits:
                result = job.result()
        if result is None:
            return RenderedDescription(html=plain(text, NOT_YET), is_final=False, job=job)
        if not result.html:
            return RenderedDescription(html=plain(text, result.reason))

        # The process has sanitised the HTML. Whoever can change it in the store can change packages
        # as well.
        return RenderedDescription(html=Markup(result.html))  # noqa: S704

    def close(self) -> None:
        """End all jobs. A thread that waits for one gets an error."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        # a result that was not written is made again
        self._writer.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for job in self._jobs.values():
                job.result.cancel()  # does nothing to the job that runs
            if self._end_timer is not None:
                self._end_timer.cancel()
        # the thread of the executor waits for an answer, which this ends
        self._process.kill()
        self._executor.shutdown()
        self._writer.shutdown()
        self._process.close()

    def _submit(
        self, description: _Description, *, is_looked_up: bool
    ) -> Future[_Result | None] | None:
        """
        Have a description rendered, and return the future of the result.

        Return None if too many descriptions wait, or this is closed, or no thread can be started.
        """
        with self._lock:
            job = self._jobs.get(description.key)
            if job is None and len(self._jobs) < MAX_WAITING:
                with suppress(RuntimeError):  # closed, or this machine has no thread left
                    # the thread of the executor waits for the lock, and then finds the job
                    self._executor.submit(self._run_shortest)
                    job = _Job(description, is_looked_up, Future())
                    self._jobs[description.key] = job
            if job is None:
                return None
            return job.result

    def _run_shortest(self) -> None:
        """
        Run the shortest waiting job, in the thread of the executor.

        It is called once for each job.
        """
        with self._lock:
            # all of these jobs wait, as this is the only thread that runs jobs
            job = min(self._jobs.values(), key=attrgetter("length"), default=None)
            if job is None or not job.result.set_running_or_notify_cancel():  # closed
                return
        result = self._run(job)
        # removed before the result is set: a caller after this finds the result, or begins again
        with self._lock:
            self._jobs.pop(job.description.key)
            if not self._jobs and not self._waits:
                self._end_process_later()
        job.result.set_result(result)

    def _run(self, job: _Job) -> _Result | None:
        """Return the result of a job, or None if it failed for no fault of the description."""
        key = job.description.key
        result = self._results.get(key)
        try:
            if result is None and not job.is_looked_up:
                result = self._read_result(key)
            if result is None:
                result = self._render(job.description)
        except Exception:
            # a bug, here or in a library, has no other effect than that pages have the plain text
            logger.exception("a description cannot be rendered")
        if result is None:
            self._failures.put(key, True, RETRY_SECONDS)  # noqa: FBT003 - a value
        return result

    def _end_process_later(self) -> None:
        """
        Have the process end after `PROCESS_SECONDS`.

        It is called in the thread of the executor, with the lock held.
        """
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._end_timer = Timer(PROCESS_SECONDS, self._end_process)
        self._end_timer.daemon = True
        try:
            self._end_timer.start()
        except RuntimeError:  # this machine has no thread left
            self._process.close()

    def _end_process(self) -> None:
        """Have the executor end the process. The timer calls it in its own thread."""
        # only the thread of the executor may use the process, and so end it
        with self._lock, suppress(RuntimeError):  # closed
            if not self._jobs:
                self._executor.submit(self._process.close)

    def _read_result(self, key: Key) -> _Result | None:
        """Return the result in the store, and remember it. None if there is none, or on errors."""
        with suppress(WheelyardError):  # the result is made again
            stored = self._store.get(key)
            if isinstance(stored, Stored):
                return self._remember(key, _RESULTS.decode(key, stored.body))
        return None

    def _render(self, description: _Description) -> _Result | None:
        """Return a new result, and keep it. Return None if the process is not available."""
        text = _clean(description.text)
        answer = self._process.render(text, description.markup)
        problem = answer.get("problem", "")
        if problem == "unavailable":
            return None
        reason = _REASONS.get(problem, "")
        # As on PyPI, a text without a type that is no reStructuredText is plain text, without a
        # reason.
        if problem == "markup" and description.is_declared:
            reason = NO_MARKUP
            if description.markup == "rst":
                reason = NO_RST
        result = self._remember(description.key, _Result(answer.get("html", ""), reason))
        with suppress(RuntimeError):  # closed, or this machine has no thread left
            # in another thread: a write to a bucket takes longer than to render most descriptions
            self._writer.submit(self._write, description.key, result)
        return result

    def _write(self, key: Key, result: _Result) -> None:
        """Write a result to the store, in the thread of the writer. Errors are ignored."""
        with suppress(WheelyardError):  # the result is in memory
            self._store.put(key, _RESULTS.encode(result), None)

    def _remember(self, key: Key, result: _Result) -> _Result:
        """Keep a result in memory, and return it."""
        self._results.put(key, result, RESULT_OVERHEAD + len(result.html))
        return result


def _parse(core: CoreMetadata) -> _Description | None:
    """
    Return the description of a release.

    Return None if there is no description, or if it is plain text or too long, and is not rendered.
    """
    text = core.description or ""
    markup = _markup(core.description_content_type)
    if not text.strip() or not markup or len(text) > MAX_LENGTH:
        return None
    is_declared = bool(core.description_content_type)
    content = f"{markup} {is_declared}\n{text}".encode("utf-8", "replace")
    key = keys.description(renderer(), sha256(content).hexdigest())
    return _Description(text, markup, is_declared, key)


@cache
def renderer() -> str:
    """Return a digest of the code and libraries that decide the HTML of a description."""
    folder = Path(__file__).parent
    code = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    library_versions = " ".join(version(library) for library in LIBRARIES)
    return sha256(library_versions.encode() + code).hexdigest()[:16]


def remove_old(store: Store, now: float) -> None:
    """
    Delete the results that are `KEPT_SECONDS` old at `now`, in seconds since the epoch.

    Raises Unavailable if the store does not answer.
    """
    for entry in store.list(keys.DESCRIPTIONS):
        if entry.modified < now - KEPT_SECONDS:
            store.delete(entry.key)


def remove_results(stores: Iterable[Store], cores: Iterable[CoreMetadata]) -> None:
    """
    Delete the results of all renderers for the descriptions of these releases.

    For another release with the same description, the result is made again. Raises Unavailable if a
    store does not answer.
    """
    names = set[str]()
    for core in cores:
        description = _parse(core)
        if description is not None:
            names.add(_name_of(description.key))
            names.update(_earlier_names(description))
    if not names:
        return
    for store in stores:
        for entry in store.list(keys.DESCRIPTIONS):
            if _name_of(entry.key) in names:
                store.delete(entry.key)


def _earlier_names(description: _Description) -> Iterator[str]:
    """Yield the names that the results of a description had in earlier versions."""
    text = description.text
    markup = description.markup
    for digest in removed.description_digests(text, markup, is_declared=description.is_declared):
        yield _name_of(keys.description("", digest))


def _name_of(key: Key) -> str:
    """Return the last part of the key of a result, which all renderers give it."""
    return key.rpartition("/")[2]


def plain(text: str, reason: str = "") -> Markup:
    """Return a description as text, cut at MAX_LENGTH, after a sentence with the reason."""
    html = Markup()
    if reason:
        sentence = Markup('<p class="soft">This description is shown as plain text: {}.</p>\n')
        html += sentence.format(reason)
    # `format` of a Markup escapes the text, which a stranger has written
    html += Markup('<pre tabindex="0">{}</pre>').format(_clean(text[:MAX_LENGTH]))
    if len(text) > MAX_LENGTH:
        html += Markup("\n<p>The rest is in the core metadata of the files.</p>")
    return html


def _clean(text: str) -> str:
    """Return a text with the line ends of Unix, and without characters that no page shows."""
    text_with_line_feeds = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNSHOWN_CHARACTERS.sub("\ufffd", text_with_line_feeds)


def _markup(content_type: str | None) -> str:
    """Return the markup of a Description-Content-Type, which is empty for plain text."""
    # by the core metadata specification, a description without a type is reStructuredText
    parts = (content_type or "text/x-rst").split(";")
    media_type, *options = (part.strip().lower() for part in parts)
    if media_type == "text/markdown":
        if "variant=commonmark" in options:
            return "CommonMark"
        return "GFM"
    if media_type == "text/x-rst":
        return "rst"
    return ""
