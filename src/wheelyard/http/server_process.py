"""The processes of a server: what each sets for itself, what one does for all, and the workers."""

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Awaitable
from contextlib import suppress
from fcntl import LOCK_EX, flock
from functools import partial
from pathlib import Path
from shutil import rmtree
from threading import Thread
from time import sleep
from typing import Final, Protocol

from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wheelyard.api.package_request_operations import find_waiting
from wheelyard.catalog import keys
from wheelyard.catalog.format import read_format, rewrite_format
from wheelyard.errors import WheelyardError
from wheelyard.http.app import App
from wheelyard.http.forms import HttpsOnly
from wheelyard.http.instrumentation import share_metrics
from wheelyard.http.logs import configure_logging
from wheelyard.http.stalled_connections import StalledConnections
from wheelyard.operations import check_store
from wheelyard.operations.daily_sweep import DailySweep
from wheelyard.settings.sections import Settings
from wheelyard.storage.spool import try_lock
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import resolved_location
from wheelyard.wiring.webhook_building import build_dispatcher

GRACEFUL_SHUTDOWN_SECONDS: Final = 60
"""How long running requests may take to finish at a graceful shutdown."""
FIRST_WRITE_TIMEOUT_SECONDS: Final = 5.0
"""How long a server waits for the first write of its store probe before it listens."""
SWITCH_SECONDS: Final = 0.0005
"""How long a thread may compute while others wait for the interpreter, by default 5 ms."""
POLL_SECONDS: Final = 0.01
"""How often a worker looks whether another one has opened the store, or has died."""
RETRY_SECONDS: Final = 5
"""How long a worker that cannot open the index waits before it tries again."""
WORKER_START_SECONDS: Final = 0.5
"""How long Granian may take to serve once the application has started."""
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""The numbers of two parameters of glibc's allocator (`malloc.h`)."""
LARGE_BLOCK_BYTES: Final = 1024 * 1024
"""The size of a large block: above the batches of an upload, below a page of 2,000 files."""

logger = logging.getLogger("wheelyard")


def return_freed_memory() -> None:
    """
    Make glibc return the memory of freed large blocks, and share one heap between threads.

    By default, the first large page makes glibc keep such blocks, and each thread gets a heap of
    its own, with gaps of its own. With another C library, which has no `mallopt`, nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: on Windows
        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, 1)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def prepare_process() -> None:
    """Set the allocator and the switch interval, which all threads of a process share."""
    return_freed_memory()  # before the first thread, which would get a heap of its own
    sys.setswitchinterval(SWITCH_SECONDS)  # so that pages do not wait for the threads of uploads


class ServerCommand(Protocol):
    """What the command that runs a server does in each process. It may be pickled for that."""

    def open_index(self) -> Index:
        """
        Open the index, make a missing store, and print the start message.

        Raises WheelyardError if the index cannot be opened.
        """
        ...

    def open_again(self) -> Index:
        """
        Open the index in another process of the server, and print nothing.

        Raises WheelyardError if the index cannot be opened.
        """
        ...

    def start_watching(self, index: Index) -> None:
        """
        Start threads that watch for files to import.

        Raises WheelyardError if a place to watch is gone.
        """
        ...

    def stop_watching(self) -> None:
        """
        Tell the watch threads, if there are any, to stop, and wait for them for a limited time.

        A thread whose store does not answer may still run afterwards.
        """
        ...


class RunFolder:
    """The folder that the processes of one run of a server share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics"
        self.tls = path / "server.pem"
        """A copy of key and certificate: the files of the settings may be half replaced."""
        self.lead = path / "lead"
        """A file that is locked by the worker that does what one process does for all."""
        self.opened = path / "open"
        """A file that exists once the first worker has opened the store."""
        self.probe = path / "probe"
        """A file with the result of the probe of writes."""
        self.failure = path / "failure"
        """A file that says why the first worker could not open the store."""

    def write_failure(self) -> str:
        """Return why the probe of writes has not succeeded, or an empty text if it has."""
        return check_store.recorded_reason(self.probe)


