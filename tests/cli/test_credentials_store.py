"""Tokens that have a place of their own, in a folder or a bucket, and packages in another."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.cli.conftest import Serve, Serving, Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.plain_http import LOCALLY
from tests.storage.gcs.opened import EMULATOR
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.integration

WHEEL = make_wheel("demo", "1.0")


@pytest.fixture
def google() -> Iterator[FakeGcs]:
    """A fake GCS server with two buckets."""
    with running_fake_gcs("packages", "secrets") as server:
        yield server


def configure(sandbox: Sandbox, store: str, apart: str) -> None:
    """Write settings with two places."""
    text = f'[store]\nlocation = "{store}"\n[access]\ncredentials_store = "{apart}"\n'
    (sandbox.folder / "wheelyard.toml").write_text(f"{text}private = true\n")


def get_page(serving: Serving, path: str, token: str) -> httpx2.Response:
    """Ask for a path with a token."""
    url = f"http://127.0.0.1:{serving.port}{path}"
    return httpx2.get(
        url,
        auth=("__token__", token),
        timeout=TIMEOUT_SECONDS,
        follow_redirects=True,
        **LOCALLY,
    )


@pytest.mark.parametrize(
    ("store", "apart"), [("wheels", "keys"), ("gs://packages", "gs://secrets/of/ours")]
)
def test_tokens_are_kept_in_a_place_of_their_own(
    sandbox: Sandbox, google: FakeGcs, serve: Serve, wheelyard: Typed, store: str, apart: str
) -> None:
    """Tokens with a place of their own are made, known, listed, checked and revoked there."""
    configure(sandbox, store, apart)
    where = {EMULATOR: google.url}
    token = wheelyard("token", "create", "ci", **where).stdout.strip()
    assert wheelyard("upload", WHEEL.write(sandbox.folder), **where).returncode == 0
    serving = serve(**where)

    assert get_page(serving, "/simple/demo/", token).status_code == 200
    assert get_page(serving, f"/packages/{WHEEL.filename}", token).content == WHEEL.body
    assert get_page(serving, "/simple/demo/", "wyd_" + "x" * 48).status_code == 401
    assert token[4:14] in wheelyard("token", "list", **where).stdout
    assert wheelyard("check", "--sweep", **where).returncode == 0
    assert places_of_tokens(sandbox, google) == [apart.removeprefix("gs://").split("/")[0]]
    assert wheelyard("token", "revoke", token, **where).returncode == 0


def places_of_tokens(sandbox: Sandbox, google: FakeGcs) -> list[str]:
    """Return the folders and buckets that have a token in them."""
    folders = [
        path.name
        for path in sandbox.folder.iterdir()
        if any(path.glob("credentials/tokens/*.json"))
    ]
    buckets = [
        name
        for name in ("packages", "secrets")
        if any("credentials/tokens/" in each for each in google.bucket(name).names())
    ]
    return folders + buckets
