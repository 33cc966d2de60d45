"""Calls of obstore: how this process waits for them, what they raise, and what they return."""

from collections.abc import Callable, Iterator
from functools import partial
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Final, TypeVar

from wheelyard.concurrency.daemon_threads import DaemonThreads
from wheelyard.storage.base import CHUNK_BYTES, ObjectVersion
from wheelyard.storage.objects.errors import OBSTORE_ERRORS, failure_of

if TYPE_CHECKING:
    from obstore import GetResult

T = TypeVar("T")

_threads: Final = DaemonThreads(8, "bucket")


def answer_of(call: Callable[[], T]) -> T:
    """
    Return what a call of obstore returns; raise Failure.

    obstore waits for the network without looking at signals. So the main thread, which handles
    them, lets another one wait: Ctrl-C then ends a command at once.
    """
    try:
        return _threads.start(call).result() if current_thread() is main_thread() else call()
    except OBSTORE_ERRORS as error:
        failure = failure_of(error)
    # outside of the handler, so that the exception does not refer to obstore's
    raise failure


def chunks_of(answer: "GetResult") -> Iterator[bytes]:
    """Yield the bytes of an answer; raise Failure."""
    stream = answer.stream(CHUNK_BYTES)
    while (chunk := answer_of(partial(next, stream, None))) is not None:
        whole = memoryview(chunk)  # obstore's may be larger
        for at in range(0, len(whole), CHUNK_BYTES):
            yield bytes(whole[at : at + CHUNK_BYTES])


def version_of(etag: str | None) -> ObjectVersion:
    """Return the version of an object with this ETag."""
    return ObjectVersion((etag or "").strip('"'))  # Azure's listings have no quotes
