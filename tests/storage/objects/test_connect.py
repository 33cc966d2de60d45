"""Where a store finds its service and its credentials."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import obstore
import pytest
from obstore.exceptions import GenericError, InvalidPathError, PermissionDeniedError

from tests.fake_time import START, Clock
from tests.http_server import serving
from tests.metrics import samples
from tests.refused import refused
from wheelyard.catalog.format import ensure_format
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid, NotFound, Unavailable, WheelyardError
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage import objects
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stores, WebType
from wheelyard.storage.bucket_store import Downloads
from wheelyard.storage.buckets import ConnectedBucket, open_bucket, open_bucket_reader
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.forwarding import OperationCounter
from wheelyard.storage.location import BucketLocation, parse_location
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.objects import store as object_store
from wheelyard.storage.objects.conditions import ConditionCheck
from wheelyard.storage.objects.connect import PROFILE_FILES, TEMPORARY_SECONDS
from wheelyard.storage.objects.store import PART_BYTES, ObjectStore
from wheelyard.wiring.stores import (
    _files_location,
    _open_bucket,
    open_single_store,
    system_runtime,
    upstream_store,
)

KEY = "a2V5"
NAME = Key("files/demo/1/demo-1.0+local.tar.gz")
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of this machine, and no instance that would give any."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


def opened(
    location: str, downloads: Downloads = "auto", runtime: Runtime | None = None
) -> ConnectedBucket:
    """Open a bucket, without a request."""
    place = parse_location(location)
    return open_bucket(place, runtime or system_runtime(), OperationCounter(), downloads=downloads)


def with_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a key of S3."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def with_boto3(monkeypatch: pytest.MonkeyPatch, provider: Callable[..., object]) -> None:
    """Let boto3 be installed, with this provider of credentials for obstore."""
    fakes: dict[str, dict[str, object]] = {
        "boto3": {"Session": lambda: None},
        "botocore.exceptions": {"BotoCoreError": ValueError},
        "obstore.auth.boto3": {"Boto3CredentialProvider": provider},
    }
    for name, content in fakes.items():
        monkeypatch.setitem(sys.modules, name, cast(ModuleType, SimpleNamespace(**content)))


@pytest.mark.parametrize(
    ("bucket", "variables", "begin"),
    [
        ("wheels", {}, "https://wheels.s3.us-east-1.amazonaws.com/team/files/"),
        (
            "wheels",
            {"AWS_REGION": "eu-west-1"},
            "https://wheels.s3.eu-west-1.amazonaws.com/team/files/",
        ),
        ("acme.wheels", {}, "https://s3.us-east-1.amazonaws.com/acme.wheels/team/files/"),
        (
            "wheels",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000/"},
            "http://127.0.0.1:9000/wheels/team/files/",
        ),
    ],
)
def test_the_place_of_a_bucket(
    monkeypatch: pytest.MonkeyPatch, bucket: str, variables: dict[str, str], begin: str
) -> None:
    """A bucket is at Amazon's, in its region, or at the endpoint of another service."""
    with_keys(monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    for downloads in ("redirect", "public"):
        url = opened(f"s3://{bucket}/team", downloads).files.sign(NAME, HOUR)
        assert url is not None
        assert url.startswith(begin)
        assert ("X-Amz-Signature=" in url) == (downloads == "redirect")


def test_a_bucket_is_not_opened_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials, a profile and an instance that gives some, a bucket is not opened."""
    # without a file with profiles, boto3 is not asked, though it is installed
    with_boto3(monkeypatch, lambda _, **__: pytest.fail("boto3 is asked"))

    with pytest.raises(Unavailable, match="There are no credentials for s3://wheels") as caught:
        opened("s3://wheels")

    assert caught.value.code == "storage_credentials"


def test_a_file_with_profiles_without_boto3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file with profiles that nobody has named is passed by where boto3 is not installed."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").touch()
    monkeypatch.setitem(sys.modules, "boto3", None)

    with refused(Unavailable, "storage_credentials", match="There are no credentials"):
        opened("s3://wheels")


def test_a_profile_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that was asked for, and that nothing here can read, is an error."""
    monkeypatch.setenv("AWS_PROFILE", "acme")
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(Invalid, match="Install boto3"):
        opened("s3://wheels")


@pytest.mark.parametrize("variable", ["", *PROFILE_FILES])
def test_a_profile_in_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    """A file with profiles, at its usual path or where a variable says, is read by boto3."""
    path = tmp_path / ".aws" / "credentials"
    if variable:
        path = tmp_path / "profiles"
        monkeypatch.setenv(variable, str(path))
    path.parent.mkdir(exist_ok=True)
    path.touch()
    keys = {"access_key_id": "AKIA", "secret_access_key": "secret", "expires_at": None}
    with_boto3(monkeypatch, lambda _, **__: lambda: keys)

    url = opened("s3://wheels", "redirect").files.sign(NAME, HOUR)

    assert url is not None
    assert "X-Amz-Credential=AKIA%2F" in url


def test_a_url_is_not_used_for_longer_than_keys_of_a_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A URL that keys of a profile have signed is signed anew soon, as these keys may end."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").touch()
    ended = datetime(2000, 1, 1, tzinfo=UTC)
    numbers = count(1)
    with_boto3(
        monkeypatch,
        lambda _, **__: (
            lambda: {
                "access_key_id": f"AKIA{next(numbers)}",
                "secret_access_key": "secret",
                "expires_at": ended,
            }
        ),
    )
    clock = Clock()
    files = opened("s3://wheels", "redirect", clock.runtime()).files

    urls = [files.sign(NAME, HOUR) for _ in range(2)]
    clock.advance(seconds=TEMPORARY_SECONDS)
    urls.append(files.sign(NAME, HOUR))

    assert urls[0] == urls[1] != urls[2]


