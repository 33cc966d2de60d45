"""What a server process does: the allocator of the C library, and worker processes."""

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
WORKER_START_SECONDS: Final = 0.5
"""How long Granian may take to serve once the application has started."""
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""glibc's numbers of its parameters (`malloc.h`)."""
LARGE_BLOCK_BYTES: Final = 1024 * 1024
"""Larger than the batches of an upload, smaller than a page of 2,000 files."""

logger = logging.getLogger("wheelyard")


def return_freed_memory() -> None:
    """
    Make glibc return the memory of freed large blocks, and share one heap between threads.

    By default, the first large page makes glibc keep such blocks, and each thread gets a heap of
    its own, with gaps of its own. Other C libraries have no `mallopt`, and nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: on Windows
        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, 1)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def prepare_process() -> None:
    """Set what all threads of a server process share."""
    return_freed_memory()  # before the first thread, which would get a heap
    sys.setswitchinterval(SWITCH_SECONDS)  # so that pages do not wait for the threads of uploads


class ServerCommand(Protocol):
    """What a command does in one process of its server, for which it may be pickled."""

    def open_index(self) -> Index:
        """
        Open the index, make a missing store, and print the start message.

        Raises WheelyardError if the index cannot be opened.
        """
        ...

    def open_again(self) -> Index:
        """
        Open the index in another process of the server, and print nothing.

        Raises WheelyardError if it cannot be opened.
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
        Tell the watch threads, if there are some, to stop, and wait for them for a limited time.

        One whose store does not answer may still run afterwards.
        """
        ...


class RunFolder:
    """The folder that the processes of one run of a server share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics"
        self.tls = path / "server.pem"
        """The key and the certificate in use: those of the settings may be half replaced."""
        self.lead = path / "lead"
        """Locked by the worker that does what one process does for all."""
        self.is_open = path / "open"
        """Exists once the first worker has opened the store."""
        self.probe = path / "probe"
        """The result of the probe of writes."""
        self.failure = path / "failure"
        """Why the first worker could not open the store."""

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
    # behind a proxy that ends TLS, whether to use HTTPS alone is for that to say
    if not settings.server.certificate:
        return limited
    return HttpsOnly(limited)


def lead(index: Index, command: ServerCommand, probe: check_store.StoreProbe) -> None:
    """
    Begin what one process does for all, and wait a limited time for the probe of writes.

    The probe and the watching for files to import begin. Unless the server is read-only, abandoned
    files of the spool are removed, and the daily sweep, the daily retention of the settings and the
    delivery to webhooks begin. If a place to watch is gone, only the log says so.
    """
    if not index.settings.server.read_only:
        index.server.spool.remove_abandoned()
        DailySweep(index.server.sweep, index.changes, index.server.runtime).start()
        if index.settings.server.daily_retention:
            # nothing of it is loaded while it is off
            from wheelyard.retention.daily import DailyRetention  # noqa: PLC0415

            DailyRetention(lambda: index.server.retention, index.server.runtime).start()
        # it is small, and asks the store once a minute while there is no webhook
        build_dispatcher(index.server, partial(find_waiting, index)).start()
    try:
        command.start_watching(index)
    except WheelyardError as error:  # a folder that was there at the start
        logger.error("%s", error.message)  # noqa: TRY400 - it is no fault of ours
    probe.start()
    probe.wait(FIRST_WRITE_TIMEOUT_SECONDS)


def store_probe(index: Index, result: Path | None = None) -> check_store.StoreProbe:
    """
    Return the probe of the writes that must succeed, which is to be started.

    It writes `wheelyard.json` again, has earlier versions refuse the store, and writes trial
    objects where there are other buckets. `result` is the file by which all workers read its
    result, None without workers. It writes nothing on a read-only server, or if `result` says that
    a probe has succeeded.
    """
    steps = list[check_store.Step]()
    traits = index.server.traits
    new_id = index.server.runtime.new_id
    # a server that could write once must not become unready by another probe
    is_writable = result is not None and not check_store.recorded_reason(result)
    if not is_writable and not index.settings.server.read_only:
        steps.append(partial(_prove_writes, index))
        if traits.files:
            key = keys.probe(keys.FILES, new_id())
            steps += check_store.scratch_write_steps(index.stores.files, key)
        if traits.credentials:
            key = keys.probe(keys.CREDENTIALS, new_id())
            steps += check_store.scratch_write_steps(index.stores.credentials, key)
    return check_store.StoreProbe(steps, index.server.runtime, result)


def _prove_writes(index: Index) -> None:
    """
    Write `wheelyard.json` again, and have earlier versions refuse the store.

    Raises NotFound if it is missing, and Unavailable if the store cannot be written.
    """
    documents = index.stores.documents
    written = read_format(documents)
    if written is not None and written.is_older:
        # before: a process that dies in between does both at its next start
        index.server.access.mark()
    credentials = resolved_location(index.server.traits.credentials)
    rewrite_format(documents, index.server.retries, credentials)