def served_app(app: App, settings: Settings) -> ASGIApp:
    """
    Return an application as a server process serves it.

    Connections of clients that take nothing are ended. With a certificate, browsers are told to use
    HTTPS alone.
    """
    limited = StalledConnections(app)
    # behind a proxy that ends TLS, the proxy says whether browsers use HTTPS alone
    if not settings.server.certificate:
        return limited
    return HttpsOnly(limited)


def lead(index: Index, command: ServerCommand, probe: check_store.StoreProbe) -> None:
    """
    Begin what one process does for all, and wait a limited time for the probe of writes.

    Unless the server is read-only, abandoned files of the spool are removed, and the daily sweep,
    the daily retention of the settings and the delivery to webhooks are started. In any case the
    probe and the watching for files to import are started. If a place to watch is gone, only the
    log says so.
    """
    if not index.settings.server.read_only:
        index.server.spool.remove_abandoned()
        DailySweep(index.server.sweep, index.changes, index.server.runtime).start()
        if index.settings.server.daily_retention:
            # no server without daily retention needs this module
            from wheelyard.retention.daily import DailyRetention  # noqa: PLC0415

            DailyRetention(lambda: index.server.retention, index.server.runtime).start()
        # also without webhooks: it takes little memory, and asks the store once a minute
        build_dispatcher(index.server, partial(find_waiting, index)).start()
    try:
        command.start_watching(index)
    except WheelyardError as error:  # a folder is gone that was there at the start
        logger.error("%s", error.message)  # noqa: TRY400 - it is no fault of ours
    probe.start()
    probe.wait(FIRST_WRITE_TIMEOUT_SECONDS)


def store_probe(index: Index, result: Path | None = None) -> check_store.StoreProbe:
    """
    Return the probe of the writes that must succeed, which the caller has to start.

    The probe writes `wheelyard.json` again, makes earlier versions refuse the store, and writes
    trial objects into the buckets of files and credentials, if these are other ones. `result` is
    the file from which all workers read the result, or None without workers. The probe writes
    nothing on a read-only server, or if `result` says that a probe has succeeded.
    """
    steps = list[check_store.Step]()
    traits = index.server.traits
    new_id = index.server.runtime.new_id
    # a server whose probe has succeeded must not become unready by another probe
    has_succeeded = result is not None and not check_store.recorded_reason(result)
    if not has_succeeded and not index.settings.server.read_only:
        steps.append(partial(_prove_writes, index))
        if traits.files_location:
            key = keys.probe(keys.FILES, new_id())
            steps += check_store.scratch_write_steps(index.stores.files, key)
        if traits.credentials_location:
            key = keys.probe(keys.CREDENTIALS, new_id())
            steps += check_store.scratch_write_steps(index.stores.credentials, key)
    return check_store.StoreProbe(steps, index.server.runtime, result)


def _prove_writes(index: Index) -> None:
    """
    Write `wheelyard.json` again, and make earlier versions refuse the store.

    Raises NotFound if `wheelyard.json` is missing, and Unavailable if the store cannot be written.
    """
    documents = index.stores.documents
    stored_format = read_format(documents)
    if stored_format is not None and stored_format.is_older:
        # first: if the process dies before the rewrite, the next start does both
        index.server.access.mark()
    credentials = resolved_location(index.server.traits.credentials_location)
    rewrite_format(documents, index.server.retries, credentials)


