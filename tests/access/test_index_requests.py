"""Requests in several indexes, answered as the matrix of their rights says."""

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.access.access_fixture import serve_google
from tests.access.index_matrix import CONDITIONS, DEMO, DEV, FREE, RIGHTS, OpenedIndex, letters
from tests.authentication.verifiers.fake_issuer import running_issuer
from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer
from tests.http.packages import form
from wheelyard.http.app import App
from wheelyard.model.access import Credential
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

Headers = tuple[tuple[str, str], ...]

PLACES = {"main": "", DEV: "/dev", FREE: "/free"}
MADE = make_wheel()
FORM = form(MADE)
"""Uploads what is there."""
SENT = ("content-type", "multipart/form-data; boundary=frontier")
JSON = ("content-type", "application/json")
ALLOWED = {"r": 200, "u": 200, "m": 400, "a": 409}
"""The status of each request for whoever has the right: the last two ask for what cannot be."""
REFUSED = {401, 403, 404}


@dataclass
class Served:
    """An index of the matrix and its application, with a clock that can be put forward."""

    opened: OpenedIndex
    server: InProcessServer
    later: list[float]
    callers: dict[str, Headers] = field(default_factory=dict)
    """What a request of each caller has in its head."""

    def __post_init__(self) -> None:
        self.callers["anonymous"] = ()
        for kind, asker in self.opened.askers.items():
            if asker.credential is not None:
                self.callers[kind] = (("authorization", _authorization(asker.credential)),)

    def rights_by_policy(self) -> dict[str, str]:
        """Return what the authenticator says that callers may do, as in the matrix."""
        answers = self.opened.answers()
        return {kind: answers[kind] for kind in self.callers}

    def rights_by_requests(self) -> dict[str, str]:
        """Return what callers may do by the answers to their requests."""
        return {kind: self._line(headers) for kind, headers in self.callers.items()}

    def revoke_those_of_dev(self) -> None:
        """Revoke every grant of the store that names `dev`, and wait until that is in force."""
        self.opened.revoke_those_of_dev()
        self.later[0] += 1

    def _line(self, headers: Headers) -> str:
        return " ".join(f"{name} {self._letters(path, headers)}" for name, path in PLACES.items())

    def _letters(self, path: str, headers: Headers) -> str:
        """Return the rights that requests show, each of which changes nothing."""
        project = f"{path}/api/v1/projects/{DEMO}"
        answers = {
            "r": self._status("GET", f"{path}/simple/{DEMO}/", headers),
            "u": self._status("POST", f"{path}/legacy/", (*headers, SENT), FORM),
            "m": self._status("POST", f"{project}/reserve", (*headers, JSON), b'{"no": 1}'),
            "a": self._status("POST", f"{project}/release", (*headers, JSON), b"{}"),
        }
        held = {letter: status == ALLOWED[letter] for letter, status in answers.items()}
        assert all(held[letter] or answers[letter] in REFUSED for letter in RIGHTS), answers
        return letters(held)

    def _status(self, method: str, path: str, headers: Headers, body: bytes = b"") -> int:
        length = ("content-length", str(len(body)))
        return self.server.get(path, *headers, length, method=method, body=[body]).status


def _authorization(credential: Credential) -> str:
    if credential.is_bearer:
        return f"Bearer {credential.secret}"
    pair = b64encode(f"{credential.user}:{credential.secret}".encode()).decode()
    return f"Basic {pair}"


@contextmanager
def serving(condition: str, folder: Path) -> Iterator[Served]:
    """Serve the index of a condition."""
    real, later = system_runtime(), [0.0]
    runtime = replace(real, monotonic=lambda: real.monotonic() + later[0])
    with running_issuer() as site, asyncio.Runner() as runner:
        serve_google(site)
        opened = OpenedIndex.of(CONDITIONS[condition], folder, site, runtime)
        opened.add_askers()
        server = InProcessServer(App(opened.index), opened.index, folder, Clock(), runner)
        yield Served(opened, server, later)
        server.tell("lifespan", "lifespan.shutdown")


@pytest.mark.parametrize("condition", ["open", "settings grant, private"])
def test_requests_are_answered_as_the_matrix_says(tmp_path: Path, condition: str) -> None:
    """Requests to an index show the rights that the authenticator names for each caller."""
    with serving(condition, tmp_path) as served:
        assert served.rights_by_requests() == served.rights_by_policy()
        served.revoke_those_of_dev()
        assert served.rights_by_requests() == served.rights_by_policy()
