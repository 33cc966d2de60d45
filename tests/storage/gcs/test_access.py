"""Permissions of a bucket and accounts: each error names the bucket and the remedy."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fake_gcs.identity import EMAIL
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.refused import refused
from tests.storage.gcs.opened import EMULATOR, FILES, VERBS, A, Opened, Opener
from wheelyard.errors import Unavailable
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.base import ABSENT, Key, Store, Stored
from wheelyard.wiring.stores import open_stores, system_runtime

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
OPENING = """
from tests.storage.gcs.opened import A, Opener
from wheelyard.errors import Unavailable
try:
    bucket = Opener()()
    before = bucket.bucket.documents.account_email()
    found = bucket.store.get(A)
    print(before, found.body.decode(), bucket.bucket.documents.account_email(), sep="|")
except Unavailable as fault:
    print(fault.code, fault.message, sep="|")
"""
"""A process that opens the bucket and reads one object in it."""
PERMISSIONS = {
    "get": "storage.objects.get",
    "read": "storage.objects.get",
    "put": "storage.objects.delete",
    "create": "storage.objects.create",
    "delete": "storage.objects.delete",
    "list": "storage.objects.list",
}
NAMES = {
    "a+b": "a%2Bb",
    "a!b": "a%21b",
    "a~b": "a~b",
    "a b": "a%20b",
    "a%20b": "a%2520b",
    "a%2Fb": "a%252Fb",
    "é/ü.whl": "%C3%A9%2F%C3%BC.whl",
    "a?b#c": "a%3Fb%23c",
    "a&b=c": "a%26b%3Dc",
    "日本": "%E6%97%A5%E6%9C%AC",
}
"""Names, and what they look like in the path of a request."""
verbs = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@pytest.fixture
def account(
    server: FakeGcs, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> FakeGcs:
    """Return a fake server that requires tokens; the environment names a key file for it."""
    server.permissions.token_required = True
    bucket.put(A, b"one")
    monkeypatch.delenv(EMULATOR)
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", server.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(server.write_key_file(tmp_path)))
    return server


@pytest.mark.parametrize("verb", VERBS)
def test_a_permission_that_is_missing(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, verb: str
) -> None:
    """A verb that is not permitted names the bucket and the permission, and is not repeated."""
    bucket.put(A, b"old")
    server.permissions.deny(PERMISSIONS[verb])

    with refused(Unavailable, "storage_denied") as fault:
        VERBS[verb](opened_bucket.store)

    assert fault.value.message.startswith(
        f"These credentials lack the permission {PERMISSIONS[verb]} on gs://wheels. Grant"
    )
    assert (server.log.count(), opened_bucket.time.pauses) == (1, [])


def test_what_is_not_there_for_who_may_not_list(server: FakeGcs, opened_bucket: Opened) -> None:
    """Who may not list is not told that an object is missing, and learns which permission is."""
    server.permissions.deny("storage.objects.list")

    for verb in ("get", "read", "delete"):
        with pytest.raises(Unavailable, match=r"permission storage\.objects\.list on gs://wheels"):
            VERBS[verb](opened_bucket.store)


@verbs
def test_a_bucket_that_is_not_there(
    opener: Opener, server: FakeGcs, verb: Callable[[Store], object]
) -> None:
    """A bucket that does not exist is named, and is no missing object."""
    with refused(Unavailable, "bucket_missing", match="gs://elsewhere does not exist"):
        verb(opener("gs://elsewhere/some/where").store)

    assert server.log.count() == 1


@verbs
def test_credentials_that_have_expired(
    server: FakeGcs, opened_bucket: Opened, verb: Callable[[Store], object]
) -> None:
    """Credentials that are not accepted any more are said to be so, with what to do."""
    server.permissions.expired = True

    with refused(
        Unavailable, "storage_credentials", match=r"for gs://wheels are not accepted.*gcloud"
    ):
        verb(opened_bucket.store)

    assert opened_bucket.time.pauses == []


def test_a_service_account(opener: Opener, account: FakeGcs) -> None:
    """A key file is enough to read, write, and sign as its account."""
    bucket = opener()

    assert bucket.bucket.documents.account_email() == EMAIL
    for verb in VERBS.values():
        verb(bucket.store)
    assert account.log.count(kind="token") == 1
    assert all(each.authorization for each in account.log.records() if each.kind != "token")


def test_a_token_that_is_worthless_before_its_time(opener: Opener, account: FakeGcs) -> None:
    """A refused access token is replaced once, without an error for the caller."""
    bucket = opener()
    assert bucket.store.get(A)
    account.log.clear()
    account.identity.revoke_tokens()

    assert bucket.store.get(A)

    assert account.log.kinds() == ["media", "token", "media"]
    assert bucket.time.pauses == []


def test_tokens_are_not_to_be_had(opener: Opener, account: FakeGcs, tmp_path: Path) -> None:
    """If no access token can be obtained, the error does not blame the bucket."""
    file = tmp_path / "service-account.json"
    key = json.loads(file.read_text()) | {"token_uri": "http://127.0.0.1:9/token"}
    file.write_text(json.dumps(key))
    bucket = opener()

    with refused(Unavailable, "storage_unavailable", match="no token for gs://wheels"):
        bucket.store.get(A)

    assert account.log.count() == 0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"type": "service_account"}', '{"type": "unknown"}', None]
)
def test_a_key_file_that_is_none(
    opener: Opener, account: FakeGcs, tmp_path: Path, content: str | None
) -> None:
    """A key file that cannot be used is told at once, with the bucket and what to do."""
    file = tmp_path / "service-account.json"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)

    with refused(
        Unavailable,
        "storage_credentials",
        match=r"for gs://wheels are not accepted \(their file .*gcloud",
    ):
        opener()

    assert account.log.count() == 0


def test_no_credentials_at_all(tmp_path: Path) -> None:
    """A machine without a Google identity is told how to get one."""
    code, message = opened_elsewhere(tmp_path, NO_GCE_CHECK="true").split("|")

    assert code == "storage_credentials"
    assert message.startswith("There are no credentials for gs://wheels: ")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in message
    assert len(re.findall(r"\. [A-Z]", message)) <= 1


def test_a_machine_of_googles(server: FakeGcs, bucket: Bucket, tmp_path: Path) -> None:
    """A machine with an account of its own needs no key, and knows whose it is after first use."""
    server.permissions.token_required = True
    bucket.put(A, b"one")

    output = opened_elsewhere(
        tmp_path, API_ENDPOINT_OVERRIDE=server.url, **server.environment(metadata=True)
    )

    assert output == f"None|one|{EMAIL}"
    assert server.log.records("media")[0].authorization


@pytest.mark.parametrize(
    ("location", "files", "create"),
    [("gs://elsewhere/in", "", False), ("gs://wheels/in", "gs://elsewhere/out", True)],
    ids=["documents", "files"],
)
def test_a_missing_bucket_is_told_at_the_start(
    server: FakeGcs, location: str, files: str, *, create: bool
) -> None:
    """A start says which bucket of the store does not exist, and not the first upload."""
    settings = Settings(store=StoreSettings(location=location, files=files))

    with refused(Unavailable, "bucket_missing", match="gs://elsewhere does not exist"):
        open_stores(settings, system_runtime(), create=create)

    assert server.log.count()


def test_netrc_is_not_for_the_bucket(
    account: FakeGcs, opener: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A password for every host in `~/.netrc` does not replace Google's token."""
    passwords = tmp_path / "netrc"
    passwords.write_text("default login ana password secret\n")
    monkeypatch.setenv("NETRC", str(passwords))

    assert isinstance(opener().store.get(A), Stored)
    assert account.log.kinds() == ["token", "media"]