@pytest.fixture
def unreadable_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of profiles that boto3 refuses."""

    def refuse(*_: object, **__: object) -> None:
        raise ValueError

    (tmp_path / "profiles").touch()
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "profiles"))
    monkeypatch.setenv("AWS_PROFILE", "")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with_boto3(monkeypatch, refuse)


@pytest.mark.usefixtures("unreadable_profiles")
def test_a_profile_that_boto3_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A named profile that cannot be read is an error."""
    monkeypatch.setenv("AWS_PROFILE", "acme")

    with refused(Unavailable, "storage_credentials"):
        opened("s3://wheels")


@pytest.mark.usefixtures("unreadable_profiles")
def test_profiles_that_nobody_names_are_passed_by() -> None:
    """A file without a usable profile is passed by where no profile is named."""
    opened("s3://wheels")


def test_keys_come_before_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment are used, whatever profiles there are."""
    with_keys(monkeypatch)
    monkeypatch.setenv("AWS_PROFILE", "acme")
    monkeypatch.setitem(sys.modules, "boto3", None)

    url = opened("s3://wheels", "redirect").files.sign(NAME, HOUR)

    assert url is not None
    assert "X-Amz-Credential=AKIA%2F" in url


def test_keys_are_those_that_python_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that only Python's view of the environment has sign the URL."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    # not what a library sees that asks the system
    monkeypatch.setattr(os, "environ", keys)

    url = opened("s3://wheels", "redirect").files.sign(NAME, HOUR)

    assert url is not None
    assert "X-Amz-Credential=AKIA%2F" in url
    assert "X-Amz-Security-Token=t" in url


def test_azure_needs_an_account() -> None:
    """A container is of an account that the environment names."""
    with pytest.raises(Invalid, match="AZURE_STORAGE_ACCOUNT_NAME"):
        opened("az://wheels")


@pytest.mark.parametrize(
    ("variables", "begin"),
    [
        (
            {"AZURE_STORAGE_ACCOUNT_NAME": "acme", "AZURE_STORAGE_ACCOUNT_KEY": KEY},
            "https://acme.blob.core.windows.net/wheels/team/files/",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName=acme;AccountKey={KEY};"},
            "https://acme.blob.core.windows.net/wheels/team/files/",
        ),
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;"
                f"AccountName=acme;AccountKey={KEY};EndpointSuffix=core.example.com"
            },
            "https://acme.blob.core.example.com/wheels/team/files/",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"},
            "http://127.0.0.1:10000/devstoreaccount1/wheels/team/files/",
        ),
    ],
)
def test_the_account_of_a_container(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], begin: str
) -> None:
    """An account is named alone or by a connection string, which has its key and its host."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    for downloads in ("redirect", "public"):
        url = opened("az://wheels/team", downloads).files.sign(NAME, HOUR)
        assert url is not None
        assert url.startswith(begin)
        assert ("sig=" in url) == (downloads == "redirect")


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, None),
        (
            {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://169.254.0.9:80/"},
            "http://169.254.0.9:80/metadata/identity/oauth2/token",
        ),
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1:41/token"}, "http://127.0.0.1:41/token"),
    ],
    ids=["machine", "pod", "app"],
)
def test_the_identity_of_a_machine(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], endpoint: str | None
) -> None:
    """Without a key, tokens are those of the identity of the machine, the pod or the app."""
    asked = set[str | None]()
    make_clients = object_store.make_clients

    def make(location: BucketLocation, config: Mapping[str, Any]) -> object_store.Clients:
        asked.add(config.get("msi_endpoint"))
        return make_clients(location, config)

    monkeypatch.setattr(object_store, "make_clients", make)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    opened("az://wheels")

    assert asked == {endpoint}


