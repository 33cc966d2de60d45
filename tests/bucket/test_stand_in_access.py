"""Who may do what: permissions, tokens, signatures and signed URLs."""

import base64
import io
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from google.api_core import exceptions as gexc
from google.cloud import storage
from google.cloud.storage import Bucket as RemoteBucket
from google.oauth2.service_account import Credentials

from tests.bucket.bodies import SMALL
from tests.bucket.clients import Answer, ask
from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer, running_bucket_server

NAME = "files/f o+o~!@(1)/é-1.0+cpu.whl"

PROCESS = """
import sys, google.auth
from google.cloud import storage
credentials, project = google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])
options = {"api_endpoint": sys.argv[1]}
client = storage.Client(project=project, credentials=credentials, client_options=options)
client.bucket("wheels").blob("a").upload_from_string(b"1")
names = [each.name for each in client.list_blobs("wheels")]
print(credentials.service_account_email, project, *names)
"""
"""Uses whatever credentials it finds."""

VERBS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "create": ("storage.objects.create", lambda it: it.blob("b").upload_from_string(b"1")),
    "create in chunks": (
        "storage.objects.create",
        lambda it: it.blob("b").upload_from_file(io.BytesIO(bytes(SMALL + 1)), size=SMALL + 1),
    ),
    "replace": ("storage.objects.delete", lambda it: it.blob("a").upload_from_string(b"1")),
    "replace in chunks": (
        "storage.objects.delete",
        lambda it: it.blob("a").upload_from_file(io.BytesIO(bytes(SMALL + 1)), size=SMALL + 1),
    ),
    "delete": ("storage.objects.delete", lambda it: it.blob("a").delete()),
    "read": ("storage.objects.get", lambda it: it.blob("a").download_as_bytes()),
    "look": ("storage.objects.get", lambda it: it.get_blob("a")),
    "list": ("storage.objects.list", lambda it: list(it.list_blobs())),
    "look for what is gone": ("storage.objects.list", lambda it: it.get_blob("gone")),
    "change": ("storage.objects.update", lambda it: it.blob("a").patch()),
    "copy": ("storage.objects.create", lambda it: it.copy_blob(it.blob("a"), it, "b")),
    "look at the bucket": ("storage.buckets.get", lambda it: it.reload()),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_permission_is_missing(
    server: BucketServer, remote: RemoteBucket, bucket: Bucket, verb: str
) -> None:
    """Each verb needs its permission, and is refused in the service's words without it."""
    permission, act = VERBS[verb]
    before = bucket.put("a", b"1")
    server.permissions.deny(permission)

    with pytest.raises(gexc.Forbidden, match=f"Permission '{permission}' denied on resource"):
        act(remote)

    assert remote.test_iam_permissions([permission, "storage.x"]) == ["storage.x"]
    assert (bucket.get("a"), bucket.names()) == (before, ["a"])
    server.permissions.allow()
    act(remote)


def test_create_only_needs_no_right_to_delete(
    server: BucketServer, remote: RemoteBucket, bucket: Bucket
) -> None:
    """Who may only create can create, and learns that they were late as a failed precondition."""
    server.permissions.deny("storage.objects.delete")

    remote.blob("a").upload_from_string(b"1", if_generation_match=0)
    with pytest.raises(gexc.PreconditionFailed):
        remote.blob("a").upload_from_string(b"2", if_generation_match=0)

    assert bucket.names() == ["a"]


def test_credentials_have_expired(server: BucketServer) -> None:
    """With expired credentials everything is 401; so it is without a token where one is needed."""
    target = "/storage/v1/b/wheels/o"
    assert ask(server.address, "GET", target).status == 200
    server.permissions.token_required = True
    assert ask(server.address, "GET", target).status == 401
    token = server.identity.issue_token()
    assert ask(server.address, "GET", target, Authorization=f"Bearer {token}").status == 200
    server.permissions.expired = True

    answer = ask(server.address, "GET", target, Authorization=f"Bearer {token}")

    assert (answer.status, answer.json["error"]["errors"][0]["reason"]) == (401, "authError")


