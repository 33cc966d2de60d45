"""The check whether a bucket keeps the conditions of writes."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, StatusAfter, StatusBefore
from tests.services.service import ProxiedService
from tests.storage.objects.conftest import Open
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.location import BucketLocation, parse_location
from wheelyard.storage.objects.conditions import ConditionCheck
from wheelyard.storage.objects.store import ObjectStore
from wheelyard.wiring.stores import system_runtime

A = Key("a/1.json")


@dataclass
class Service:
    """A service in memory that keeps, ignores or misunderstands conditions."""

    keeps_creation: bool = True
    keeps_version: bool = True
    knows_own_version: bool = True
    has_conditions: bool = True
    may_delete: bool = True
    failures: list[FailureKind | None] = field(default_factory=list)
    """What the next writes fail with, after they were executed or refused. None: they answer."""
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: int = 0
    location: BucketLocation = field(default_factory=lambda: parse_location("s3://wheels"))
    runtime: Runtime = field(default_factory=system_runtime)

    def write_once(self, name: str, body: bytes, expect: ObjectVersion) -> ObjectVersion:
        """Write an object, as this service understands `expect`."""
        self.requests += 1
        if not self.has_conditions:
            raise Failure(FailureKind.REFUSED, 501)
        found = self.objects.get(name)
        if expect == ABSENT:
            is_refused = self.keeps_creation and found is not None
        else:
            is_own = found is not None and expect == f"version {found!r}"
            is_refused = not (self.knows_own_version if is_own else not self.keeps_version)
        if not is_refused:
            self.objects[name] = body
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise Failure(failure)
        if is_refused:
            raise Failure(FailureKind.CONFLICT, 412)
        return ObjectVersion(f"version {body!r}")

    def delete_once(self, name: str) -> None:
        """Delete an object."""
        self.requests += 1
        if not self.may_delete:
            raise Failure(FailureKind.DENIED, 403)
        self.objects.pop(name, None)

    def name_of(self, key: Key) -> str:
        """Return the name of an object."""
        return key

    def repeat(self, seconds: float, request: Callable[..., bool], *arguments: object) -> bool:
        """Try four times."""
        assert seconds
        for _ in range(3):
            with suppress(Failure):
                return request(*arguments)
        return request(*arguments)


def checked(service: Service) -> Callable[[], None]:
    """Return the check of a service by one process."""
    check = ConditionCheck()
    return lambda: check.ensure(cast("ObjectStore", service))


def test_a_service_that_keeps_conditions() -> None:
    """Four requests and a deletion tell that a bucket keeps conditions, once a process."""
    service = Service()
    check = checked(service)

    check()
    check()

    assert service.requests == 5
    assert service.objects == {}


@pytest.mark.parametrize(
    "service",
    [
        Service(keeps_creation=False),
        Service(keeps_version=False),
        Service(knows_own_version=False),
        Service(has_conditions=False),
    ],
)
def test_a_service_that_does_not(service: Service) -> None:
    """A service that ignores a condition, or refuses the right one, is asked only once."""
    check = checked(service)

    with pytest.raises(Unavailable, match="does not keep the conditions") as caught:
        check()
    asked = service.requests
    with pytest.raises(Unavailable):
        check()

    assert caught.value.code == "conditions_ignored"
    assert service.requests == asked
    assert service.objects == {}


@pytest.mark.parametrize(
    "failures",
    [[FailureKind.UNCLEAR, FailureKind.THROTTLED], [None, FailureKind.UNCLEAR]],
    ids=["the first write", "a write that is refused"],
)
def test_a_lost_answer_is_no_verdict(failures: list[FailureKind | None]) -> None:
    """What a lost answer leaves open is asked again, about another object."""
    service = Service(failures=[*failures])

    checked(service)()

    assert service.failures == []
    assert service.objects == {}


def test_no_answer_is_no_verdict() -> None:
    """A service that does not answer is asked again by the next write."""
    service = Service(failures=[FailureKind.UNCLEAR] * 4)
    check = checked(service)

    with pytest.raises(Failure):
        check()

    check()
    assert service.failures == []


def test_the_check_needs_the_right_to_delete() -> None:
    """A check that may not delete its object fails, and names the right that is missing."""
    with pytest.raises(Failure) as caught:
        checked(Service(may_delete=False))()

    assert caught.value.right == "s3:DeleteObject"


@pytest.mark.integration
@pytest.mark.parametrize("service", ["s3"], indirect=True)
def test_the_right_to_delete(open_place: Open, service: ProxiedService) -> None:
    """Without the right to delete nothing is written, and the message names that right."""
    store = open_place().documents
    service.faults.add(StatusBefore(403, reason="AccessDenied"), "delete")

    with pytest.raises(Unavailable, match="lack the right s3:DeleteObject on"):
        store.put(A, b"one", None)

    assert service.bucket("wheels").get(A) is None


@pytest.mark.integration
@pytest.mark.parametrize(
    ("faults", "writes"),
    [
        # four requests ask, and one writes; a try that fails ends with its second request
        ((), 4 + 1),
        ((DropBefore(), DropAfter()), 2 + 2 + 4 + 1),
        ((StatusBefore(503), StatusAfter(500)), 2 + 2 + 4 + 1),
    ],
    ids=["answered", "without an answer", "with an error"],
)
def test_the_first_write_of_a_process(
    open_place: Open, service: ProxiedService, faults: tuple[Fault, ...], writes: int
) -> None:
    """The first write asks, and leaves nothing behind; a process that only reads never asks."""
    store = open_place("wheels/packages").documents
    assert store.get(A) is None
    assert list(store.list("")) == []
    assert service.log.records("insert") == []

    planned = [service.faults.add(each, "insert", skip=n) for n, each in enumerate(faults, 1)]
    store.put(A, b"one", None)
    asked = service.log.count(kind="insert")
    store.put(A, b"two", None)

    assert service.log.count(kind="insert") == asked + 1
    assert [each.taken for each in planned] == [1] * len(faults)
    assert asked == writes
    assert [name for name in service.bucket("wheels").names() if not name.endswith(A)] == []
