"""Other systems, installed from their locks and run as their own pages say."""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.clients.harness import Sandbox, program
from tests.http_server import running_program
from tests.ports import free_port
from tests.waiting import TIMEOUT_SECONDS

PASSWORD = "s3cret-and-long"


@contextmanager
def running(sandbox: Sandbox, command: Sequence[str | Path], asked: str) -> Iterator[None]:
    """Run another system's server until the block ends; `asked` is answered once it is up."""
    log = sandbox.folder / f"{Path(command[0]).name}.log"
    timeout = 3 * TIMEOUT_SECONDS  # devpi is slow on a loaded machine
    with running_program(
        sandbox, command, log, lambda: _answers(asked), {}, is_ours=False, timeout=timeout
    ):
        yield


def twine(sandbox: Sandbox, url: str, user: str, *files: Path) -> None:
    """Publish with twine."""
    login = {"TWINE_USERNAME": user, "TWINE_PASSWORD": PASSWORD}
    where = ["--non-interactive", "--repository-url", url]
    sandbox.run(program("twine"), "upload", *where, *files, **login)


@dataclass(frozen=True)
class Devpi:
    """A devpi-server without a mirror of the public index; offline, it asks no other server."""

    sandbox: Sandbox
    folder: Path
    port: int
    is_offline: bool

    @property
    def url(self) -> str:
        """The URL of the root of devpi, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run it."""
        where = ["--serverdir", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        server = str(program("devpi", "devpi-server"))
        offline = ["--offline-mode"] if self.is_offline else []
        # else the key of its logins takes half a gigabyte, and seconds of all processors
        quick = ["--argon2-memory-cost", "64", "--argon2-time-cost", "1"]
        command = [server, *where, *offline, *quick, "--threads", "4"]
        with running(self.sandbox, command, f"{self.url}/+api"):
            yield

    def add_user(self, name: str) -> str:
        """Make a user; returns what logs them in."""
        self.call("PUT", f"/{name}", {"password": PASSWORD})
        return self.login(name)

    def login(self, name: str) -> str:
        """Return what logs a user in."""
        output = self.call("POST", "/+login", {"user": name, "password": PASSWORD})
        session = json.loads(output)["result"]["password"]
        return b64encode(f"{name}:{session}".encode()).decode()

    def add_index(self, login: str, name: str, *bases: str) -> None:
        """Make an index of a user's own, whose files stay as they are."""
        self.call("PUT", f"/{name}", {"bases": bases, "volatile": False}, login)

    def call(self, method: str, path: str, body: object, login: str = "") -> bytes:
        """Ask for something as devpi's own client does."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if login:
            headers["X-Devpi-Auth"] = login
        data = json.dumps(body).encode()
        request = Request(self.url + path, data, headers, method=method)  # noqa: S310  # our own
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content


def new_devpi(sandbox: Sandbox, *, is_offline: bool = True) -> Devpi:
    """Make a devpi-server in a new folder."""
    folder = sandbox.folder / "devpi"
    arguments = ["--serverdir", str(folder), "--no-root-pypi", "--root-passwd", PASSWORD]
    sandbox.run(program("devpi", "devpi-init"), *arguments)
    return Devpi(sandbox, folder, free_port(), is_offline)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):  # noqa: S310 - of this machine
            return True
    except HTTPError as error:
        error.close()
        return error.code < 500
    except (URLError, OSError):
        return False
