"""Calls of obstore: how this process waits for them, and what they raise."""

from collections.abc import Callable
from threading import current_thread, main_thread
from typing import Final, TypeVar

from wheelyard.concurrency.daemon_threads import DaemonThreads
from wheelyard.storage.objects.errors import OBSTORE_ERRORS, failure_of

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
