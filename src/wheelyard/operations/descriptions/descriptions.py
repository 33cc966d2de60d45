"""Descriptions as HTML: cached by their content, rendered by at most two processes."""

import logging
import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Condition, Thread, current_thread
from typing import TYPE_CHECKING, Final

from markupsafe import Markup
from msgspec import Struct

from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.model.metadata import CoreMetadata

if TYPE_CHECKING:
    from wheelyard.operations.descriptions.child_process import ChildProcess

logger = logging.getLogger("wheelyard")

MAX_LENGTH: Final = 512 * 1024
"""Characters of a description that are rendered, or shown as plain text."""
CACHE_CAPACITY: Final = 8 * 1024**2
"""Characters of HTML that are kept."""
MAX_PROCESSES: Final = 2
MAX_CALLERS: Final = 4
"""Callers that wait, each in a thread that others need as well; more get plain text at once."""
WAIT_SECONDS: Final = 4.0
"""How long a caller waits, also while the machine is busy and a process is started."""
IDLE_SECONDS: Final = 60.0
"""After this time without a description a process ends, and so does its thread."""
RETRY_SECONDS: Final = 60.0
"""After this time a description is tried again that failed for no fault of its own."""

_REPLACED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff]")
"""Controls, lone surrogates, and the overrides that show text in another order than it has."""

TOO_SLOW: Final = "rendering it took more than a second"
TOO_LARGE: Final = "it is longer than 512 KiB"
TOO_COMPLEX: Final = "it is too complex to render"
NO_RST: Final = "it is not valid reStructuredText; `twine check` says where"
NO_MARKUP: Final = "it cannot be rendered"
BUSY: Final = "the server is busy. Load this page again in a minute"


class RenderedDescription(Struct, frozen=True, kw_only=True):
    """A description as HTML that is safe in a page."""

    html: Markup
    """Empty if there is no description."""
    is_final: bool = True
    """Whether it stays so; if not, a page with it must not be cached."""


class _Result(Struct, frozen=True):
    html: str
    """Empty if the description is shown as plain text."""
    reason: str = ""
    is_final: bool = True


_BUSY: Final = _Result("", BUSY, is_final=False)


@dataclass(frozen=True, slots=True)
class _Job:
    digest: bytes
    text: str
    markup: str
    is_declared: bool = field(kw_only=True)
    """Whether the author has said that the text has this markup."""
    future: Future[_Result] = field(default_factory=Future)


