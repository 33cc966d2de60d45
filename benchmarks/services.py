"""
A store at Google, S3 and Azure: processor time, operations and memory, side by side.

Each service is the one of the tests: the fake GCS server, moto and Azurite, on this machine. They
answer within milliseconds, which a real one does not, so only what our server does is measured.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import OK, HTTPConnection
from pathlib import Path
from typing import Final, TypeVar

from benchmarks.bucket import LARGE_MIB, bucket_variables, operations
from benchmarks.load import upload_all
from benchmarks.memory import peak_of_upload, resident
from benchmarks.processes import cpu_seconds
from benchmarks.report import Figure, short
from benchmarks.servers import OBJECTS, Server, fake_gcs_server, wheelyard_in_bucket
from benchmarks.stores import Wheel
from tests.services.emulators import running_azurite, running_moto
from tests.services.service import DIALECTS, proxied

PROJECTS: Final = 60
ROUNDS: Final = 3
BUCKET: Final = "benchmark"
CPU_TARGET: Final = "<= 1.3x Google"
MEMORY_TARGET: Final = "60 MB"

T = TypeVar("T")
Measured = dict[str, list[float]]


def measure(folder: Path) -> list[Figure]:
    """Measure a server on each service; return the figures of S3 and Azure beside Google's."""
    by_service = dict[str, Measured]()
    for name in ("google", "s3", "azure"):
        own = folder / name
        own.mkdir()
        with _service(name, own) as (location, variables, lock):
            by_service[name] = _measured(own, location, variables, lock)
    google = by_service["google"]
    return [
        Figure(
            name=f"{service}: {what}",
            unit=_unit(what),
            ours=values,
            theirs=google[what] if _unit(what) else (),  # none of nothing cannot be compared
            versus="Google",
            target=_target(what, google[what]),
        )
        for service in ("s3", "azure")
        for what, values in by_service[service].items()
    ]


def _unit(what: str) -> str:
    return "ms" if what.startswith("processor") else "MB" if what.startswith("memory") else ""


def _target(what: str, google: Sequence[float]) -> str:
    own = f"<= {short(max(google))}, as Google"
    return {"ms": CPU_TARGET, "MB": MEMORY_TARGET}.get(_unit(what), own)


@contextmanager
def _service(name: str, folder: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield a location in a service, the variables that lead there, and the lock to install."""
    with ExitStack() as running:
        if name == "google":
            url = running.enter_context(fake_gcs_server(folder, BUCKET))
            yield f"gs://{BUCKET}/index", bucket_variables(url), "gcs.txt"
            return
        emulator = running_moto if name == "s3" else running_azurite
        address = running.enter_context(emulator(folder / "emulator.log"))
        service = running.enter_context(proxied(DIALECTS[name], address, BUCKET))
        variables = service.environment() | {"WHEELYARD_STORE_DOWNLOADS": "proxy"}
        yield service.location(f"{BUCKET}/index"), variables, OBJECTS


def _measured(folder: Path, location: str, variables: dict[str, str], lock: str) -> Measured:
    measured = Measured()
    authorization = ""
    for number in range(ROUNDS):
        with wheelyard_in_bucket(folder, location, variables, authorization, lock) as server:
            authorization = server.authorization
            # a fresh server has no document in its cache
            pages = [f"/simple/of-{each}/" for each in range(PROJECTS)] if number else []
            if pages:
                _add(measured, "processor time of a cold page", _spent(server, pages, _ask))
            forms = [Wheel(f"of-{each}", f"1.{number}").form() for each in range(PROJECTS)]
            spent = _spent(server, forms, lambda server, form: upload_all(server, [form]))
            _add(measured, "processor time of an upload", spent)
            if number == 0:
                for name, count in operations(server):
                    _add(measured, name, count)
                _add(measured, "memory, a wheel of 500 MB going up", _memory(folder, server))
    return measured


def _add(measured: Measured, name: str, value: float) -> None:
    measured.setdefault(name, []).append(value)


def _spent(server: Server, items: Sequence[T], work: Callable[[Server, T], object]) -> float:
    """Return the milliseconds of processor time of each item."""
    before = cpu_seconds(server.pid)
    for item in items:
        work(server, item)
    return (cpu_seconds(server.pid) - before) / len(items) * 1000


def _ask(server: Server, path: str) -> None:
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != OK:
        raise RuntimeError(f"{path} was answered with {answer.status}")


def _memory(folder: Path, server: Server) -> float:
    wheel = Wheel("heavy", "1.0")
    file = folder / wheel.filename
    with file.open("wb") as target:
        wheel.write(target, blocks=LARGE_MIB)
    idle = resident(server)
    return peak_of_upload(server, wheel, file) - idle