def test_a_key_file(server: BucketServer, bucket: Bucket, tmp_path: Path) -> None:
    """A client with the account's key file gets a token by itself, and may work with it."""
    server.permissions.token_required = True
    path = server.write_key_file(tmp_path)
    options = {"api_endpoint": server.url}
    client = storage.Client.from_service_account_json(str(path), client_options=options)
    client._bucket_metadata_cache = None  # noqa: SLF001 - else it looks at the bucket by itself

    client.bucket("wheels").blob("a").upload_from_string(b"1")

    client.close()
    assert bucket.names() == ["a"]
    assert all(each.authorization for each in server.log.records("insert"))
    forged = ask(server.address, "POST", "/token", b"assertion=a.b.c")
    assert (forged.status, forged.json["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("email", b"index@stand-in.iam.gserviceaccount.com"),
        ("scopes", b"https://www.googleapis.com/auth/cloud-platform"),
        ("nothing", None),
    ],
)
def test_the_metadata_server(server: BucketServer, path: str, expected: bytes | None) -> None:
    """The metadata server tells about the account, to who knows its header."""
    target = f"/computeMetadata/v1/instance/service-accounts/default/{path}"

    answer = ask(server.address, "GET", target, Metadata_Flavor="Google")

    assert answer.headers["metadata-flavor"] == "Google"
    assert answer.body == expected if expected else answer.status == 404
    assert ask(server.address, "GET", target).status == 403


def test_a_token_of_the_metadata_server(server: BucketServer) -> None:
    """A token of the metadata server is good until it is revoked."""
    server.permissions.token_required = True
    account = "/computeMetadata/v1/instance/service-accounts/default"
    info = ask(server.address, "GET", f"{account}/?recursive=true", Metadata_Flavor="Google")
    assert info.json["email"] == server.identity.email
    token = ask(server.address, "GET", f"{account}/token", Metadata_Flavor="Google").json
    bearer = f"Bearer {token['access_token']}"

    assert ask(server.address, "GET", "/storage/v1/b/wheels/o", Authorization=bearer).status == 200
    server.identity.revoke_tokens()
    assert ask(server.address, "GET", "/storage/v1/b/wheels/o", Authorization=bearer).status == 401


def test_a_process_on_a_machine_in_the_cloud(server: BucketServer) -> None:
    """Another process that is led to the metadata server works as the account, with its tokens."""
    server.permissions.token_required = True
    command = [sys.executable, "-c", PROCESS, server.url]

    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env={**server.environment(metadata=True), "HOME": "/nonexistent"},
    )

    assert done.stdout.split() == [server.identity.email, "stand-in", "a"]
    assert server.bucket("wheels").names() == ["a"]


def test_sign_blob(server: BucketServer) -> None:
    """Who has a token and the permission gets the account's signature, and each is counted."""
    target = f"/v1/projects/-/serviceAccounts/{quote(server.identity.email)}:signBlob"
    body = b'{"payload": "%s"}' % base64.b64encode(b"message")
    bearer = f"Bearer {server.identity.issue_token()}"

    answer = ask(server.address, "POST", target, body, Authorization=bearer)
    anonymous = ask(server.address, "POST", target, body)
    broken = ask(server.address, "POST", target, b'{"payload": "%"}', Authorization=bearer)
    server.permissions.deny("iam.serviceAccounts.signBlob")
    denied = ask(server.address, "POST", target, body, Authorization=bearer)

    assert server.identity.verifies(base64.b64decode(answer.json["signedBlob"]), b"message")
    assert not server.identity.verifies(base64.b64decode(answer.json["signedBlob"]), b"other")
    statuses = [each.status for each in (answer, anonymous, broken, denied)]
    assert statuses == [200, 401, 400, 403]
    assert [each.status for each in server.log.records("sign")] == statuses