class Descriptions:
    """
    Renders descriptions; for any thread. `close` ends what it has started.

    Args:
        monotonic: The clock of what is tried again later.
        remote_images: Whether images of other hosts are shown.
        is_patient: Whether callers wait as long as it takes, any number of them.
        idle_seconds: After this time without a description a process ends.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        remote_images: bool = False,
        is_patient: bool = False,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._remote_images = remote_images
        self._is_patient = is_patient
        self._idle_seconds = idle_seconds
        self._results: LruCache[bytes, _Result] = LruCache(CACHE_CAPACITY)
        self._failures: ExpiringCache[bytes, _Result] = ExpiringCache(monotonic, 1000)
        self._changed = Condition()
        self._queue = deque[_Job]()
        self._jobs = dict[bytes, _Job]()
        """The jobs that wait or run."""
        self._callers = 0
        self._threads = set[Thread]()
        self._children = set["ChildProcess"]()
        self._is_closed = False

    def render(self, core: CoreMetadata) -> RenderedDescription:
        """
        Return the description of a release.

        Equal ones are rendered once. If several callers wait already, or it takes too long, the
        result is plain text, and not final.
        """
        text, markup = core.description or "", _markup(core.description_content_type)
        if not text.strip():
            return RenderedDescription(html=Markup())
        if not markup or len(text) > MAX_LENGTH:
            return RenderedDescription(html=plain(text, TOO_LARGE if markup else ""))
        is_declared = bool(core.description_content_type)
        content = f"{markup} {is_declared}\n{text}".encode("utf-8", "replace")
        digest = blake2b(content, digest_size=16).digest()
        result = self._result(_Job(digest, text, markup, is_declared=is_declared))
        # the process has sanitised it
        html = Markup(result.html) if result.html else plain(text, result.reason)  # noqa: S704
        return RenderedDescription(html=html, is_final=result.is_final)

    def close(self) -> None:
        """End all processes; whoever waits gets plain text."""
        with self._changed:
            self._is_closed = True
            threads, children = list(self._threads), list(self._children)
            self._changed.notify_all()
        for child in children:
            child.kill()
        for thread in threads:
            thread.join()

    def _result(self, job: _Job) -> _Result:
        result = self._results.get(job.digest) or self._failures.get(job.digest)
        if result is not None:
            return result
        with self._changed:
            if self._callers >= MAX_CALLERS and not self._is_patient:
                return _BUSY
            job = self._enqueued(job)
            self._callers += 1
        try:
            return job.future.result(None if self._is_patient else WAIT_SECONDS)
        except TimeoutError:
            return _BUSY
        finally:
            with self._changed:
                self._callers -= 1

    def _enqueued(self, job: _Job) -> _Job:
        """Return the job that is rendered for `job`: itself, or an equal one that was earlier."""
        found = self._jobs.get(job.digest)
        if found is not None:
            return found
        if self._is_closed or not self._has_thread():
            job.future.set_result(_BUSY)
            return job
        self._jobs[job.digest] = job
        self._queue.append(job)
        self._changed.notify()
        return job

    def _has_thread(self) -> bool:
        """Start a thread if all are busy; return whether there is any."""
        if len(self._threads) < MAX_PROCESSES and len(self._jobs) >= len(self._threads):
            thread = Thread(target=self._work, name="describe", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # this machine has no thread left
                return bool(self._threads)
            self._threads.add(thread)
        return True

    def _work(self) -> None:
        """Render what waits, with one process; end when nothing has waited for a while."""
        from wheelyard.operations.descriptions.child_process import (  # noqa: PLC0415 - not at start
            RestartedProcess,
        )

        slot = RestartedProcess(self._children, images=self._remote_images)
        try:
            while (job := self._next_job()) is not None:
                result = _BUSY
                try:
                    if not self._is_closed:
                        result = _judge(slot.render(_cleaned(job.text), job.markup), job)
                except Exception:
                    logger.exception("a description cannot be rendered")
                finally:
                    self._finish(job, result)
        finally:
            slot.close()

    def _next_job(self) -> _Job | None:
        with self._changed:
            while not self._queue:
                is_in_time = not self._is_closed and self._changed.wait(self._idle_seconds)
                if not self._queue and not is_in_time:
                    self._threads.discard(current_thread())
                    return None
            return self._queue.popleft()

    def _finish(self, job: _Job, result: _Result) -> None:
        if result.is_final:
            self._results.put(job.digest, result, 200 + len(result.html))
        else:
            self._failures.put(job.digest, result, RETRY_SECONDS)
        with self._changed:
            del self._jobs[job.digest]
        job.future.set_result(result)


def plain(text: str, reason: str = "") -> Markup:
    """Return a description as text, cut at MAX_LENGTH, after a sentence with the reason."""
    head = Markup('<p class="soft">This description is shown as plain text: {}.</p>\n')
    cut = Markup("\n<p>The rest is in the core metadata of the files.</p>")
    end = cut if len(text) > MAX_LENGTH else Markup()
    body = Markup('<pre tabindex="0">{}</pre>').format(_cleaned(text[:MAX_LENGTH]))
    return (head.format(reason) if reason else Markup()) + body + end


def _cleaned(text: str) -> str:
    """Return a text with the line ends of Unix, and without characters that no page shows."""
    return _REPLACED.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def _markup(content_type: str | None) -> str:
    """Return the markup of a Description-Content-Type; empty for plain text."""
    kind, *options = (each.strip().lower() for each in (content_type or "text/x-rst").split(";"))
    if kind == "text/markdown":
        return "CommonMark" if "variant=commonmark" in options else "GFM"
    return "rst" if kind == "text/x-rst" else ""


def _judge(answer: dict[str, str], job: _Job) -> _Result:
    """Return the result of an answer of a process."""
    problem = answer.get("problem", "")
    if problem == "unavailable":
        return _BUSY
    if problem == "markup":
        # PyPI takes a text without a type for reStructuredText, and for plain text if it is none
        reason = NO_RST if job.markup == "rst" else NO_MARKUP
        return _Result("", reason if job.is_declared else "")
    if problem:
        return _Result("", TOO_SLOW if problem == "slow" else TOO_COMPLEX)
    return _Result(answer["html"])
