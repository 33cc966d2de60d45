"""
The policies of deploy/aws, at a service that enforces them as Amazon does.

It is moto, which takes anything until a user and a policy are made for each case.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlencode

import pytest

from tests.cli.conftest import called
from tests.clients.harness import REPOSITORY
from tests.deploy.running import DEPLOY
from tests.distributions import make_wheel
from tests.fake_gcs.faults import StatusBefore
from tests.refused import refused
from tests.services.emulators import running_moto
from tests.services.s3 import REGION, S3
from tests.services.service import ProxiedService, proxied
from tests.storage.gcs.opened import FOR_EVER
from tests.storage.test_services import ServiceConformance
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, Store
from wheelyard.storage.objects import connect
from wheelyard.wiring.stores import open_single_store

pytestmark = pytest.mark.services

A, FILE = Key("a/1.json"), Key("files/demo/abc/demo-1.0.tar.gz")
LARGE = b"0123456789" * 1_000_000
"""More than a store sends in one piece."""
NEEDED: dict[str, Callable[[Store], object]] = {
    "s3:GetObject": lambda store: store.get(A),
    "s3:ListBucket": lambda store: list(store.list("")),
    "s3:PutObject": lambda store: store.put(A, b"two", None),
    "s3:DeleteObject": lambda store: store.put(A, b"two", None),
}
"""Actions, and what cannot be done without each."""
PAGE = (REPOSITORY / "docs" / "bucket.md").read_text()
PUBLISHED = "published"
"""The prefix of a store to which somebody publishes who may write to one project alone."""
ABORT = "s3:AbortMultipartUpload"


class EnforcingS3:
    """A service with a bucket `wheels`, and users who may do what the files of deploy/aws say."""

    def __init__(self, address: str, service: ProxiedService) -> None:
        self._address = address
        self.service = service
        bucket = service.location("wheels").removeprefix("s3://")
        self._policies = {
            name: (DEPLOY / "aws" / f"{name}.json").read_text().replace("${BUCKET}", bucket)
            for name in ("policy", "reader")
        }
        self._keys = {name: self._make_user(name, text) for name, text in self._policies.items()}
        self._keys["publisher"] = self._make_user("publisher", self._publisher(bucket))
        for action in (*NEEDED, ABORT):
            self._keys[action] = self._make_user(action.replace(":", "-"), self._without(action))
        self._ask("/moto-api/reset-auth", "0", "")  # from now on rights count

    def environment(self, user: str) -> dict[str, str]:
        """Return the variables of a user: of a file, or of policy.json without an action."""
        key, secret = self._keys[user]
        keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        return self.service.environment() | keys

    def _publisher(self, bucket: str) -> str:
        """Return a policy for who publishes one project, by the names of the page."""
        rows = re.findall(r"^\| (`.*?) \|", PAGE.partition("| name | what |")[2], re.MULTILINE)[:4]
        names = [name for row in rows for name in re.findall(r"`(\S+)`", row)]
        policy = json.loads(self._policies["reader"])
        for action, named in (("Put", names), ("Delete", names[-1:])):
            resources = [f"arn:aws:s3:::{bucket}/{PUBLISHED}/{name}" for name in named]
            statement = {"Effect": "Allow", "Action": f"s3:{action}Object", "Resource": resources}
            policy["Statement"].append(statement)
        return json.dumps(policy)

    def _without(self, action: str) -> str:
        policy = json.loads(self._policies["policy"])
        for statement in policy["Statement"]:
            given = statement["Action"]
            given = [given] if isinstance(given, str) else given
            left = [each for each in given if each != action]
            statement["Action"] = left or ["s3:GetBucketLocation"]
        return json.dumps(policy)

    def _make_user(self, name: str, policy: str) -> tuple[str, str]:
        """Make a user, and return their key and its secret."""
        self._iam("CreateUser", UserName=name)
        self._iam("PutUserPolicy", UserName=name, PolicyName="wheelyard", PolicyDocument=policy)
        made = self._iam("CreateAccessKey", UserName=name)
        key, secret = (
            re.findall(rf"<{part}>(.+?)</{part}>", made)[0]
            for part in ("AccessKeyId", "SecretAccessKey")
        )
        return key, secret

    def _iam(self, action: str, **parameters: str) -> str:
        return self._ask("/", urlencode({"Action": action, **parameters}), "iam")

    def _ask(self, target: str, body: str, service: str) -> str:
        credential = f"test/20260101/{REGION}/{service}/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, Signature=none",
            "Content-Type": "application/x-www-form-urlencoded" if service else "text/plain",
        }
        connection = HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            found = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, found
        return found


Open = Callable[[str], Store]


@pytest.fixture(scope="module")
def enforcing_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnforcingS3]:
    """The service."""
    log = tmp_path_factory.mktemp("moto") / "log"
    with ExitStack() as stack:
        # requests whose rights do not count, until there are users
        starting = running_moto(log, INITIAL_NO_AUTH_ACTION_COUNT="1000")
        address = stack.enter_context(starting)
        service = stack.enter_context(proxied(S3(), address, "wheels"))
        yield EnforcingS3(address, service)


@pytest.fixture
def open_as(enforcing_service: EnforcingS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open the store of this test as a user, in a process that has written nothing yet."""
    location = enforcing_service.service.location(f"wheels/{token_hex(4)}")

    def opened(user: str) -> Store:
        monkeypatch.setattr(connect, "_condition_checks", {})
        for name, value in enforcing_service.environment(user).items():
            monkeypatch.setenv(name, value)
        return open_single_store(location)

    yield opened
    enforcing_service.service.faults.clear()


