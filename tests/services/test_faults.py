"""
The table of faults: each verb of a store meets each fault, at Google, S3 and Azure.

A fault that passes is settled by the store; one that stays is Unavailable, and says what it is. No
outcome is guessed: what was said to be written is there, and what was said not to be is not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from tests.fake_gcs.faults import (
    CutAt,
    DropAfter,
    DropBefore,
    Fault,
    ResetAt,
    Stall,
    StatusAfter,
    StatusBefore,
)
from tests.fake_time import RunningClock
from tests.refused import refused
from tests.services.fixtures import ALL, RARELY
from tests.services.service import Service
from tests.services.stores import store_at
from tests.storage.gcs.opened import FOR_EVER
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

pytestmark = pytest.mark.integration
rarely = pytest.mark.parametrize("service", RARELY, indirect=True)
always = pytest.mark.parametrize("service", ALL, indirect=True)

A, NEW = Key("a/old.json"), Key("a/new.json")
OLD_BODY, BODY = b"as it was before", b"as it is to be"
LARGE = bytes(range(256)) * (36 * 1024) + b"end"
"""More than a store sends in one piece."""
UPLOADS = "resumable-*"
COOL_DOWN_SECONDS = 60
"""After which no store takes a service for broken any more."""

PASSING: dict[str, Fault] = {
    "429 before": StatusBefore(429),
    "500 before": StatusBefore(500),
    "503 before": StatusBefore(503),
    "reset before": DropBefore(),
    "500 after": StatusAfter(500),
    "503 after": StatusAfter(503),
    "no answer": DropAfter(),
    "cut": CutAt(5),
    "reset": ResetAt(5),
}
"""What passes, and what a request has come to by then."""
LOST: dict[str, Fault] = {
    "500 after": StatusAfter(500),
    "503 after": StatusAfter(503),
    "no answer": DropAfter(),
}


@dataclass(frozen=True)
class Verb:
    """A call of a store: what it does, and the kinds of requests that it makes."""

    call: Callable[[Store], object]
    kinds: str
    expected: object = None
    """What it returns."""
    written: tuple[Key, bytes] | None = None
    """What is stored afterwards."""


class Anything:
    """Equals whatever it is compared with."""

    __hash__ = None  # type: ignore[assignment]  # what equals everything has no hash

    def __eq__(self, other: object) -> bool:
        return True


ANY = Anything()


def replace(store: Store) -> ObjectVersion:
    """Replace what is at A."""
    return store.put(A, BODY, version_of(store))


def put_large(store: Store) -> None:
    """Store a file that is sent in pieces, as one on disk is."""
    with NamedTemporaryFile() as file:
        file.write(LARGE)
        file.flush()
        store.put_file(NEW, Path(file.name))


VERBS: dict[str, Verb] = {
    "get": Verb(lambda store: store.get(A) is not None, "media", expected=True),
    "read": Verb(lambda store: b"".join(store.read(A)), "media", OLD_BODY),
    "list": Verb(lambda store: [entry.key for entry in store.list("a/")], "list", [A]),
    "create": Verb(lambda store: store.put(NEW, BODY, ABSENT), "insert", ANY, (NEW, BODY)),
    "replace": Verb(replace, "insert", ANY, (A, BODY)),
    "overwrite": Verb(lambda store: store.put(A, BODY, None), "insert", ANY, (A, BODY)),
    "put a file": Verb(lambda store: store.put_file(NEW, BODY), "insert", None, (NEW, BODY)),
    "put a large file": Verb(put_large, UPLOADS, None, (NEW, LARGE)),
    "delete": Verb(lambda store: store.delete(A), "delete", None, (A, b"")),
}
each_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@pytest.fixture
def time() -> RunningClock:
    """The time of the store: real, but for pauses."""
    return RunningClock()


@pytest.fixture
def store(service: Service, time: RunningClock) -> Iterator[Store]:
    """A store with an object at A, which has made its first write."""
    with store_at(service, time) as store:
        store.put(A, OLD_BODY, ABSENT)
        yield store


def body_of(store: Store, key: Key = A) -> bytes:
    """Return what is at a key, nothing if there is nothing."""
    found = store.get(key)
    return found.body if isinstance(found, Stored) else b""


def version_of(store: Store) -> ObjectVersion:
    """Return the version at A."""
    found = store.get(A)
    assert isinstance(found, Stored)
    return found.version


@rarely
@each_verb
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes(service: Service, store: Store, verb: Verb, fault: Fault) -> None:
    """A fault of one request is not seen: the call does what it should."""
    planned = service.faults.add(fault, verb.kinds)

    try:
        assert verb.call(store) == verb.expected
    except Conflict:  # a swap that Google refuses for its rate is not made again by the store
        assert (fault, verb) == (PASSING["429 before"], VERBS["replace"])
        verb.call(store)

    assert planned.taken == 1
    if verb.written:
        key, body = verb.written
        assert body_of(store, key) == body


@rarely
@each_verb
@pytest.mark.parametrize(
    "fault",
    [StatusBefore(503), StatusBefore(500), DropBefore()],
    ids=["throttled", "broken", "reset"],
)
def test_a_fault_that_stays(
    service: Service, store: Store, time: RunningClock, verb: Verb, fault: Fault
) -> None:
    """A fault that does not pass is Unavailable, in bounded time, and it may be tried again."""
    service.faults.add(fault, verb.kinds, count=FOR_EVER)

    with pytest.raises(Unavailable) as caught:
        verb.call(store)

    assert caught.value.code in {"storage_unavailable", "overloaded"}
    service.faults.clear()
    time.pause(COOL_DOWN_SECONDS)
    assert verb.call(store) == verb.expected


@rarely
@each_verb
def test_credentials_that_have_expired(service: Service, store: Store, verb: Verb) -> None:
    """Credentials that are not valid any more are named as the cause, and nothing is written."""
    faults = {
        "gs": StatusBefore(401),
        "s3": StatusBefore(400, reason="ExpiredToken"),
        "az": StatusBefore(403, reason="AuthenticationFailed"),
    }
    scheme = service.location("x").partition(":")[0]
    service.faults.add(faults[scheme], verb.kinds, count=FOR_EVER)

    with refused(Unavailable, "storage_credentials"):
        verb.call(store)

    service.faults.clear()
    assert (body_of(store), store.get(NEW)) == (OLD_BODY, None)


@rarely
@each_verb
def test_rights_that_are_missing(service: Service, store: Store, verb: Verb) -> None:
    """A right that is missing is named as the cause, and nothing is written."""
    reasons = {"gs": "forbidden", "s3": "AccessDenied", "az": "AuthorizationPermissionMismatch"}
    scheme = service.location("x").partition(":")[0]
    service.faults.add(StatusBefore(403, reason=reasons[scheme]), verb.kinds, count=FOR_EVER)

    with refused(Unavailable, "storage_denied"):
        verb.call(store)

    service.faults.clear()
    assert (body_of(store), store.get(NEW)) == (OLD_BODY, None)


@always
@pytest.mark.parametrize("is_creation", [True, False], ids=["create", "replace"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_a_lost_answer_is_no_lost_race(
    service: Service, store: Store, fault: Fault, *, is_creation: bool
) -> None:
    """A write whose answer was lost has the version that is there now."""
    key, expect = (NEW, ABSENT) if is_creation else (A, version_of(store))
    service.faults.add(fault, "insert")

    version = store.put(key, BODY, expect)

    assert store.get(key) == Stored(BODY, version)


@always
@pytest.mark.parametrize("is_creation", [True, False], ids=["create", "replace"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_another_write_after_a_lost_answer(
    service: Service, store: Store, time: RunningClock, fault: Fault, *, is_creation: bool
) -> None:
    """Where another writer has replaced what may have been written, the outcome is not guessed."""
    key, expect = (NEW, ABSENT) if is_creation else (A, version_of(store))
    bucket = service.bucket("wheels")
    service.faults.add(fault, "insert")
    time.during_pause = partial(bucket.put, key, b"of somebody else")

    with pytest.raises(Unavailable, match="not known"):
        store.put(key, BODY, expect)

    assert body_of(store, key) == b"of somebody else"


@always
@pytest.mark.parametrize("is_creation", [True, False], ids=["create", "replace"])
def test_another_write_before_a_try(
    service: Service, store: Store, time: RunningClock, *, is_creation: bool
) -> None:
    """Where another writer came first while this one was told to wait, it is told so."""
    key, expect = (NEW, ABSENT) if is_creation else (A, version_of(store))
    service.faults.add(StatusBefore(503), "insert")
    time.during_pause = partial(service.bucket("wheels").put, key, b"of somebody else")

    with pytest.raises((Conflict, Unavailable)):
        store.put(key, BODY, expect)

    assert body_of(store, key) == b"of somebody else"


@pytest.mark.parametrize("service", ALL[1:], indirect=True)
@pytest.mark.parametrize("is_creation", [True, False], ids=["create", "replace"])
def test_a_write_that_meets_another_one(
    service: Service, store: Store, *, is_creation: bool
) -> None:
    """A 409, by which S3 says that another write is under way, is no lost race."""
    key, expect = (NEW, ABSENT) if is_creation else (A, version_of(store))
    service.faults.add(StatusBefore(409, reason="ConditionalRequestConflict"), "insert", count=2)

    version = store.put(key, BODY, expect)

    assert store.get(key) == Stored(BODY, version)


@pytest.mark.services
@always
@pytest.mark.parametrize("verb", [VERBS["get"], VERBS["create"]], ids=["get", "create"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_without_an_answer_is_made_again(
    service: Service, store: Store, verb: Verb, when: str
) -> None:
    """A request without an answer is given up after some seconds, and made again."""
    service.faults.add(Stall(60, "before" if when == "before" else "after"), verb.kinds)

    assert verb.call(store) == verb.expected

    if verb.written:
        key, body = verb.written
        assert body_of(store, key) == body
