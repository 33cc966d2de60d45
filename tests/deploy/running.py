"""
What a deployment is made of: files that are filled in, held against schemas, and started here.

Both kinds of schemas are in the lock of `deploy`: Google's discovery documents, which name every
field of every API, and the JSON schemas that come with `check-jsonschema`.
"""

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from tests.bucket_clients.bucket_server import as_account
from tests.clients.harness import REPOSITORY, SOURCE, Sandbox, new_sandbox, program
from tests.clients.servers import make_token
from tests.fake_gcs.server import FakeGcs
from tests.http_server import is_healthy, running_program
from tests.ports import free_port
from wheelyard.model.index_file import TABLES, IndexTables, read_tables

DEPLOY = REPOSITORY / "deploy"
BUCKET = "acme-wheelyard"
PUBLISHER = "serviceAccount:wheelyard-publisher@acme.iam.gserviceaccount.com"
"""Who may publish by the index files for Google Cloud."""
VALUES = {
    "APP_ENGINE_SERVICE": "default",
    "BUCKET": BUCKET,
    "IMAGE": "europe-west1-docker.pkg.dev/acme/wheelyard/wheelyard:0.1.0",
    "INDEX_URL": "https://wheelyard-123456789012.europe-west1.run.app",
    "PROJECT_ID": "acme",
    "PROJECT_NUMBER": "123456789012",
    "REGION": "europe-west1",
}
"""The environment variables that a page tells its reader to export."""
PRODUCT = (sys.executable, "-m", "wheelyard")
"""The entry point of the image."""


@dataclass(frozen=True)
class Deployed:
    """A running index, at a port on every address of this machine."""

    port: int
    token: str
    """May read, upload and manage."""

    @property
    def url(self) -> str:
        """The root URL of the index; the fake bucket server at 127.0.0.1 is another host."""
        return f"http://localhost:{self.port}"

    @property
    def trusted_url(self) -> str:
        """The root, with the token in it."""
        return f"http://__token__:{self.token}@localhost:{self.port}"


def rendered(file: Path | str, sandbox: Sandbox, **values: str) -> str:
    """Return a file of deploy/ as render.py prints it."""
    done = sandbox.attempt(sys.executable, DEPLOY / "render.py", DEPLOY / file, **(VALUES | values))
    assert done.returncode == 0, done.stderr
    return done.stdout


def index_tables(index: str, settings: str) -> IndexTables:
    """
    Return what an index file says, which only has tables of the index.

    The settings beside it have none of them.
    """
    assert tomllib.loads(settings).keys() & set(TABLES) == set()
    return read_tables(tomllib.loads(index), ())


def without_comments(text: str) -> str:
    """Return the example of an index file, which stands there as comments after an empty one."""
    _, _, example = text.partition("\n#\n")
    return "\n".join(line.removeprefix("# ") for line in example.splitlines())


def lets_publisher_in(cloud: FakeGcs) -> bool:
    """Return whether the store has the grant of the index files for Google Cloud."""
    rights = cloud.bucket(f"{BUCKET}-credentials").find("credentials/access.json")
    return f'"{PUBLISHER}"' in rights.data.decode()


def documents(text: str) -> list[dict[str, object]]:
    """Return what a YAML file has in it."""
    return [each for each in yaml.safe_load_all(text) if each]


@contextmanager
def running(
    folder: Path,
    cloud: FakeGcs,
    command: Sequence[str],
    environment: Mapping[str, str],
    place: Path | None = None,
) -> Iterator[Deployed]:
    """
    Run a command, with nothing but what the deployment sets, until the block ends.

    `$PORT` in the command is the port. The new folder is for its home, its log and the key of the
    account that it runs as; `place` is the working directory, if not an empty one.
    """
    home = new_sandbox(folder)
    sandbox = home.at(place or home.folder)
    port, log = free_port(), folder / "log.txt"
    variables = {**SOURCE, **as_account(cloud, folder), "PORT": str(port), **environment}
    token = make_token(sandbox, **variables)
    # it is healthy, and answers nothing else, before its index file is in force
    is_ready = partial(is_healthy, f"localhost:{port}", "/ready")
    words = [str(port) if word == "$PORT" else word for word in command]
    with running_program(sandbox, words, log, is_ready, variables):
        yield Deployed(port, token)


class Unit:
    """A unit file of systemd: settings that stand more than once keep all their values."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for line in text.replace("\\\n", " ").splitlines():
            name, is_setting, value = line.partition("=")
            if is_setting and not line.startswith(("#", ";")):
                self._values.setdefault(name, []).append(" ".join(value.split()))

    def one(self, name: str) -> str:
        """Return a setting that stands once."""
        (value,) = self._values[name]
        return value

    def environment(self) -> dict[str, str]:
        """Return what `Environment=` sets."""
        words = " ".join(self._values["Environment"]).split()
        return {name: value for name, _, value in (word.partition("=") for word in words)}


def assert_valid(sandbox: Sandbox, schema: str, *files: Path) -> None:
    """Assert that files match a schema of `check-jsonschema`, such as `vendor.cloudbuild`."""
    sandbox.run(program("deploy", "check-jsonschema"), "--builtin-schema", schema, *files)


def problems(sandbox: Sandbox, api: str, name: str, *values: object) -> str:
    """
    Return what is wrong with values by a schema of Google's, such as `Service` of `run.v1`.

    That is fields that are unknown or read only, and values of another type.
    """
    schemas = {each: _strict(schema) for each, schema in discovery(api)["schemas"].items()}
    whole = {"$ref": f"#/definitions/{name}", "definitions": schemas}
    (sandbox.folder / "schema.json").write_text(json.dumps(whole))
    files = [sandbox.folder / f"value-{number}.json" for number in range(len(values))]
    for file, value in zip(files, values, strict=True):
        file.write_text(json.dumps(value))
    check = (program("deploy", "check-jsonschema"), "--verbose", "--schemafile", "schema.json")
    done = sandbox.attempt(*check, *files)
    return done.stdout + done.stderr if done.returncode else ""


@cache
def discovery(api: str) -> dict[str, Any]:
    """Return what Google has published of an API, such as `run.v1`."""
    library = program("deploy", "python").parent.parent / "lib"
    path = f"python*/site-packages/googleapiclient/discovery_cache/documents/{api}.json"
    (file,) = library.glob(path)
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Turn a schema of a discovery document into one of JSON Schema, which takes nothing else."""
    if "$ref" in schema:
        return {"$ref": f"#/definitions/{schema['$ref']}"}
    if schema.get("readOnly"):
        return {"not": {}}
    simplified: dict[str, Any] = {name: schema[name] for name in ("type", "enum") if name in schema}
    if "int" in schema.get("format", "") and simplified["type"] == "string":
        simplified["type"] = ["string", "integer"]  # what is too large for a number of JSON
    if "items" in schema:
        simplified["items"] = _strict(schema["items"])
    if simplified.get("type") == "object":
        parts = schema.get("properties", {})
        simplified["properties"] = {name: _strict(part) for name, part in parts.items()}
        others = schema.get("additionalProperties")
        simplified["additionalProperties"] = _strict(others) if others else False
    return {} if simplified.get("type") == "any" else simplified
