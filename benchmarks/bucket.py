"""
A store in a bucket beside one in a folder: memory, rates, and operations on the bucket.

The bucket is the tests' fake GCS server, in another process on the same machine: it answers within
some milliseconds, which a real one does not, and it takes its share of the processors.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import file_digest
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.client_headers import PIP
from benchmarks.load import page_rate, upload_all
from benchmarks.memory import forget_peak, peak, peak_of_upload, resident
from benchmarks.report import Figure
from benchmarks.servers import Server, fake_gcs_server, wheelyard, wheelyard_in_bucket
from benchmarks.speed import page_rates, upload_rates
from benchmarks.stores import Wheel, wheels

BUCKET = "benchmark"
STORE = f"gs://{BUCKET}/index"
LARGE_MIB = 477
"""500 MB."""
CLIENTS = 8
PIECE = 1 << 20
BATCH = 60
PROJECT = "project"
FOLDER = "in a folder"
BOUND = "120 MB"
WORK = ("an upload to a known project", "an upload to a new project", "a hot second", "an idle one")
OPERATIONS = [f"operations of class {each} for {work}" for work in WORK for each in "AB"]


def measure(folder: Path) -> list[Figure]:
    """Measure memory, pages and uploads, in a bucket beside a folder, and count operations."""
    with (
        fake_gcs_server(folder, BUCKET) as url,
        wheelyard_in_bucket(folder, STORE, bucket_variables(url)) as bucket,
        wheelyard(folder / "local", "/health") as local,
    ):
        memory = weigh(folder, bucket, local, LARGE_MIB)
        for server in (bucket, local):
            upload_all(server, [wheel.form() for wheel in wheels(PROJECT, 20)])
        return [*memory, *_pages(bucket, local), *_uploads(bucket, local), *_operations(bucket)]


def bucket_variables(url: str) -> dict[str, str]:
    """Return the variables of a server whose bucket is at `url`, and which streams downloads."""
    return {"STORAGE_EMULATOR_HOST": url, "WHEELYARD_STORE_DOWNLOADS": "proxy"}


def weigh(folder: Path, bucket: Server, local: Server, size: int) -> list[Figure]:
    """
    Return figures of the memory of two servers: at rest, during an upload, during downloads.

    The wheel has `size` MiB.
    """
    wheel = Wheel("heavy", "1.0")
    file = folder / wheel.filename
    with file.open("wb") as target:
        wheel.write(target, blocks=size)
    rows = [weights(server, wheel, file) for server in (bucket, local)]
    names = (
        ("at rest", ""),
        (f"a wheel of {size} MiB going up, above that", BOUND),
        (f"{CLIENTS} clients downloading it, above that", BOUND),
    )
    return [
        Figure(
            name=f"memory, {name}",
            unit="MB",
            ours=[rows[0][row]],
            theirs=[max(rows[1][row], 0.1)],
            versus=FOLDER,
            target=target,
        )
        for row, (name, target) in enumerate(names)
    ]


def weights(server: Server, wheel: Wheel, file: Path) -> tuple[float, float, float]:
    """Return a server's memory at rest in MB, and its peaks above that: uploading, downloading."""
    idle = resident(server)
    up = peak_of_upload(server, wheel, file) - idle
    with file.open("rb") as body:
        digest = file_digest(body, "sha256").hexdigest()
    path = f"/files/{wheel.project}/{digest}/{wheel.filename}"
    forget_peak(server.pid)
    with ThreadPoolExecutor(CLIENTS) as pool:
        sizes = list(pool.map(lambda _: _download(server, path), range(CLIENTS)))
    if sizes != [file.stat().st_size] * CLIENTS:
        raise RuntimeError(f"downloads were not whole: {sizes}")
    return idle, up, peak(server.pid) - idle


def _download(server: Server, path: str) -> int:
    connection, size = HTTPConnection("127.0.0.1", server.port), 0
    connection.request("GET", path)
    answer = connection.getresponse()
    while piece := answer.read(PIECE):
        size += len(piece)
    connection.close()
    return size


def _pages(bucket: Server, local: Server) -> list[Figure]:
    return [
        _beside(
            f"pages of 20 files, {clients} connection{'s'[: clients > 1]}",
            page_rates(bucket, local, f"/simple/{PROJECT}/", PIP, clients),
        )
        for clients in (1, 16)
    ]


def _uploads(bucket: Server, local: Server) -> list[Figure]:
    return [
        _beside(
            f"uploads to {BATCH} projects, {clients} client{'s'[: clients > 1]}",
            upload_rates(3, bucket, local, partial(_batch, clients), clients),
        )
        for clients in (1, 16)
    ]


def _batch(clients: int, each: int) -> Sequence[Wheel]:
    return [Wheel(f"of-{clients}-{number}", f"1.{each}") for number in range(BATCH)]


def _operations(bucket: Server) -> list[Figure]:
    """Return the numbers of class A and B operations: of an upload, a hot and an idle second."""
    targets = dict(zip(OPERATIONS, "5 6 0200", strict=True))
    return [
        Figure(name=name, unit="", ours=[count], target=targets[name].strip())
        for name, count in operations(bucket)
    ]


def operations(bucket: Server) -> Iterator[tuple[str, float]]:
    """Yield what is done on a bucket, by class, and how many operations that takes."""
    known = [Wheel("known", f"1.{number}").form() for number in range(21)]
    new = [Wheel(f"new-{number}", "1.0").form() for number in range(20)]
    upload_all(bucket, known[:1])

    def ask_hot() -> None:
        page_rate(bucket, "/simple/known/", PIP, connections=16, seconds=10)

    costs: tuple[tuple[Callable[[], object], int], ...] = (
        (lambda: upload_all(bucket, known[1:]), 20),
        (lambda: upload_all(bucket, new), 20),
        (ask_hot, 10),
        (lambda: time.sleep(5), 5),
    )
    for (work, times), names in zip(
        costs, zip(OPERATIONS[::2], OPERATIONS[1::2], strict=True), strict=True
    ):
        before = _counted(bucket)
        work()
        after = _counted(bucket)
        for name, price_class in zip(names, "AB", strict=True):
            yield name, (after.get(price_class, 0) - before.get(price_class, 0)) / times


def _counted(server: Server) -> dict[str, float]:
    """Return how many operations on its store a server has counted so far, by class."""
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    counts = dict[str, float]()
    pattern = r"^wheelyard_storage_operations_total\{class=\"(\w+)\",[^}]*\} ([0-9.e+]+)$"
    for found in re.finditer(pattern, text, re.MULTILINE):
        counts[found[1]] = counts.get(found[1], 0) + float(found[2])
    return counts


def _beside(name: str, rates: tuple[Sequence[float], Sequence[float]]) -> Figure:
    return Figure(name=name, unit="/s", ours=rates[0], theirs=rates[1], versus=FOLDER)