class WorkerProcess(Struct, frozen=True):
    """A worker process of several, which may be pickled before it starts."""

    settings: Settings
    command: ServerCommand
    folder: RunFolder
    manager: int
    """The PID of the process that starts and ends the workers."""

    def load(self) -> ASGIApp:
        """
        Return the application of this process, in which Granian calls this.

        The index is opened. If that fails, the first worker makes the manager stop, and any other
        worker tries again. The process ends if its manager was killed.
        """
        try:
            return self._load()
        except FileNotFoundError:
            if self.folder.path.exists():
                raise
            os._exit(1)  # the manager was killed, and another worker has removed the folder

    def _load(self) -> ASGIApp:
        """Return the application, once this worker or the first one has opened the store."""
        prepare_process()
        share_metrics(self.folder.metrics)
        worker = _WorkerApplication(self.command)
        Thread(target=self._exit_with_manager, daemon=True).start()
        lock = os.open(self.folder.lead, os.O_RDWR | os.O_CREAT, 0o600)

        # the kernel frees the lock when its process ends, however it ends
        is_lead = try_lock(lock)

        # the other workers wait until the first one has made the store
        while not is_lead and not self.folder.opened.exists():
            sleep(POLL_SECONDS)
            is_lead = try_lock(lock)
        index, app = self._open()
        configure_logging(self.settings.log)
        self.folder.opened.touch()
        if is_lead:
            lead(index, self.command, store_probe(index, self.folder.probe))
        else:
            Thread(target=self._lead_later, args=(lock, index), daemon=True).start()
        worker.app = served_app(app, self.settings)
        return worker

    def _open(self) -> tuple[Index, App]:
        """
        Return the index and its application.

        If the index cannot be opened, the first worker makes the manager stop, and any other worker
        tries again and again.
        """
        is_first = not self.folder.opened.exists()
        if not is_first:  # the first worker prints the start message instead of these lines
            configure_logging(self.settings.log)
        while True:
            try:
                # only the first worker prints the start message, and makes a missing store
                open_index = self.command.open_index if is_first else self.command.open_again
                index = open_index()
                return index, App(index, write_failure=self.folder.write_failure)
            except WheelyardError as error:
                if is_first:
                    self._stop_manager(error.message)
                    sleep(GRACEFUL_SHUTDOWN_SECONDS)  # until the manager ends this worker
                # if this worker exited, the manager would soon stop all others, too
                logger.critical("a worker cannot start, and tries again: %s", error.message)
                sleep(RETRY_SECONDS)

    def _stop_manager(self, why: str) -> None:
        """Make the manager stop, and say why, unless another worker has done that."""
        # a second signal would end the manager at once, before it has said anything
        with suppress(FileExistsError), self.folder.failure.open("x") as file:
            file.write(why)
            file.flush()
            os.kill(self.manager, signal.SIGTERM)

    def _lead_later(self, lock: int, index: Index) -> None:
        """Wait, in a thread of its own, until the leading worker has died, and lead then."""
        flock(lock, LOCK_EX)
        lead(index, self.command, store_probe(index, self.folder.probe))

    def _exit_with_manager(self) -> None:
        """Wait until the manager was killed, then stop, as a new server may need the port."""
        while os.getppid() == self.manager:
            sleep(1)
        logger.error("the manager process was killed, so this worker stops")
        rmtree(self.folder.path, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGTERM)
        sleep(GRACEFUL_SHUTDOWN_SECONDS)
        os._exit(1)


class _WorkerApplication:
    """
    The application of a worker process, to which Granian tells when it starts and ends.

    A worker of Granian loses a signal while it starts, and hangs at a second one. But all processes
    may get the signals of the manager. So Ctrl-C reaches no worker, SIGTERM is blocked in all
    threads, and a thread that waits for SIGTERM passes the first one on, as SIGINT.
    """

    def __init__(self, command: ServerCommand) -> None:
        self.app: ASGIApp
        self._command = command
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the worker, or None before the application has started."""
        self._serves_at = 0.0
        """When Granian serves and takes signals, by the clock of the event loop."""
        os.setpgrp()  # so that the signals of a terminal reach the manager alone
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        Thread(target=self._pass_on_stop, daemon=True).start()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer as the application does."""

        async def receive_lifespan() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._command.stop_watching()
            return message

        async def send_lifespan(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                # `_loop` last, as the thread for SIGTERM reads it first
                loop = asyncio.get_running_loop()
                self._serves_at = loop.time() + WORKER_START_SECONDS
                self._loop = loop

        if scope["type"] == "lifespan":
            return self.app(scope, receive_lifespan, send_lifespan)
        return self.app(scope, receive, send)

    def _pass_on_stop(self) -> None:
        """Wait for SIGTERM, in a thread of its own, and stop this worker when Granian can."""
        signal.sigwait([signal.SIGTERM])
        if self._loop is None:
            os._exit(0)  # this worker does not serve yet
        self._loop.call_soon_threadsafe(
            self._loop.call_at, self._serves_at, signal.raise_signal, signal.SIGINT
        )
