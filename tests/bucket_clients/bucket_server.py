"""`wheelyard serve` on a bucket of the fake GCS server, started as by an operator."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from httpx2 import Response

from tests.clients.harness import new_sandbox
from tests.clients.reading import page
from tests.clients.servers import Server, make_token, serving
from tests.distributions import Distribution
from tests.fake_gcs.server import FakeGcs
from tests.http.packages import form
from tests.plain_http import LOCALLY
from tests.waiting import TIMEOUT_SECONDS

BUCKET = "wheels"
STORE = f"gs://{BUCKET}/team a~1"
"""A prefix with characters that have to be encoded in URLs and signatures."""
OK: Final = 200


@dataclass(frozen=True)
class BucketIndex:
    """A running index in a bucket."""

    server: Server
    """The server, as clients see it."""
    cloud: FakeGcs
    folder: Path
    """The folder of its log."""

    @property
    def log(self) -> str:
        """The log of the server so far."""
        return (self.folder / "log.txt").read_text()


def as_nobody(cloud: FakeGcs) -> dict[str, str]:
    """Return environment variables for the fake server without credentials; nothing can sign."""
    return cloud.environment()


def as_account(cloud: FakeGcs, folder: Path) -> dict[str, str]:
    """Return environment variables for the fake server with a service account's key."""
    return {
        "API_ENDPOINT_OVERRIDE": cloud.url,
        "GOOGLE_APPLICATION_CREDENTIALS": str(cloud.write_key_file(folder)),
    }


def as_machine(cloud: FakeGcs, iam: str) -> dict[str, str]:
    """Return what leads a process there without a key, and to an IAM that is nowhere."""
    way = {"API_ENDPOINT_OVERRIDE": cloud.url, "HTTPS_PROXY": f"http://{iam}"}
    return way | cloud.environment(metadata=True)


@contextmanager
def running_bucket_index(
    folder: Path, cloud: FakeGcs, environment: Mapping[str, str], *options: str, config: str = ""
) -> Iterator[BucketIndex]:
    """Run a server in a new folder, with a token made beforehand, and with these settings."""
    sandbox = new_sandbox(folder)
    settings = folder / "wheelyard.toml"
    settings.write_text(config)
    place = ("--store", STORE, "--config", str(settings))
    token = make_token(sandbox, *place, **environment)
    # the fake GCS server is at 127.0.0.1: as in production, its host has another name
    with serving(sandbox, environment, *place, *options, host="localhost") as address:
        yield BucketIndex(Server(address, token, folder, "--private" in options), cloud, folder)


def send_request(index: BucketIndex, path: str, method: str = "GET", **more: Any) -> Response:  # noqa: ANN401
    """Send one request with the token."""
    return httpx2.request(method, f"{index.server.url}{path}", **_alone(index), **more)


def asking(index: BucketIndex, path: str) -> AbstractContextManager[Response]:
    """Send one request with the token, and let the caller read the answer."""
    return httpx2.stream("GET", f"{index.server.url}{path}", **_alone(index))


def upload(index: BucketIndex, package: Distribution) -> Response:
    """Upload a package, whatever comes of it."""
    kind = {"Content-Type": "multipart/form-data; boundary=frontier"}
    return send_request(index, "/legacy/", "POST", content=form(package), headers=kind)


def publish(index: BucketIndex, *packages: Distribution) -> None:
    """Upload packages, all of which have to be taken."""
    for package in packages:
        answer = upload(index, package)
        assert answer.status_code == OK, answer.text


def path_of(index: BucketIndex, package: Distribution) -> str:
    """Return the path that the page of a project gives for a package."""
    name = package.filename.partition("-")[0].replace("_", "-")
    urls = {Path(urlsplit(each.url).path).name: each.url for each in page(index.server, name)}
    filename = package.filename.replace("+", "%2B").replace("!", "%21")
    return urlsplit(urls[filename]).path


def is_whole(answer: Response, package: Distribution) -> bool:
    """Return whether an answer is a package, all of it."""
    return answer.status_code == OK and answer.content == package.body


def _alone(index: BucketIndex) -> dict[str, Any]:
    login = ("__token__", index.server.token)
    return {"auth": login, "timeout": TIMEOUT_SECONDS, **LOCALLY}
