"""Uploads of distributions to a server or an application, and the forms that they are."""

from tests.distributions import Distribution
from tests.http import forms
from tests.http.in_process import InProcessResponse, InProcessServer
from tests.http.servers import Answer, RunningServer

PYTHON = ">=3.9"
KIND = f"multipart/form-data; boundary={forms.BOUNDARY.decode()}"


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


def post_form(
    app: InProcessServer,
    package: Distribution,
    login: tuple[str, str] | None = None,
    /,
    **fields: str,
) -> InProcessResponse:
    """Upload a package with fields before it to an application, with a token or a new one."""
    parts = [forms.text(name, value) for name, value in fields.items()]
    parts.append(content(package))
    return app.send("/legacy/", forms.form(*parts), login or app.bearer(), kind=KIND)


def content(package: Distribution, name: str = "content") -> forms.Part:
    """Return the part of a form with a package."""
    return forms.file(name, package.filename, package.body)
