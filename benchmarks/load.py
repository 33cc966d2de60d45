"""
Load on a server: rates of page requests and uploads, and how long one takes.

`wrk` makes the load for page rates where it is installed, because it takes next to nothing from the
server's share of the machine; elsewhere a plain client on asyncio does.
"""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path

from benchmarks.servers import Server
from benchmarks.stores import BOUNDARY, Wheel

MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
ATTEMPTS = 10
"""How many times an upload is sent if its connection breaks."""


def page_rate(
    server: Server,
    path: str,
    headers: dict[str, str],
    *,
    connections: int,
    seconds: float,
    script: Path | None = None,
) -> float:
    """
    Return how many requests for `path` a server answers per second.

    As many clients as `connections` send them without pause for `seconds`. A `script` for wrk may
    choose another path for each request.
    """
    if shutil.which("wrk"):
        options = ("-s", str(script)) if script else ()
        said = _wrk(server, path, headers, connections, seconds, *options)
        return float(_found(r"Requests/sec:\s+([0-9.]+)", said)[1])
    return asyncio.run(_flood(server.port, path, headers, connections, seconds))


def page_latency(
    server: Server, path: str, headers: dict[str, str], *, connections: int, seconds: float
) -> tuple[float, float]:
    """
    Return how many milliseconds half of the requests for `path` take at most, and 99 of 100.

    As many clients as `connections` send them without pause for `seconds`; without wrk only one.
    """
    if shutil.which("wrk"):
        said = _wrk(server, path, headers, connections, seconds, "--latency")
        found = (_found(rf"{part}%\s+([0-9.]+)(us|ms|s)", said) for part in (50, 99))
        half, most = (float(each[1]) * MILLISECONDS[each[2]] for each in found)
        return half, most
    taken = sorted(latencies(server, path, headers, int(1000 * seconds)))
    return taken[len(taken) // 2], taken[len(taken) * 99 // 100]


def latencies(server: Server, path: str, headers: dict[str, str], count: int) -> list[float]:
    """Request `path` so many times over one connection; return the milliseconds of each request."""
    connection = HTTPConnection("127.0.0.1", server.port)
    taken = list[float]()
    for _ in range(count):
        begun = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - begun) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered with {answer.status}")
    connection.close()
    return taken


def answer_of(server: Server, path: str, headers: dict[str, str]) -> tuple[Message, bytes]:
    """Return the headers and the body of an answer; raise RuntimeError if it is not 200."""
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered with {answer.status}: {body[:300]!r}")
    return answer.headers, body


def upload_rate(server: Server, wheels: Iterable[Wheel], *, clients: int) -> float:
    """
    Return how many uploads per second a server answers; the clients share the wheels.

    Each client sends its share over one connection, one wheel at a time.
    """
    forms = [wheel.form() for wheel in wheels]
    shares = [list(islice(forms, start, None, clients)) for start in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        for _ in pool.map(lambda share: upload_all(server, share), shares):
            pass
        return len(forms) / (time.perf_counter() - begun)


def upload_all(server: Server, forms: Iterable[bytes]) -> list[float]:
    """Upload forms over one connection, one at a time; return the milliseconds of each."""
    connection, taken = HTTPConnection("127.0.0.1", server.port), list[float]()
    for form in forms:
        begun = time.perf_counter()
        _upload(connection, server, form)
        taken.append((time.perf_counter() - begun) * 1000)
    connection.close()
    return taken


def _upload(connection: HTTPConnection, server: Server, form: bytes) -> None:
    arrived = {200}
    for _ in range(ATTEMPTS):
        try:
            connection.request("POST", server.upload_path, form, upload_headers(server))
            answer = connection.getresponse()
            said = answer.read()
        except ConnectionError:  # pypiserver does that under load; the file may be there or not
            connection.close()
            arrived = {200, 409}
            continue
        if answer.status not in arrived:
            raise RuntimeError(f"an upload was answered with {answer.status}: {said[:300]!r}")
        return
    raise RuntimeError("an upload was cut off again and again")


def upload_headers(server: Server) -> dict[str, str]:
    """Return the headers of an upload to a server, as twine sends them."""
    return {
        "Authorization": server.authorization,
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "User-Agent": "twine/6.2.0",
    }


def _wrk(
    server: Server,
    path: str,
    headers: dict[str, str],
    connections: int,
    seconds: float,
    *options: str,
) -> str:
    """Return what wrk prints after it has made a load with all answers 2xx."""
    lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    url = f"http://127.0.0.1:{server.port}{path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", *options, *lines, url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    return said


def _found(pattern: str, said: str) -> re.Match[str]:
    found = re.search(pattern, said)
    if found is None:
        raise RuntimeError(said)
    return found


async def _flood(
    port: int, path: str, headers: dict[str, str], connections: int, seconds: float
) -> float:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
    begun = time.perf_counter()
    counts = await asyncio.gather(
        *(_repeat(port, request, begun + seconds) for _ in range(connections))
    )
    return sum(counts) / (time.perf_counter() - begun)


async def _repeat(port: int, request: bytes, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        is_open = True
        while is_open and time.perf_counter() < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: ([0-9]+)", head)
            if b" 200 " not in head[:16] and b" 304 " not in head[:16]:
                raise RuntimeError(head)
            # HTTP/1.0 wants a connection for each request
            is_open = not head.startswith(b"HTTP/1.0") and b"\r\nConnection: close" not in head
            if b" 200 " in head[:16]:
                await (reader.readexactly(int(length[1])) if length else reader.read())
            count += 1
        writer.close()
    return count
