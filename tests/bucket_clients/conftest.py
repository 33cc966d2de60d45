"""A fake GCS server, indexes on it, and packages with the most difficult names."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from tests.bucket_clients.bucket_server import BUCKET
from tests.clients.conftest import build as _build
from tests.fake_gcs.server import FakeGcs, running_fake_gcs

build = _build


@pytest.fixture(scope="session")
def private_key() -> RSAPrivateKey:
    """Make the account's key once, which takes a while."""
    return generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def cloud(private_key: RSAPrivateKey) -> Iterator[FakeGcs]:
    """Yield a fake GCS server that requires an access token by default."""
    with running_fake_gcs(BUCKET, private_key=private_key) as server:
        yield server