def test_a_malformed_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is none is refused at once, and is not shown."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "s3cr3t=key")

    with pytest.raises(Invalid, match="malformed") as caught:
        opened("az://wheels")

    assert caught.value.__context__ is None
    assert "s3cr3t" not in caught.value.message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ENDPOINT_URL", "minio.acme.dev:9000"),
        ("AWS_ENDPOINT_URL", "http://"),
        ("AWS_ENDPOINT_URL", "http://a host"),
        ("AWS_SESSION_TOKEN", "s3cr3t\n"),
    ],
)
def test_what_the_library_would_panic_about(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """A URL that is none, or a line break behind a token, is refused before the first request."""
    with_keys(monkeypatch)
    monkeypatch.setenv(variable, value)

    for opens in (opened, lambda text: open_bucket_reader(parse_location(text), system_runtime())):
        with pytest.raises(Invalid, match=r"malformed|line break") as caught:
            opens("s3://wheels")
        assert caught.value.code == "bad_setting"
        assert "s3cr3t" not in caught.value.message


def test_a_shared_access_signature_signs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a signature alone the index sends files itself, or says that it cannot redirect."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?sv=2023-11-03&sig=abc")

    assert opened("az://wheels").files.sign(NAME, HOUR) is None
    with pytest.raises(Invalid, match="cannot sign a URL"):
        opened("az://wheels", "redirect")


