"""What stands for S3 and Azure in the tests: it is there, and does what a test has planned."""

from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException

import pytest

from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, StatusAfter, StatusBefore
from tests.services.fixtures import Emulators
from tests.services.service import DIALECTS, ProxiedService

NAME = "projects/a+b c.json"


@pytest.fixture(params=DIALECTS)
def emulated_service(
    request: pytest.FixtureRequest, emulators: Emulators
) -> Iterator[ProxiedService]:
    """A service behind the proxy."""
    with emulators.serving(request.param, "wheels") as service:
        assert isinstance(service, ProxiedService)
        yield service


@pytest.mark.parametrize(
    ("fault", "status", "is_written"),
    [
        (StatusBefore(503), 503, False),
        (StatusBefore(429), 429, False),
        (StatusBefore(409), 409, False),
        (StatusAfter(503), 503, True),
        (DropBefore(), 0, False),
        (DropAfter(), 0, True),
    ],
)
def test_a_planned_fault_happens_once(
    emulated_service: ProxiedService, fault: Fault, status: int, *, is_written: bool
) -> None:
    """A write that is planned to fail fails before the service has it or after, and only once."""
    planned = emulated_service.faults.add(fault, "insert", "projects/*")

    assert asked(emulated_service, "PUT", "other", b"x") == (
        201 if is_azure(emulated_service) else 200,
        b"",
    )
    assert asked(emulated_service, "PUT", NAME, b"x")[0] == status

    assert planned.taken == 1
    assert (NAME in emulated_service.bucket("wheels").names()) is is_written
    assert [each.status for each in emulated_service.log.records("insert", NAME)] == [status]
    assert asked(emulated_service, "PUT", NAME, b"y")[0] in {200, 201}
    assert asked(emulated_service, "GET", NAME) == (200, b"y")


def is_azure(service: ProxiedService) -> bool:
    """Return whether a service is Azure."""
    return service.location("x").startswith("az://")


def asked(service: ProxiedService, method: str, name: str, body: bytes = b"") -> tuple[int, bytes]:
    """Ask through the proxy; the status is 0 without a whole answer."""
    connection = HTTPConnection(service.url.removeprefix("http://"), timeout=10)
    bucket = service.bucket("wheels")
    try:
        connection.request(method, bucket.target(name), body, bucket.headers(body))
        answer = connection.getresponse()
        return answer.status, answer.read()[:10] if answer.status < 300 else b""
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
