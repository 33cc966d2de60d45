"""Signatures that IAM makes: one call for many, and what is said when it makes none."""

from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

import pytest

from tests.storage.cloud.iam import SIGN_BLOB, Iam, user_credentials
from tests.storage.cloud.signatures import EMAIL, HOUR, NOON, verify
from wheelyard.errors import Unavailable
from wheelyard.storage.cloud.signers import BlobSigner, Signer, UrlSigner, signer_of

pytestmark = pytest.mark.integration


@pytest.fixture
def signer(iam: Iam, pauses: list[float]) -> Iterator[Signer]:
    """IAM as a signer for somebody who has a token."""
    signer = signer_of(
        user_credentials("the-token"),
        pause=pauses.append,
        random=Random(7),
        email=EMAIL,
        iam_url=iam.url,
    )
    assert isinstance(signer, BlobSigner)
    yield signer
    signer.close()


def test_sign_blob(iam: Iam, signer: Signer) -> None:
    """Without a private key, IAM is asked for a signature, and the URL is as good as any."""
    url = UrlSigner(signer, lambda: NOON).url("wheels", "a+b", "GET", HOUR)

    verify(url, "GET")
    ((path, authorization, body),) = iam.calls
    assert path == SIGN_BLOB
    assert authorization == "Bearer the-token"
    assert b64decode(body["payload"]).startswith(b"GOOG4-RSA-SHA256\n20260504T120000Z\n")


def test_one_call_for_everybody_in_a_window(iam: Iam, signer: Signer) -> None:
    """Within a window IAM is asked once for an object; in the next one it is asked again."""
    clock = [NOON]
    urls = UrlSigner(signer, lambda: clock[0])

    first = urls.url("b", "o", "GET", 2 * HOUR)
    clock[0] += 3599
    assert urls.url("b", "o", "GET", 2 * HOUR) == first
    assert len(iam.calls) == 1
    clock[0] += 1
    assert urls.url("b", "o", "GET", 2 * HOUR) != first
    assert len(iam.calls) == 2


def test_many_at_once_share_a_call(iam: Iam, signer: Signer) -> None:
    """When many want one wheel in the same moment, IAM is asked once."""
    urls = UrlSigner(signer, lambda: NOON)
    iam.open.clear()
    with ThreadPoolExecutor(16) as pool:
        wanted = [pool.submit(urls.url, "b", "o", "GET", HOUR) for _ in range(16)]
        Event().wait(0.1)
        iam.open.set()
        found = {each.result(30) for each in wanted}

    assert len(found) == 1
    assert len(iam.calls) == 1


def test_many_at_once_share_a_failure(iam: Iam, signer: Signer) -> None:
    """When the one call for many is refused, all of them hear of it, and the next may try again."""
    looked = list[float]()

    def now() -> float:
        looked.append(NOON)
        return NOON

    urls = UrlSigner(signer, now)
    iam.failures.append((403, b"{}"))
    iam.open.clear()
    with ThreadPoolExecutor(4) as pool:
        wanted = [pool.submit(urls.url, "b", "o", "GET", HOUR) for _ in range(4)]
        # until one has asked, and the others have come so far that they next wait for it
        while not iam.calls or len(looked) < 4:
            Event().wait(0.01)
        Event().wait(0.1)
        iam.open.set()
        outcomes = [each.exception(30) for each in wanted]

    assert [type(each) for each in outcomes] == [Unavailable] * 4
    verify(urls.url("b", "o", "GET", HOUR), "GET")


def test_memory_is_bounded(iam: Iam, signer: Signer) -> None:
    """Of the URLs in memory the oldest go first."""
    urls = UrlSigner(signer, lambda: NOON, capacity=2)

    for name in ("a", "b", "c", "c", "b", "a"):
        urls.url("bucket", name, "GET", HOUR)

    assert len(iam.calls) == 4


def test_a_missing_permission(iam: Iam, signer: Signer, pauses: list[float]) -> None:
    """Who may not sign is told at once which permission on which account is missing."""
    iam.failures.append((403, b'{"error": {"code": 403, "message": "secret-hint"}}'))

    with pytest.raises(Unavailable) as caught:
        UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR)

    assert caught.value.code == "signing_denied"
    assert EMAIL in caught.value.message
    assert "iam.serviceAccounts.signBlob" in caught.value.message
    assert "secret-hint" not in caught.value.message
    assert "the-token" not in caught.value.message
    assert (len(iam.calls), pauses) == (1, [])


@pytest.mark.parametrize("failures", [[503], [429, 500], [0], [502, 0]])
def test_a_hiccup_of_iam(
    iam: Iam, signer: Signer, pauses: list[float], failures: list[int]
) -> None:
    """IAM may stumble twice; it is asked again after a short pause."""
    iam.failures.extend((status, b"") for status in failures)

    verify(UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR), "GET")

    assert len(iam.calls) == len(failures) + 1
    assert len(pauses) == len(failures)
    assert all(0 < pause < 1 for pause in pauses)


@pytest.mark.parametrize(
    ("status", "body", "calls"),
    [
        (503, b"", 3),
        (0, b"", 3),
        (404, b"{}", 1),
        (200, b"<html>", 1),
        (200, b"{}", 1),
        (200, b'{"signedBlob": "?"}', 1),
    ],
)
def test_iam_does_not_answer(
    iam: Iam, signer: Signer, status: int, body: bytes, calls: int
) -> None:
    """When IAM gives no signature, the refusal says so, and names the account."""
    iam.failures.extend([(status, body)] * 3)

    with pytest.raises(Unavailable, match="IAM does not sign for") as caught:
        UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR)

    assert caught.value.code == "signing_unavailable"
    assert EMAIL in caught.value.message
    assert len(iam.calls) == calls


def test_iam_is_not_there(pauses: list[float]) -> None:
    """When nothing listens where IAM should be, three tries are enough to say so."""
    signer = signer_of(
        user_credentials("the-token"),
        pause=pauses.append,
        random=Random(7),
        email=EMAIL,
        iam_url="http://127.0.0.1:1",
    )
    assert signer is not None

    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        UrlSigner(signer, lambda: NOON).url("b", "o", "GET", HOUR)

    assert caught.value.code == "signing_unavailable"
    assert len(pauses) == 2
    signer.close()
