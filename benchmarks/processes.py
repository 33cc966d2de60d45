"""
Processes of servers and commands, their processor time and their memory.

The other load of a machine changes processor time less than it changes a rate.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from time import perf_counter

from benchmarks.servers import Server

PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
"""The field of `/proc/PID/status` for peak memory."""
SAMPLE_SECONDS = 0.05
"""Seconds between two looks at the memory of a command."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a command has taken, together with its descendants, and what it printed."""

    seconds: float
    worked: float
    """Seconds of processor time, user and system."""
    memory: float
    """
    The most resident memory in MiB: the sum of the peaks of the processes that ran at one time.

    It is seen every `SAMPLE_SECONDS`: what wait4 says is never less than this program has itself.
    """
    printed: str
    errors: str


def run(command: Sequence[object], variables: Mapping[str, str]) -> Spent:
    """Run a command; raise CalledProcessError if it fails."""
    texts = [str(each) for each in command]
    samples, ended = [0.0], Event()
    with TemporaryFile("w+") as printed, TemporaryFile("w+") as errors:
        begun = perf_counter()
        process = subprocess.Popen(texts, stdout=printed, stderr=errors, env=variables)
        sampler = Thread(target=_sample, args=(process.pid, samples, ended))
        sampler.start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = perf_counter() - begun
        ended.set()
        sampler.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        errors.seek(0)
        output = (printed.read(), errors.read())
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, texts, *output)
    return Spent(seconds, used.ru_utime + used.ru_stime, max(samples), *output)


def _sample(pid: int, samples: list[float], ended: Event) -> None:
    """Add the memory of a process and its descendants to `samples` until `ended`."""
    while not ended.wait(SAMPLE_SECONDS):
        with suppress(FileNotFoundError, ProcessLookupError):  # one of them has just ended
            texts = [Path(f"/proc/{each}/status").read_text() for each in family(pid)]
            samples.append(sum(int(kib) for text in texts for kib in PEAK.findall(text)) / 1024)


def microseconds_each(server: Server, rate: Callable[[], float], seconds: float) -> float:
    """
    Return the processor time that a server spends on one request, in microseconds.

    `rate` sends requests for so many seconds, and returns how many were answered each second.
    """
    before = cpu_seconds(server.pid)
    answered = rate() * seconds
    return (cpu_seconds(server.pid) - before) / answered * 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its descendants have used so far."""
    return sum(map(_cpu_seconds, family(pid)))


def _cpu_seconds(pid: int) -> float:
    """Return the processor time of one process, user and system together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]
