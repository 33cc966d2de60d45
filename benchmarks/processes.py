"""
Processes of servers, and their processor time.

The other load of a machine changes it less than it changes a rate.
"""

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