class Signer:
    """Google's own signing, of downloads of one object."""

    def __init__(self, server: BucketServer, tmp_path: Path) -> None:
        self.server = server
        make = Credentials.from_service_account_file
        credentials = make(str(server.write_key_file(tmp_path)))  # type: ignore[no-untyped-call] # half typed
        client = storage.Client(
            project="p", credentials=credentials, client_options={"api_endpoint": server.url}
        )
        self._blob = client.bucket("wheels").blob(NAME)

    def url(self, method: str = "GET", life: int = 600, **options: object) -> str:
        """Return path and query of a signed URL."""
        url = self._blob.generate_signed_url(
            version="v4",
            method=method,
            expiration=timedelta(seconds=life),
            api_access_endpoint=self.server.url,
            **options,
        )
        return str(url).removeprefix(self.server.url)

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Use a URL."""
        return ask(self.server.address, method, target, None, **headers)


@pytest.fixture
def signer(server: BucketServer, bucket: Bucket, tmp_path: Path) -> Signer:
    """Return a signer for an object that is there."""
    bucket.put(NAME, b"0123456789", contentType="application/zip", cacheControl="private")
    return Signer(server, tmp_path)


def test_a_signed_download(signer: Signer, server: BucketServer) -> None:
    """A signed URL gives the object, or a part of it, under the most difficult of names."""
    target = signer.url()

    whole = signer.ask(target)
    part = signer.ask(target, Range="bytes=2-3")

    assert (whole.status, whole.body, part.status, part.body) == (200, b"0123456789", 206, b"23")
    assert whole.headers["content-type"] == "application/zip"
    assert whole.headers["cache-control"] == "private"
    assert signer.ask(target, If_None_Match=whole.headers["etag"]).status == 304
    assert server.log.records("signed")[0].name == NAME
    path, _, query = target.partition("?")
    assert signer.ask(f"{path}?{'&'.join(reversed(query.split('&')))}").status == 200
    named = signer.url(response_disposition='attachment; filename="a b+c.whl"')
    assert signer.ask(named).headers["content-disposition"] == 'attachment; filename="a b+c.whl"'


def test_a_host_without_its_port(signer: Signer, server: BucketServer) -> None:
    """A URL whose host was signed without the port, as Google's test vectors have it, is good."""
    path = f"/wheels/{quote(NAME, safe='/~')}"
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")  # noqa: TID251 - as another process would
    scope = f"{date[:8]}/auto/storage/goog4_request"
    query = (
        "X-Goog-Algorithm=GOOG4-RSA-SHA256"
        f"&X-Goog-Credential={quote(f'{server.identity.email}/{scope}', safe='')}"
        f"&X-Goog-Date={date}&X-Goog-Expires=60&X-Goog-SignedHeaders=host"
    )
    canonical = f"GET\n{path}\n{query}\nhost:127.0.0.1\n\nhost\nUNSIGNED-PAYLOAD"
    digest = sha256(canonical.encode()).hexdigest()
    signature = server.identity.sign(f"GOOG4-RSA-SHA256\n{date}\n{scope}\n{digest}".encode())

    answer = signer.ask(f"{path}?{query}&X-Goog-Signature={signature.hex()}")

    assert (answer.status, answer.body) == (200, b"0123456789")