@pytest.mark.parametrize("name", ["a b.whl", "a%b.whl", "ä.whl", "a?b.whl"])
def test_names_that_azure_cannot_sign(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What the library would sign wrongly has no URL: the index sends it itself."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)

    assert opened("az://wheels", "redirect").files.sign(Key(f"files/{name}"), HOUR) is None


def answering(monkeypatch: pytest.MonkeyPatch, *names: str, fault: Exception | None = None) -> None:
    """Let every listing have objects of these names, and then fail, if it is to."""

    def answer(*_: object, **__: object) -> Iterator[list[dict[str, object]]]:
        shared = {"size": 1, "e_tag": '"1"', "last_modified": START}
        if names:
            yield [{"path": name, **shared} for name in names]
        if fault is not None:
            raise fault

    monkeypatch.setattr(obstore, "list", answer)


@pytest.mark.parametrize("after", ["", "files/a", "files/aa/1"])
def test_a_listing_has_no_other_keys(monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """A listing has the keys with its prefix alone, though obstore lists their whole folder."""
    with_keys(monkeypatch)
    names = ["files/a/1", "files/aa/1", "files/ab/1", "files/b/1"]
    answering(monkeypatch, *(f"team/{name}" for name in names))

    listed = [entry.key for entry in opened("s3://wheels/team").files.list("files/a", after)]

    assert listed == [name for name in names[:3] if name > after]


def test_a_listing_ends_behind_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind all keys with the prefix is not asked for, however much it is."""
    with_keys(monkeypatch)
    names = [*(f"files/a/{number:03}" for number in range(999)), "files/b/1"]
    answering(monkeypatch, *names, fault=PermissionDeniedError("the next page"))

    listed = [entry.key for entry in opened("s3://wheels").files.list("files/a")]

    assert listed == names[:-1]


@pytest.mark.parametrize("location", ["s3://wheels", "az://wheels"])
def test_keys_that_no_object_may_have(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    """A key that the library would change or refuse is that of a damaged document, as elsewhere."""
    with_keys(monkeypatch)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    monkeypatch.setattr(ConditionCheck, "ensure", lambda *_: None)  # was made before
    store = opened(location).documents

    for key in ("", "/a", "a/", "a//b", "a/../b", ".", "a\n"):
        for call in (store.get, store.read, store.delete):
            with refused(Unavailable, "damaged_document", match="is no key of an object"):
                call(Key(key))


@pytest.mark.parametrize(("parts", "pieces"), [(1, 0), (2, 3)])
def test_each_part_of_a_file_is_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parts: int, pieces: int
) -> None:
    """The operations of a file of several parts are its parts, their begin and their end."""
    with_keys(monkeypatch)
    monkeypatch.setattr(obstore, "put", lambda *_, **__: None)
    counter = OperationCounter()
    place = parse_location("s3://wheels")
    store = open_bucket(place, system_runtime(), counter, downloads="auto").files
    assert isinstance(store, ObjectStore)

    store.send_once("files/a", tmp_path, parts * PART_BYTES, WebType("", ""))

    counted = samples(counter.metric, "wheelyard_storage_operations_total")
    expected = {("insert", "A"): 1, ("piece", "A"): pieces}
    assert counted == {labels: number for labels, number in expected.items() if number}


@pytest.mark.parametrize(
    ("expect", "mode"),
    [
        (None, "overwrite"),
        (ABSENT, "create"),
        (ObjectVersion("7"), {"e_tag": '"7"'}),
    ],
    ids=["any", "none", "a version"],
)
def test_what_a_write_replaces(
    monkeypatch: pytest.MonkeyPatch, expect: ObjectVersion | None, mode: object
) -> None:
    """A write replaces whatever is there, creates an object, or replaces the version expected."""
    modes = list[object]()

    def put(*_: object, mode: object, **__: object) -> dict[str, str]:
        modes.append(mode)
        return {"e_tag": '"8"'}

    with_keys(monkeypatch)
    monkeypatch.setattr(obstore, "put", put)
    store = opened("s3://wheels").documents
    assert isinstance(store, ObjectStore)

    assert store.put_once("a", b"", expect, WebType("", "")) == "8"
    assert modes == [mode]


@pytest.mark.parametrize(
    ("exists", "kind"), [(True, FailureKind.CONFLICT), (False, FailureKind.BUSY)]
)
def test_a_creation_that_is_answered_by_409(
    monkeypatch: pytest.MonkeyPatch, kind: FailureKind, *, exists: bool
) -> None:
    """A 409 for a new object is a lost race only if the object exists, and else tried again."""

    def put(*_: object, **__: object) -> None:
        raise GenericError("Server returned non-2xx status code: 409 Conflict: ")

    def head(*_: object) -> None:
        if not exists:
            raise FileNotFoundError

    with_keys(monkeypatch)
    monkeypatch.setattr(obstore, "put", put)
    monkeypatch.setattr(obstore, "head", head)
    store = opened("s3://wheels").documents
    assert isinstance(store, ObjectStore)

    with pytest.raises(Failure) as caught:
        store.put_once("a", b"", ABSENT, WebType("", ""))

    assert caught.value.kind is kind


@pytest.mark.parametrize("names", [["b", "a"], ["a", "b", "b"]], ids=["unsorted", "twice"])
def test_a_listing_that_is_not_sorted(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    """A listing that goes back, or has a name twice, is an error, and has no object twice."""
    with_keys(monkeypatch)
    answering(monkeypatch, *names)

    with refused(Unavailable, "storage_refused", match="status 200 and a listing that"):
        list(opened("s3://wheels").files.list(""))


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (InvalidPathError('Path "a//b" contained empty path'), Invalid, "bad_source"),
        (
            GenericError("Server returned non-2xx status code: 404: <Code>NoSuchBucket</Code>"),
            Unavailable,
            "bucket_missing",
        ),
        (PermissionDeniedError("no"), Unavailable, "storage_denied"),
    ],
    ids=["name", "missing", "denied"],
)
def test_a_bucket_that_cannot_be_listed(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, error: type[WheelyardError], code: str
) -> None:
    """A bucket that cannot be read is an error that says why, and no empty one."""
    with_keys(monkeypatch)
    answering(monkeypatch, fault=fault)
    reader = open_bucket_reader(parse_location("s3://wheels"), system_runtime())

    with refused(error, code):
        list(reader.objects())


class NoDelegator(BaseHTTPRequestHandler):
    """A managed identity's tokens, and an account that gives it no key to sign with."""

    def do_GET(self) -> None:
        """Give a token."""
        self._answer(200, b'{"access_token": "t", "expires_in": "9", "expires_on": "4000000000"}')

    def do_POST(self) -> None:
        """Refuse the key."""
        self._answer(403, b"<Error><Code>AuthorizationPermissionMismatch</Code></Error>")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.integration
def test_an_identity_that_may_not_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the role for signatures is missing, the message names it, and what to grant it on."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("IDENTITY_HEADER", "secret")
    with serving(NoDelegator) as url:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{url}/acme")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/identity")
        with refused(Unavailable, "signing_denied", match="Delegator on its storage account"):
            opened("az://wheels", "redirect").files.sign(NAME, HOUR)


def test_a_url_that_nobody_may_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose URL may not be signed is an error, and not one that the index sends itself."""
    with_keys(monkeypatch)
    monkeypatch.setattr(obstore, "sign", failing)

    with refused(Unavailable, "signing_denied", match="Download URLs cannot be signed"):
        opened("s3://wheels", "redirect").files.sign(NAME, HOUR)


@pytest.mark.parametrize(
    "call",
    [
        lambda store, path: store.put_file(NAME, path),
        lambda store, _: store.put(NAME, b"", None),
        lambda store, _: store.delete(NAME),
    ],
    ids=["file", "document", "deletion"],
)
def test_nothing_changes_before_conditions_are_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Callable[[Store, Path], object]
) -> None:
    """Where the check of conditions may not write, nothing is written or deleted either."""
    with_keys(monkeypatch)
    monkeypatch.setattr(ConditionCheck, "ensure", failing_check)
    requests = list[object]()
    for verb in ("put", "delete"):
        monkeypatch.setattr(obstore, verb, lambda *names, **_: requests.append(names))
    (tmp_path / "a").write_bytes(b"whole")

    with refused(Unavailable, "storage_denied"):
        call(opened("s3://wheels").files, tmp_path / "a")
    assert requests == []


def test_a_file_that_may_not_be_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that a bucket does not take is an error, and is not said to be stored."""
    with_keys(monkeypatch)
    monkeypatch.setattr(ConditionCheck, "ensure", lambda *_: None)
    monkeypatch.setattr(obstore, "put", failing)
    (tmp_path / "a").write_bytes(b"whole")

    with refused(Unavailable, "storage_denied", match="s3:PutObject"):
        opened("s3://wheels").files.put_file(NAME, tmp_path / "a")


def test_a_document_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document whose bytes stop is asked for again, as a proxy's answer without a status is."""
    with_keys(monkeypatch)
    monkeypatch.setattr(obstore, "get", lambda *_, **__: SimpleNamespace(bytes=failing))
    store = opened("s3://wheels").documents
    assert isinstance(store, ObjectStore)

    with pytest.raises(Failure) as caught:
        store.get_once("a", None)

    assert caught.value.kind is FailureKind.UNCLEAR


def test_an_object_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object of a source that may not be read is an error, and not absent."""
    with_keys(monkeypatch)
    monkeypatch.setattr(obstore, "get", failing)
    reader = open_bucket_reader(parse_location("s3://wheels"), system_runtime())

    with refused(Unavailable, "storage_denied", match="s3:GetObject"):
        reader.find("a")


def test_an_object_that_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an object of a source that was replaced meanwhile no bytes of another version come."""
    with_keys(monkeypatch)
    answer = SimpleNamespace(meta={"e_tag": '"newer"'}, stream=lambda *_, **__: iter([b"newer"]))
    monkeypatch.setattr(obstore, "get", lambda *_, **__: answer)
    reader = open_bucket_reader(parse_location("s3://wheels"), system_runtime())

    with pytest.raises(NotFound):
        list(reader.read("a", "older"))


def test_a_folder_of_azure_is_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure has no object of a folder, so a source there is not asked for one."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    monkeypatch.setattr(obstore, "get", failing)
    reader = open_bucket_reader(parse_location("az://wheels"), system_runtime())

    assert reader.find("demo/") is None


def failing(*_: object, **__: object) -> None:
    """Raise what obstore raises where a right is missing."""
    raise PermissionDeniedError("no")


def failing_check(*_: object) -> None:
    """Raise what the check of conditions raises where a right is missing."""
    raise Failure(FailureKind.DENIED, 403)


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("az", "azure")])
def test_a_library_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, scheme: str, extra: str
) -> None:
    """Where the library of a service is not installed, the message names the extra that has it."""
    monkeypatch.delattr(objects, "connect")
    monkeypatch.setitem(sys.modules, "wheelyard.storage.objects.connect", None)

    with pytest.raises(Invalid, match=rf"obstore.*uvx --from 'wheelyard\[{extra}\]'"):
        open_single_store(f"{scheme}://wheels")


