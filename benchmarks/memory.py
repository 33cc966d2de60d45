"""Resident memory, from /proc: at rest, after requests for all pages, and under a large upload."""

import re
from collections.abc import Iterator
from hashlib import file_digest
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.client_headers import BROWSER, PIP
from benchmarks.load import latencies, upload_headers
from benchmarks.processes import family
from benchmarks.report import Figure
from benchmarks.servers import Server, pypiserver, wheelyard
from benchmarks.stores import Wheel, collection, fill_pypiserver, fill_wheelyard

LARGE_MIB = 700
MANY = {"1,300 projects": collection(1300, 40), "26 projects": collection(26, 2000)}
"""Collections of 52,000 files."""
PIECE = 256 * 1024


def measure(folder: Path) -> list[Figure]:
    """Measure the memory of servers with 4,000 and 52,000 files, and for a wheel of 700 MiB."""
    plan = collection(200, 20)
    fill_wheelyard(folder / "ours", plan)
    fill_pypiserver(folder / "theirs", plan)
    wheel = Wheel("heavy", "1.0")
    file = folder / wheel.filename
    with file.open("wb") as target:
        wheel.write(target, blocks=LARGE_MIB)
    with wheelyard(folder / "ours") as ours, pypiserver(folder / "theirs") as theirs:
        servers = (ours, theirs)
        idle = [resident(server) for server in servers]
        for server in servers:
            _ask_all(server, plan)
        asked, shares = [resident(each) for each in servers], [fair_share(each) for each in servers]
        peaks = [peak_of_upload(server, wheel, file) for server in servers]
    return [
        *(_many(folder / f"many-{len(many)}", name, many) for name, many in MANY.items()),
        _figure("at rest, 4,000 files, nothing asked", idle, ""),
        _figure("all pages of 4,000 files asked", asked, "< 80 MB"),
        _figure("the same, its fair share (PSS)", shares, ""),
        _figure(
            "a 700 MiB wheel going up, above what it was before",
            [peak - before for peak, before in zip(peaks, asked, strict=True)],
            "tens of MB",
        ),
    ]


def _many(folder: Path, name: str, plan: dict[str, int]) -> Figure:
    """Return a figure: the memory once every page was asked for, beside that at rest."""
    fill_wheelyard(folder, plan)
    with wheelyard(folder) as server:
        idle = resident(server)
        _ask_all(server, plan)
        return Figure(
            name=f"memory, all pages of 52,000 files of {name} asked",
            unit="MB",
            ours=[resident(server)],
            theirs=[idle],
            versus="at rest",
            target="at rest + 41 MB",
        )


def _figure(name: str, values: list[float], target: str) -> Figure:
    ours, theirs = values
    return Figure(
        name=f"memory, {name}", unit="MB", ours=[ours], theirs=[max(theirs, 0.1)], target=target
    )


def _ask_all(server: Server, plan: dict[str, int]) -> None:
    for headers in (PIP, BROWSER):
        latencies(server, "/simple/", headers, 1)
        for project in plan:
            latencies(server, f"/simple/{project}/", headers, 1)


def peak_of_upload(server: Server, wheel: Wheel, file: Path) -> float:
    """Upload a large wheel; return the peak memory of the server meanwhile, in MB."""
    forget_peak(server.pid)
    with file.open("rb") as body:
        head, tail = wheel.form_around(file_digest(body, "sha256").hexdigest())
    length = len(head) + file.stat().st_size + len(tail)
    connection = HTTPConnection("127.0.0.1", server.port)
    headers = upload_headers(server) | {"Content-Length": str(length)}
    connection.request("POST", server.upload_path, _pieces(head, file, tail), headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the large upload was answered with {answer.status}: {said[:300]!r}")
    return peak(server.pid)


def forget_peak(pid: int) -> None:
    """Reset the peak memory that the kernel records for a process and its descendants."""
    for each in family(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


def peak(pid: int) -> float:
    """Return the sum of the peak memory of a process and of its descendants, in MB."""
    return sum(_field(each, "status", "VmHWM") for each in family(pid))


def _pieces(head: bytes, file: Path, tail: bytes) -> Iterator[bytes]:
    yield head
    with file.open("rb") as body:
        while piece := body.read(PIECE):
            yield piece
    yield tail


def resident(server: Server) -> float:
    """Return the resident memory of a server, all its processes together, in MB."""
    return sum(_field(pid, "status", "VmRSS") for pid in family(server.pid))


def fair_share(server: Server) -> float:
    """Return the memory of a server (PSS), all its processes together, in MB."""
    return sum(_field(pid, "smaps_rollup", "Pss") for pid in family(server.pid))


def _field(pid: int, file: str, name: str) -> float:
    """Return a field of a file in `/proc/PID`, which the kernel gives in kB, in MB; else 0."""
    text = Path(f"/proc/{pid}/{file}").read_text()
    found = re.search(rf"^{name}:\s+([0-9]+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 / 1_000_000 if found else 0.0
