"""Processor time of servers, which the other load of a machine changes less than a rate."""

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.servers import Server


def microseconds_each(server: Server, rate: Callable[[], float], seconds: float) -> float:
    """
    Return the processor time that a server spends on one request, in microseconds.

    `rate` sends requests for so many seconds, and returns how many were answered each second.
    """
    before = cpu_seconds(server.pid)
    answered = rate() * seconds
    return (cpu_seconds(server.pid) - before) / answered * 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, user and system together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
