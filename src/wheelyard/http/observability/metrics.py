"""
The metrics of a server in the text format of Prometheus, of all its workers together.

Several workers keep their metrics in files of one folder, by prometheus-client's multiprocess mode.
So whichever worker is asked has the sums, and what a worker has counted stays after its exit.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from math import fsum
from pathlib import Path
from threading import Lock
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Info,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.catalog.token_records import StartThread, in_background
from wheelyard.errors import WheelyardError
from wheelyard.model.token import EXPIRY_WARNING
from wheelyard.settings.load import process_environment

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_PROCESSOR_TIME: Final = "process_cpu_seconds"
_MERGES: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "process_start_time_seconds": min,
    "process_open_fds": max,
    "process_max_fds": max,
}
"""How values of several processes become one; others are added up."""

INTERVAL_SECONDS: Final = 3600.0
"""Seconds from one count to the next one, at least; also after a failed one."""


def share_metrics(folder: Path) -> None:
    """Keep the metrics that are made from now on, here and in child processes, in a folder."""
    os.environ[FOLDER_VARIABLE] = str(folder)  # noqa: TID251 - for the library
    # it looks for the variable when it is imported, which may be long ago
    values.ValueClass = values.MultiProcessValue()


def render_metrics(registry: CollectorRegistry) -> bytes:
    """Return the metrics in a registry, or of all workers, in the text format of Prometheus."""
    disable_created_metrics()
    shown, folder = CollectorRegistry(), process_environment().get(FOLDER_VARIABLE)
    build = Info("wheelyard_build", "Which wheelyard this is.", registry=shown)
    build.info({"version": version("wheelyard")})
    if folder is None:
        shown.register(registry)
        ProcessCollector(registry=shown)
    else:
        shown.register(_Processes([os.getppid(), *_running_workers(Path(folder))]))
        MultiProcessCollector(shown, folder)
    return generate_latest(shown)


class _Processes(Collector):
    """The processor time, memory and descriptors of several processes, the first their parent."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, list[Metric]] = {}
        for pid in self._pids:
            for metric in ProcessCollector(registry=None, pid=partial(int, pid)).collect():
                by_name.setdefault(metric.name, []).append(metric)
        for name, (metric, *others) in by_name.items():
            found = [each.samples[0].value for each in (metric, *others)]
            if name == _PROCESSOR_TIME:  # a counter never goes down, also if a worker exits
                found.append(_time_of_exited_children(self._pids[0]))
            total = _MERGES.get(name, fsum)(found)
            metric.samples = [metric.samples[0]._replace(value=total)]
            yield metric


def _time_of_exited_children(parent: int) -> float:
    """Return the processor time, in seconds, of the children that a process has waited for."""
    try:
        fields = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _running_workers(folder: Path) -> Iterator[int]:
    """Yield the PIDs of the workers that run; remove the gauges of the others."""
    for path in folder.glob("gauge_livesum_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if _is_running(pid):
            yield pid
        else:
            with suppress(FileNotFoundError):  # another worker has removed them
                mark_process_dead(pid, str(folder))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


class ExpiringTokens:
    """
    Counts the tokens that expire soon: in the background, when somebody asks, and once an hour.

    On a bucket a count costs one class A operation for each thousand tokens, and one class B
    operation for each record that this process has not read yet. So a server whose metrics nobody
    reads never counts, and a request for the metrics never waits for the store.
    """

    def __init__(
        self, tokens: ApiTokens, registry: CollectorRegistry, start: StartThread = in_background
    ) -> None:
        self._tokens = tokens
        self._start = start
        self._next_at = float("-inf")
        self._lock = Lock()
        self._count = Gauge(
            "wheelyard_expiring_tokens",
            f"Active API tokens that expire within {EXPIRY_WARNING.days} days, without those of CI "
            "jobs and those that another replaces; counted once an hour.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def refresh(self) -> None:
        """Start a count, unless one was started within the last hour; never waits or raises."""
        now = self._tokens.runtime.monotonic()
        with self._lock:
            if now < self._next_at:
                return
            self._next_at = now + INTERVAL_SECONDS
        try:
            self._start(self._count_tokens)
        except RuntimeError:  # no more threads
            return

    def _count_tokens(self) -> None:
        try:
            self._count.set(len(self._tokens.expiring()))
        except WheelyardError:  # the store logs its errors itself
            return
