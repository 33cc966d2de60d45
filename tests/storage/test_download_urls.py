"""Signed URLs: windows of time in which one is reused, and callers that share one."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event

import pytest

from tests.waiting import threads_in, until
from wheelyard.errors import Unavailable
from wheelyard.storage.bucket_store import (
    Downloads,
    PublicUrls,
    SignedUrls,
    download_urls,
    signing_error,
)

HOUR = timedelta(hours=1)


@dataclass
class Signer:
    """Counts what it signs, and signs when it may."""

    signed: int = 0
    may_sign: Event = field(default_factory=Event)
    denied: bool = False

    def sign(self, name: str, lifetime: timedelta) -> str | None:
        """Return a URL that was never returned before."""
        self.signed += 1
        self.may_sign.wait(30)
        if self.denied:
            raise signing_error("No.", is_denied=True)
        return f"https://{name}/{lifetime}/{self.signed}" if name else None


def open_signer() -> Signer:
    """Return a signer that does not wait."""
    signer = Signer()
    signer.may_sign.set()
    return signer


@pytest.mark.parametrize(("longest", "seconds"), [(float("inf"), 3600), (240, 240)])
def test_a_url_is_reused_for_half_of_its_lifetime(longest: float, seconds: int) -> None:
    """Within half of its lifetime, or the longest time, a URL is reused; then there is another."""
    clock, signer = [36000.0], open_signer()
    urls = SignedUrls(signer, lambda: clock[0], longest)

    first = urls.url("o", 2 * HOUR)
    clock[0] += seconds - 1
    assert urls.url("o", 2 * HOUR) == first
    assert urls.url("other", 2 * HOUR) != first
    clock[0] += 1
    assert urls.url("o", 2 * HOUR) != first
    assert signer.signed == 3


def test_a_name_without_url() -> None:
    """What cannot be signed has no URL."""
    assert SignedUrls(open_signer(), lambda: 0.0).url("", HOUR) is None


def test_a_public_url() -> None:
    """In a public bucket a name is encoded once."""
    urls = PublicUrls("https://host/b/")

    assert urls.url("files/a 1%2B+cpu.whl", HOUR) == "https://host/b/files/a%201%252B%2Bcpu.whl"


@pytest.mark.parametrize(
    ("downloads", "can_sign", "kind"),
    [
        ("auto", True, SignedUrls),
        ("auto", False, type(None)),
        ("redirect", True, SignedUrls),
        ("proxy", True, type(None)),
        ("public", False, PublicUrls),
    ],
)
def test_who_sends_the_bytes(downloads: Downloads, kind: type, *, can_sign: bool) -> None:
    """The bucket sends files by URLs, unless nothing can sign these or the server is to do it."""
    signer = open_signer() if can_sign else None
    assert type(download_urls(downloads, "https://host/b/", signer, lambda: 0.0)) is kind


@pytest.mark.parametrize("denied", [False, True])
def test_many_at_once_share_a_call(*, denied: bool) -> None:
    """When many want one file in the same moment, it is signed once, and an error is not kept."""
    signer = Signer(denied=denied)
    urls = SignedUrls(signer, lambda: 0.0)
    with ThreadPoolExecutor(4) as pool:
        wanted = [pool.submit(urls.url, "o", HOUR) for _ in range(4)]
        until(lambda: threads_in(Future.result.__code__) == 3)
        signer.may_sign.set()
        outcomes = [each.exception(30) for each in wanted]

    assert [isinstance(each, Unavailable) for each in outcomes] == [denied] * 4
    signer.denied = False
    assert urls.url("o", HOUR)
    assert signer.signed == 1 + denied
