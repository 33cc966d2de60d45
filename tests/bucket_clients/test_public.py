"""Files in a bucket of their own that anyone may read; everything else in a closed one."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.bucket_clients.bucket_server import (
    BUCKET,
    STORE,
    BucketIndex,
    as_account,
    path_of,
    publish,
    running_bucket_index,
    send_request,
)
from tests.clients.harness import Sandbox, wheelyard
from tests.distributions import make_wheel
from tests.fake_gcs.clients import ask as ask_bucket
from tests.fake_gcs.server import FakeGcs

OPEN = "open-wheels"
FILES = f"gs://{OPEN}/team a~1"
SPLIT = f'[store]\nfiles = "{FILES}"\ndownloads = "public"\n'
HARD = make_wheel("yard-hard", "1!2.0+cpu.1")


@pytest.fixture(scope="module")
def index(cloud: FakeGcs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketIndex]:
    """Yield an index whose files anyone may have, with one package."""
    folder = tmp_path_factory.mktemp("public")
    cloud.permissions.token_required = True
    cloud.bucket(OPEN).public = True
    with running_bucket_index(folder, cloud, as_account(cloud, folder), config=SPLIT) as running:
        publish(running, HARD)
        yield running


def test_a_download_leads_to_a_plain_url(index: BucketIndex) -> None:
    """A download leads to the plain URL of an object that every cache may keep for ever."""
    sent = send_request(index, path_of(index, HARD))

    assert sent.status_code == 302
    url = sent.headers["location"]
    assert "?" not in url
    assert url.startswith(f"{index.cloud.url}/{OPEN}/team%20a~1/files/yard-hard/")
    assert url.endswith("/yard_hard-1%212.0%2Bcpu.1-py3-none-any.whl")
    sent_by_bucket = ask_bucket(index.cloud.address, "GET", url.removeprefix(index.cloud.url))
    assert (sent_by_bucket.status, sent_by_bucket.body) == (200, HARD.body)
    assert sent_by_bucket.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_only_files_are_public(index: BucketIndex) -> None:
    """The public bucket has the files and what describes them; tokens and journal are elsewhere."""
    apart = index.cloud.bucket(OPEN).names()
    usual = index.cloud.bucket(BUCKET).names()

    assert apart
    assert all(name.startswith("team a~1/files/") for name in apart)
    assert not any("/files/" in name for name in usual)
    for name in usual:
        assert (
            ask_bucket(index.cloud.address, "GET", f"/{BUCKET}/{name.replace(' ', '%20')}").status
            == 403
        )


def test_check_and_delete(index: BucketIndex, sandbox: Sandbox) -> None:
    """Commands know where the files are; what is deleted is gone from the public bucket."""
    gone = make_wheel("yard-gone", "1.0")
    environment = as_account(index.cloud, index.folder)
    index.folder.joinpath(gone.filename).write_bytes(gone.body)

    def type_(*arguments: str) -> str:
        return wheelyard(sandbox, *arguments, "--store", STORE, **environment)

    type_("upload", str(index.folder / gone.filename))
    assert "\nclean: 2 projects, 2 files" in f"\n{type_('check')}"
    digest = f"sha256:{hashlib.sha256(gone.body).hexdigest()}"
    type_("delete", "yard-gone", digest, "--now", "--yes")
    assert "\nclean: 2 projects, 1 file" in f"\n{type_('check')}"

    assert not [name for name in index.cloud.bucket(OPEN).names() if "yard-gone" in name]
    assert type_("list", "yard-gone").strip() == ""
