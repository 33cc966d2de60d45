"""
Stores in a bucket, and the processes that use them: commands, and servers of a group of their own.

All processes of a cluster share a home folder, which also holds their scratch files.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any, Self

from tests.cli.conftest import called
from tests.clients.harness import REPOSITORY, Sandbox
from tests.distributions import Distribution
from tests.durability.serving import get, post
from tests.forking import ForkedProgram, ProcessEnvironment, fork
from tests.http_server import TOKEN, ServerProcess, begin_server
from tests.services.service import BucketView, Service
from tests.waiting import TIMEOUT_SECONDS

METRIC = re.compile(r'\{class="(\w+)",operation="(\w+)"\} ([0-9.]+)')

Done = subprocess.CompletedProcess[str]


@dataclass
class Instance:
    """A server that answers, and a token for it."""

    server: ServerProcess
    token: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    @property
    def log(self) -> Path:
        """What it has said."""
        return self.server.log

    def page(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the files of a project's page by their names, none if there is no such page."""
        status, body = get(self.port, f"/simple/{name}/")
        assert status in {200, 404}, body
        files = json.loads(body)["files"] if status == 200 else []
        return {file["filename"]: file for file in files}

    def names(self) -> list[str]:
        """Return the projects that it lists."""
        status, body = get(self.port, "/simple/")
        assert status == 200
        return [project["name"] for project in json.loads(body)["projects"]]

    def shows(self, made: Distribution) -> bool:
        """Return whether a distribution is on its project's page."""
        return made.filename in self.page(made.filename.partition("-")[0])

    def post(self, made: Distribution) -> int:
        """Upload a distribution; return the status, 0 without a response."""
        return post(self.port, self.token, made)

    def change(self, name: str, verb: str, **body: str) -> None:
        """Do something to a project, by the API; it has to succeed."""
        status, output = self.ask(
            "POST",
            f"/api/v1/projects/{name}/{verb}",
            json.dumps(body),
            Authorization=f"Bearer {self.token}",
            Content_Type="application/json",
        )
        assert status == 200, output

    def ask(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Send a request; an underscore in a header's name stands for a dash."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def operations(self) -> dict[tuple[str, str], int]:
        """Return what `/metrics` says: how often what was asked of the bucket, by class."""
        status, body = get(self.port, "/metrics")
        assert status == 200
        found = METRIC.findall(body.decode())
        return {(price, kind): int(float(text)) for price, kind, text in found}

    def kill(self) -> None:
        """Kill it, and whatever it has started, at once."""
        self.server.kill()


@dataclass(frozen=True)
class BucketCluster:
    """A store in a bucket, and the commands and servers that use it."""

    store: str
    variables: Mapping[str, str]
    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        (self.folder / "home").mkdir(parents=True, exist_ok=True)

    def with_variables(self, **variables: str) -> Self:
        """Return this cluster with other environment variables for its bucket."""
        return replace(self, variables=variables)

    def environment(self) -> dict[str, str]:
        """Return the environment variables of every process of the cluster."""
        own = {"PYTHONPATH": str(REPOSITORY / "src"), "WHEELYARD_STORE": self.store}
        sandbox = Sandbox(self.folder, self.folder / "home")
        return sandbox.environment() | own | dict(self.variables)

    def run(self, *arguments: str | Path) -> Done:
        """Run a command to its end, one that is no server inside this process."""
        if "serve" not in arguments:
            return called(self.folder, self.environment(), *arguments)
        return self.begin(*arguments).finish()

    def succeed(self, *arguments: str | Path) -> str:
        """Run a command that has to succeed in silence; return what it printed."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    def begin(self, *arguments: str | Path) -> ForkedProgram:
        """Start a command."""
        number = next(self._numbers)
        output, errors = (self.folder / f"{name}-{number}.txt" for name in ("output", "errors"))
        return fork(arguments, self._dependencies(output, errors))

    def written(self, *distributions: Distribution) -> list[Path]:
        """Write distributions under their own names, in a new folder."""
        folder = self.folder / f"dist-{next(self._numbers)}"
        folder.mkdir()
        return [made.write(folder) for made in distributions]

    def make_token(self, can: str = "read,upload,manage") -> str:
        """Make a token, as an operator does on a bucket."""
        done = self.run("token", "create", "test", "--can", can)
        match = TOKEN.fullmatch(done.stdout.strip())
        assert match is not None, done.stderr
        return match[0]

    @contextmanager
    def serving(self, token: str = "", *options: str) -> Iterator[Instance]:
        """Run a server, wait until it answers, and kill it in the end."""
        instance = self._started(token, *options)
        try:
            instance.server.wait_until_healthy()
            yield instance
        finally:
            instance.kill()
            sys.stderr.write(instance.log.read_text())  # shown where a test has failed

    @contextmanager
    def serving_twice(self) -> Iterator[tuple[Instance, Instance]]:
        """Run two servers, which start side by side."""
        token = self.make_token()
        both = (self._started(token), self._started(token))
        try:
            for each in both:
                each.server.wait_until_healthy()
            yield both
        finally:
            for each in both:
                each.kill()
                sys.stderr.write(each.log.read_text())

    def check(self, *options: str) -> dict[str, Any]:
        """Run `wheelyard check`, which has to find no problem; return its findings."""
        findings: dict[str, Any] = json.loads(self.succeed("check", "--json", *options))
        assert findings["problems"] == []
        return findings

    def listed(self, name: str) -> set[str]:
        """Return the files of a project, as a new process sees them."""
        project = json.loads(self.succeed("list", name, "--json"))
        return {file["filename"] for file in project.get("files", [])}

    def _started(self, token: str, *options: str) -> Instance:
        log = self.folder / f"server-{next(self._numbers)}.log"
        return Instance(begin_server(*options, dependencies=self._dependencies(log, log)), token)

    def _dependencies(self, output: Path, errors: Path) -> ProcessEnvironment:
        return ProcessEnvironment(
            folder=self.folder, environment=self.environment(), output=output, errors=errors
        )


def cluster_at(service: Service, folder: Path, path: str = "wheels") -> BucketCluster:
    """Return a cluster at `BUCKET` or `BUCKET/PREFIX` of a service."""
    return BucketCluster(service.location(path), service.environment(), folder)


def assert_dense(bucket: BucketView, name: str) -> int:
    """Expect every commit of a project in its journal, each once; return how many they are."""
    revision: int = json.loads(data_of(bucket, f"projects/{name}.json"))["revision"]
    entries = [f"journal/{name}/{number:010}.json" for number in range(1, revision + 1)]
    assert bucket.names(f"journal/{name}/") == entries
    return revision


def data_of(bucket: BucketView, name: str) -> bytes:
    """Return the bytes of an object that has to be there."""
    found = bucket.get(name)
    assert found is not None, name
    return found.data


def contents(bucket: BucketView) -> dict[str, bytes]:
    """Return every object of a bucket."""
    return {name: data_of(bucket, name) for name in bucket.names()}


def put_all(bucket: BucketView, objects: Mapping[str, bytes]) -> None:
    """Put objects into a bucket without wheelyard."""
    for name, data in objects.items():
        bucket.put(name, data)