def test_files_of_another_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket of the files is in the service of the store."""
    with_keys(monkeypatch)

    with pytest.raises(Invalid, match="gs://files is of another service than s3://wheels"):
        _open_bucket("s3://wheels", "auto", OperationCounter(), system_runtime(), "gs://files")


@pytest.mark.parametrize(
    ("of_store", "said"),
    [("", "s3://wheels"), ("s3://files", "s3://files")],
    ids=["one bucket", "another bucket"],
)
def test_files_stay_where_the_store_has_them(of_store: str, said: str) -> None:
    """A setting that names another place for files than the store is refused, or may be missing."""
    store = MemoryStore(Clock().seconds)
    ensure_format(store, of_store)
    settings = StoreSettings(location="s3://wheels", files="s3://other")

    message = f"store.files: the files of this store are in {said}. Leave it out"
    with refused(Invalid, "bad_setting", match=message):
        _files_location(store, settings, create=True)
    for files in ("", of_store):
        settings = StoreSettings(location="s3://wheels", files=files)
        assert _files_location(store, settings, create=True) == of_store


def test_nothing_is_signed_where_the_index_sends_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where downloads are to be sent by the index, nothing is signed."""
    with_keys(monkeypatch)

    assert opened("s3://wheels", "proxy").files.sign(NAME, HOUR) is None


