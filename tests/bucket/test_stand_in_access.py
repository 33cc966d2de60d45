"""Who may do what: permissions, tokens, signatures and signed URLs."""

import io
from collections.abc import Callable
from datetime import timedelta
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
from tests.bucket.server import BucketServer

NAME = "files/f o+o~!@(1)/é-1.0+cpu.whl"


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
    "copy": ("storage.objects.create", lambda it: it.blob("b").rewrite(it.blob("a"))),
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


def refused(answer: Answer) -> tuple[int, str]:
    """Return the status of a refusal in XML, and its code."""
    _, _, rest = answer.body.decode().partition("<Code>")
    return answer.status, rest.partition("</Code>")[0]