@pytest.mark.parametrize("variables", [{}, {"no_proxy": "storage.invalid"}])
def test_proxy_of_the_environment(
    server: FakeGcs,
    opener: Opener,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    """A bucket is reached by the proxy of the environment, unless that excepts the host."""
    here = {"http_proxy": server.url, EMULATOR: "http://storage.invalid", **variables}
    for name, value in here.items():
        monkeypatch.setenv(name, value)

    with suppress(Unavailable):  # it is no real proxy
        opener().store.get(A)

    assert server.log.kinds() == ([] if variables else ["unknown"])


@pytest.mark.parametrize(("name", "encoded"), list(NAMES.items()))
def test_a_name_is_encoded_once(
    server: FakeGcs, bucket: Bucket, opened_bucket: Opened, name: str, encoded: str
) -> None:
    """Whatever a name has in it is percent-encoded once, wherever it is named."""
    key, store = Key(f"{FILES}{name}"), opened_bucket.store
    store.put(key, b"one", ABSENT)
    assert bucket.names() == [key]

    assert store.get(key)
    assert b"".join(store.read(key)) == b"one"
    assert [entry.key for entry in store.list(key)] == [key]
    store.delete(key)

    paths = [each.target.partition("?")[0] for each in server.log.records("[md]*e*")]
    assert [path.rpartition("/")[2] for path in paths] == [f"files%2F{encoded}"] * 3
    assert bucket.names() == []


def opened_elsewhere(home: Path, **environment: str) -> str:
    """Open the bucket in a process with only this environment; return its output."""
    done = subprocess.run(
        [sys.executable, "-c", OPENING],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": "src"} | environment,
    )
    return done.stdout.strip()