@pytest.mark.parametrize(
    ("files", "is_signed"),
    [(None, False), (parse_location("s3://apart"), True)],
    ids=["one bucket", "another bucket"],
)
def test_what_is_beside_public_files(
    monkeypatch: pytest.MonkeyPatch, files: BucketLocation | None, *, is_signed: bool
) -> None:
    """Public files have plain URLs, what is beside them only if it is in their public bucket."""
    with_keys(monkeypatch)
    bucket = open_bucket(
        parse_location("s3://wheels"),
        system_runtime(),
        OperationCounter(),
        files_location=files,
        downloads="public",
    )

    urls = [str(store.sign(NAME, HOUR)) for store in (bucket.files, bucket.documents)]

    assert [url.startswith("https://") for url in urls] == [True, True]
    assert ["X-Amz-Signature=" in url for url in urls] == [False, is_signed]


@pytest.mark.parametrize(
    ("downloads", "is_signed"), [("auto", True), ("redirect", True), ("proxy", False)]
)
def test_public_files_in_a_bucket_of_their_own_are_signed(
    monkeypatch: pytest.MonkeyPatch, downloads: Downloads, *, is_signed: bool
) -> None:
    """The URLs of files in the bucket of the upstream are signed, unless the index sends files."""
    with_keys(monkeypatch)
    settings = Settings(
        store=StoreSettings(location="s3://wheels", downloads=downloads),
        upstream=UpstreamSettings(bucket="s3://kept"),
    )

    stores = Stores.of(MemoryStore(Clock().seconds))
    url = upstream_store(settings, stores, OperationCounter()).sign(NAME, HOUR)

    assert (url is not None) == is_signed