class WorkerProcess(Struct, frozen=True):
    """What a worker process begins with, for which it may be pickled."""

    settings: Settings
    command: ServerCommand
    folder: RunFolder
    manager: int
    """The PID of the process that starts and ends the workers."""

    def load(self) -> ASGIApp:
        """
        Return the application of this process, in which Granian calls it.

        It opens the index. If that fails, the first worker has the manager stop, and another one
        tries again. The process ends if its manager was killed.
        """
        try:
            return self._load()
        except FileNotFoundError:
            if self.folder.path.exists():
                raise
            os._exit(1)  # the manager was killed, and another worker has removed the folder

    def _load(self) -> ASGIApp:
        """Return the application, once this worker or another one has opened the store."""
        prepare_process()
        share_metrics(self.folder.metrics)
        worker = _WorkerApplication(self.command)
        Thread(target=self._exit_with_manager, daemon=True).start()
        lock = os.open(self.folder.lead, os.O_RDWR | os.O_CREAT, 0o600)

        # the kernel frees the lock when its process ends, however it ends
        is_lead = try_lock(lock)

        # the other workers wait until the first one has made the store
        while not is_lead and not self.folder.is_open.exists():
            sleep(POLL_SECONDS)
            is_lead = try_lock(lock)
        index, app = self._open()
        configure_logging(self.settings.log)
        self.folder.is_open.touch()
        if is_lead:
            lead(index, self.command, store_probe(index, self.folder.probe))
        else:
            Thread(target=self._lead_later, args=(lock, index), daemon=True).start()
        worker.app = served_app(app, self.settings)
        return worker

    def _open(self) -> tuple[Index, App]:
        """Open the index, or else stop a server that starts, and wait in one that runs."""
        is_first = not self.folder.is_open.exists()
        if not is_first:  # the start message of the first has what the log would repeat
            configure_logging(self.settings.log)
        while True:
            try:
                # only the first prints the start message, and makes a missing store
                open_index = self.command.open_index if is_first else self.command.open_again
                index = open_index()
                return index, App(index, write_failure=self.folder.write_failure)
            except WheelyardError as error:
                if is_first:
                    self._stop_manager(error.message)
                    sleep(GRACEFUL_SHUTDOWN_SECONDS)  # until the manager ends this worker
                # if it exited, the manager would soon give up, and stop the other workers, too
                logger.critical("a worker cannot start, and tries again: %s", error.message)
                sleep(5)

    def _stop_manager(self, why: str) -> None:
        """Have the manager stop, and say why, unless another worker has done that."""
        # a second signal would end the manager at once, before it has said anything
        with suppress(FileExistsError), self.folder.failure.open("x") as file:
            file.write(why)
            file.flush()
            os.kill(self.manager, signal.SIGTERM)

    def _lead_later(self, lock: int, index: Index) -> None:
        """Wait in a thread of its own until the worker that leads has died, then do what it did."""
        flock(lock, LOCK_EX)
        lead(index, self.command, store_probe(index, self.folder.probe))

    def _exit_with_manager(self) -> None:
        """Wait until the manager is killed, then stop, as a new server may need the port."""
        while os.getppid() == self.manager:
            sleep(1)
        logger.error("the manager process was killed, so this worker stops")
        rmtree(self.folder.path, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGTERM)
        sleep(GRACEFUL_SHUTDOWN_SECONDS)
        os._exit(1)


class _WorkerApplication:
    """
    The application of a worker process, which learns from Granian when it starts and ends.

    A worker of Granian loses a signal while it starts, and hangs at a second one. But all processes
    may get the signals of the manager. So Ctrl-C reaches no worker, SIGTERM is blocked in all
    threads, and a thread of its own that waits for it passes the first on, as SIGINT.
    """

    def __init__(self, command: ServerCommand) -> None:
        self.app: ASGIApp
        self._command = command
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serves_at = 0.0
        os.setpgrp()  # the signals of a terminal are the manager's
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
                # the thread for SIGTERM reads the loop, and is told last
                loop = asyncio.get_running_loop()
                self._serves_at = loop.time() + WORKER_START_SECONDS
                self._loop = loop

        if scope["type"] == "lifespan":
            return self.app(scope, receive_lifespan, send_lifespan)
        return self.app(scope, receive, send)

    def _pass_on_stop(self) -> None:
        """Wait for SIGTERM in a thread of its own, and have the server stop as it can."""
        signal.sigwait([signal.SIGTERM])
        if self._loop is None:
            os._exit(0)  # it does not serve yet
        self._loop.call_soon_threadsafe(
            self._loop.call_at, self._serves_at, signal.raise_signal, signal.SIGINT
        )
