"""Downloads of a large file through the server: rate and processor time, beside nginx."""

import socket
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from benchmarks.client_headers import PIP_FILE
from benchmarks.memory import peak_of_upload
from benchmarks.peers import nginx
from benchmarks.processes import cpu_seconds
from benchmarks.report import Figure, alternate
from benchmarks.servers import Server, wheelyard
from benchmarks.stores import Wheel

MIB = 191
"""200 MB."""
ROUNDS = 4
TIMES = 5
"""How many downloads of a round follow each other, over one connection."""
PIECE = 1 << 20
MB, GB = 1e6, 1e9


def measure(folder: Path) -> list[Figure]:
    """Measure downloads of a file of 200 MB, by one client: megabytes, and processor time."""
    wheel, own = Wheel("heavy", "1.0"), folder / "nginx"
    own.mkdir()
    file = folder / wheel.filename
    with file.open("wb") as target:
        wheel.write(target, blocks=MIB)
    path = f"/{wheel.filename}"
    with wheelyard(folder / "store") as ours, nginx(folder, own, path) as beside:
        peak_of_upload(ours, wheel, file)
        spent = {"ours": list[float](), "nginx": list[float]()}
        measurements = {"ours": rate(ours, f"/packages{path}", spent["ours"])}
        if beside is not None:
            measurements["nginx"] = rate(beside, path, spent["nginx"])
        rates = alternate(ROUNDS, measurements)
    return [
        Figure(
            name=f"download of 200 MB{name}",
            unit=unit,
            ours=values["ours"],
            theirs=values.get("nginx", ()),
            versus="nginx",
            target=target,
        )
        for name, unit, values, target in (
            ("", "MB/s", rates, ">= 1x"),
            (", processor time", "s/GB", spent, "<= 1.5x"),
        )
    ]


def rate(server: Server, path: str, spent: list[float]) -> Callable[[int], float]:
    """Return a measurement of the rate in MB/s; it adds the seconds of each GB to `spent`."""

    def measure(_: int) -> float:
        lines = "".join(f"{name}: {value}\r\n" for name, value in PIP_FILE.items())
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
        before, begun = cpu_seconds(server.pid), perf_counter()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            size = sum(_download(connection, request) for _ in range(TIMES))
        taken = perf_counter() - begun
        spent.append((cpu_seconds(server.pid) - before) / size * GB)
        return size / MB / taken

    return measure


def _download(connection: socket.socket, request: bytes) -> int:
    """Send a request, and receive all of its answer; return the size of the body."""
    connection.sendall(request)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    head, _, begun = head.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields[b"content-length"])
    left, piece = length - len(begun), bytearray(PIECE)
    while left > 0:
        left -= connection.recv_into(piece, min(left, PIECE))
    return length
