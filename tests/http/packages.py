"""Uploads of distributions to a running server, and the forms that they are."""

from tests.distributions import Distribution
from tests.http.servers import Answer, RunningServer

PYTHON = ">=3.9"


def post(
    server: RunningServer,
    package: Distribution,
    path: str = "/legacy/",
    *,
    token: str | None = None,
    **fields: str,
) -> Answer:
    """Upload a package; without `token`, the server's first one is sent; if it is empty, none."""
    token = server.token if token is None else token
    return server.client.request(
        "POST",
        path,
        data=fields,
        files={"content": (package.filename, package.body)},
        auth=("__token__", token) if token else None,
    )


def publish(server: RunningServer, *packages: Distribution) -> None:
    """Upload packages, all of which have to be taken."""
    for package in packages:
        answer = post(server, package)
        assert answer.status_code == 200, answer.text


def form(package: Distribution, boundary: bytes = b"frontier") -> bytes:
    """Write the smallest form that holds a package."""
    head = f'Content-Disposition: form-data; name="content"; filename="{package.filename}"'
    start = b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n"
    return start + package.body + b"\r\n--" + boundary + b"--\r\n"