class TestPolicy(ServiceConformance):
    """A server with the rights of policy.json does all that a store can do."""

    @pytest.fixture
    def store(self, open_as: Open) -> Store:
        """Return an empty store."""
        return open_as("policy")


@pytest.mark.parametrize("action", NEEDED)
def test_every_right_is_needed(open_as: Open, action: str) -> None:
    """Without one of the actions something fails, and the message names the action."""
    open_as("policy").put(A, b"one", ABSENT)

    with refused(Unavailable, "storage_denied", match=f"lack the right {action}"):
        NEEDED[action](open_as(action))


@pytest.mark.parametrize(("user", "status"), [("policy", 204), (ABORT, 403)])
def test_parts_of_a_failed_upload(
    open_as: Open, enforcing_service: EnforcingS3, tmp_path: Path, user: str, status: int
) -> None:
    """Parts of an upload that has failed are removed, which needs a right of its own."""
    store = open_as(user)
    store.put(A, b"one", ABSENT)
    large = tmp_path / "large"
    large.write_bytes(LARGE)
    enforcing_service.service.log.clear()
    enforcing_service.service.faults.add(StatusBefore(400), "resumable-chunk", count=FOR_EVER)

    with pytest.raises(Unavailable):
        store.put_file(FILE, large)

    assert {each.status for each in enforcing_service.service.log.records("unknown")} == {status}


def test_a_reader_reads_and_does_not_write(open_as: Open) -> None:
    """With the rights of reader.json one reads and lists, and does not write."""
    writer, reader = open_as("policy"), open_as("reader")
    version = writer.put(A, b"one", ABSENT)

    assert reader.get(Key("absent")) is None
    assert b"".join(reader.read(A)) == b"one"
    assert [entry.key for entry in reader.list("")] == [A]
    with refused(Unavailable, "storage_denied", match="lack the right s3:PutObject"):
        reader.put(A, b"two", version)


def test_a_publisher_of_one_project(enforcing_service: EnforcingS3, tmp_path: Path) -> None:
    """With the rights on the page one publishes a project without a server, and no other one."""

    def upload(user: str, name: str, version: str) -> tuple[int, str]:
        file = make_wheel(name, version).write(tmp_path)
        found = enforcing_service.environment(user) | {
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
        }
        location = enforcing_service.service.location(f"wheels/{PUBLISHED}")
        done = called(tmp_path, found, "upload", "--store", location, file)
        return done.returncode, done.stderr

    assert upload("policy", "other", "1.0")[0] == 0

    assert upload("publisher", "acme_core", "1.0") == (0, "")
    assert upload("publisher", "acme_core", "1.1") == (0, "")
    status, message = upload("publisher", "other", "1.1")
    assert (status, "lack the right s3:PutObject" in message) == (1, True)