def test_the_verb_is_signed(signer: Signer) -> None:
    """A URL for GET is for GET alone, one for HEAD answers without a body, none writes."""
    assert refused(signer.ask(signer.url(), "HEAD")) == (403, "")
    assert refused(signer.ask(signer.url("HEAD"))) == (403, "SignatureDoesNotMatch")
    head = signer.ask(signer.url("HEAD"), "HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
    assert refused(signer.ask(signer.url("PUT"), "PUT")) == (405, "MethodNotAllowed")


def test_a_signature_has_its_time(signer: Signer, server: BucketServer) -> None:
    """A signature ends when it says, and begins when it says."""
    target = signer.url(life=600)
    server.clock.advance(300)
    assert signer.ask(target).status == 200
    server.clock.advance(600)
    assert refused(signer.ask(target)) == (400, "ExpiredToken")
    server.clock.advance(-1800)
    assert refused(signer.ask(target)) == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.0%2Bcpu", "1.0+cpu"),
        ("1.0%2Bcpu", "1.1%2Bcpu"),
        ("f%20o", "f+o"),
        ("~", "%7E"),
        ("X-Goog-Expires=600", "X-Goog-Expires=700"),
        ("&X-Goog-Signature", "&extra=1&X-Goog-Signature"),
        ("X-Goog-Signature=", "X-Goog-Signature=00"),
        ("X-Goog-SignedHeaders=host", "X-Goog-SignedHeaders=host%3Bx-a"),
        ("%2Fauto%2F", "/auto/"),
        ("index%40", "other%40"),
    ],
)
def test_a_url_that_was_changed(signer: Signer, before: str, after: str) -> None:
    """A URL that arrives otherwise than it was signed, if only in its encoding, is refused."""
    target = signer.url()
    assert before in target

    assert refused(signer.ask(target.replace(before, after, 1))) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("X-Goog-Expires=600", "X-Goog-Expires=604801"),
        ("X-Goog-Expires=600", "X-Goog-Expires="),
        ("GOOG4-RSA", "GOOG4-HMAC"),
        ("X-Goog-Date=2", "X-Goog-Date=x"),
        ("%2Fstorage%2F", "%2Fs3%2F"),
    ],
)
def test_a_url_that_makes_no_sense(signer: Signer, before: str, after: str) -> None:
    """A URL whose parameters cannot be is refused as such."""
    target = signer.url()
    assert before in target

    answer = signer.ask(target.replace(before, after, 1))

    assert refused(answer) == (400, "AuthorizationQueryParametersError")


def test_two_kinds_of_credentials(signer: Signer, server: BucketServer, bucket: Bucket) -> None:
    """A client that sends its credentials on to the storage host is refused, and found out."""
    bucket.public = True
    public = f"/wheels/{quote(NAME)}"

    for target in (signer.url(), public):
        answer = signer.ask(target, Authorization="Basic eDp5")
        assert refused(answer) == (400, "InvalidArgument")

    assert [each.authorization for each in server.log.records()] == [True, True]
    assert signer.ask(public).status == 200
    assert not server.log.records()[-1].authorization


def test_what_a_signature_does_not_help(
    signer: Signer, server: BucketServer, bucket: Bucket
) -> None:
    """A signature helps neither for what is gone nor when its account has lost the right."""
    target = signer.url()
    server.permissions.deny("storage.objects.get")
    assert refused(signer.ask(target)) == (403, "AccessDenied")
    server.permissions.allow()
    bucket.remove(NAME)
    assert refused(signer.ask(target)) == (404, "NoSuchKey")
    server.remove_bucket("wheels")
    assert refused(signer.ask(target)) == (404, "NoSuchBucket")


def test_another_key(signer: Signer, bucket: Bucket) -> None:
    """A signature by another key is none."""
    with running_bucket_server("wheels") as other:
        other.bucket("wheels").put(NAME, bucket.names()[0].encode())

        assert refused(ask(other.address, "GET", signer.url())) == (403, "SignatureDoesNotMatch")


def test_a_public_bucket(server: BucketServer, bucket: Bucket) -> None:
    """Anybody reads from a public bucket, and nobody from another."""
    bucket.put("a/b", b"0123")

    assert refused(ask(server.address, "GET", "/wheels/a/b")) == (403, "AccessDenied")
    bucket.public = True

    part = ask(server.address, "GET", "/wheels/a/b", Range="bytes=1-")
    head = ask(server.address, "HEAD", "/wheels/a/b")
    assert (part.status, part.body) == (206, b"123")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "4")
    assert refused(ask(server.address, "GET", "/wheels/a/c")) == (404, "NoSuchKey")
    assert refused(ask(server.address, "GET", "/nowhere/a")) == (404, "NoSuchBucket")


def refused(answer: Answer) -> tuple[int, str]:
    """Return the status of a refusal in XML, and its code."""
    _, _, rest = answer.body.decode().partition("<Code>")
    return answer.status, rest.partition("</Code>")[0]
