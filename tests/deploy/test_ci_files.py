"""The files for CI services: what their services take, and their scripts on a running index."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from uv import find_uv_bin

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    FakeIssuer,
    rsa_key,
    running_issuer,
)
from tests.clients.harness import (
    REPOSITORY,
    Sandbox,
    new_sandbox,
    program,
    site_packages,
    system_program,
)
from tests.clients.projects import write_project
from tests.deploy.containers import wheels
from tests.deploy.running import assert_valid, problems
from tests.distributions import make_wheel
from tests.http.servers import RunningServer, running_server
from wheelyard.wiring.stores import system_runtime

FILES = REPOSITORY / "deploy" / "cloud-build"
BUILDS = sorted(FILES.glob("*.yaml"))
TAGGED = [path for path in BUILDS if path.name != "folder.yaml"]
GITHUB = FILES / "github.yml"
GITLAB = FILES / "gitlab.yml"
ACCOUNT = "wheelyard-publisher@acme.iam.gserviceaccount.com"
AUDIENCE = "https://packages.example.com"
TRUSTED = {"_TRUSTED": "yes"}
IDENTITY = "/computeMetadata/v1/instance/service-accounts/default/identity"
CONFIG = f"""\
[access]
private = true

[google]
allow_private = true

[google.id_token]
audience = ["{AUDIENCE}"]

[trusted_publishing]
audience = ["packages.example.com"]
private_issuers = ["ISSUER"]
"""
TABLES = f"""\
[[grant]]
who = ["serviceAccount:{ACCOUNT}"]
projects = ["*"]
actions = ["upload"]

[[publisher]]
id = "cloud-build"
provider = "oidc"
issuer = "ISSUER"
jwks_url = "ISSUER/keys"
require_jti = false
match = {{ sub = "104857600123456789012", email = "{ACCOUNT}" }}
projects = ["acme-core"]
"""


def read(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file; the key `on` is parsed as true."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def steps(path: Path) -> dict[str, dict[str, Any]]:
    """Return the steps of a build by their ids."""
    return {step["id"]: step for step in read(path)["steps"]}


def scripts() -> Iterator[tuple[str, str]]:
    """Yield every script of every file, with its name."""
    for path in BUILDS:
        yield from ((f"{path.stem}-{name}", each["script"]) for name, each in steps(path).items())
    for name, job in read(GITHUB)["jobs"].items():
        runs = [step["run"] for step in job["steps"] if "run" in step]
        yield from ((f"github-{name}-{number}", run) for number, run in enumerate(runs))
    for name in ("build", "test", "publish"):
        yield f"gitlab-{name}", "\n".join(read(GITLAB)[name]["script"])


def test_every_file_matches_its_published_schema(sandbox: Sandbox) -> None:
    """Every file is what Cloud Build, GitHub, GitLab and Compose have published that they take."""
    image = REPOSITORY / "deploy" / "image"
    assert_valid(sandbox, "vendor.cloudbuild", *BUILDS, image / "cloudbuild.yaml")
    assert_valid(sandbox, "vendor.github-workflows", GITHUB)
    composed = (image / "compose.yaml", image / "compose-s3.yaml")
    assert_valid(sandbox, "vendor.compose-spec", *composed)
    check = (program("deploy", "check-jsonschema"), "--builtin-schema", "vendor.gitlab-ci")
    sandbox.run(*check, "--data-transform", "gitlab-ci", GITLAB)


def test_the_files_of_update_bots_match_their_schemas(sandbox: Sandbox) -> None:
    """The page's files for Renovate and Dependabot are what both have published that they take."""
    page = (REPOSITORY / "docs" / "renovate-dependabot.md").read_text()
    for kind, schema in (("json", "vendor.renovate"), ("yaml", "vendor.dependabot")):
        (block,) = re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)
        (sandbox.folder / f"bot.{kind}").write_text(block)
        assert_valid(sandbox, schema, sandbox.folder / f"bot.{kind}")


def test_the_action_passes_its_linters(sandbox: Sandbox) -> None:
    """Linters of shell scripts and of workflows mind nothing in our action and in github.yml."""
    action = REPOSITORY / "action.yml"
    assert_valid(sandbox, "vendor.github-actions", action)
    for step in read(action)["runs"]["steps"]:
        (sandbox.folder / "step").write_text(step["run"])
        sandbox.run(program("workflows", "shellcheck"), "--shell=bash", sandbox.folder / "step")
    # whoever copies the file pins the actions of others, or lets a program do it
    pins = {"rules": {"unpinned-uses": {"config": {"policies": {"*": "ref-pin"}}}}}
    (sandbox.folder / "zizmor.yml").write_text(yaml.safe_dump(pins))
    lint = (program("workflows", "zizmor"), "--offline", "--config", "zizmor.yml")
    sandbox.run(*lint, action, GITHUB)


def test_every_field_of_a_build_is_of_the_api(sandbox: Sandbox) -> None:
    """Every field of a build is one of Cloud Build's API, and every value is of its type."""
    path = FILES / "secret-manager.yaml"
    _, _, commented = path.read_text().partition("\n# availableSecrets:\n")
    lines = takewhile(lambda line: line.startswith("#"), commented.splitlines())
    inline = yaml.safe_load("\n".join(line.removeprefix("#") for line in lines))
    with_kms = read(path) | {"availableSecrets": inline}

    assert problems(sandbox, "cloudbuild.v1", "Build", *map(read, BUILDS), with_kms) == ""


@pytest.mark.parametrize("path", BUILDS, ids=lambda path: path.stem)
def test_what_cloud_build_refuses(path: Path) -> None:
    """Cloud Build begins each build: it logs somewhere, names no unknown and has no odd step."""
    build = read(path)
    options, every = build["options"], build["steps"]
    secrets = {name for step in every for name in step.get("secretEnv", ())}
    available = build.get("availableSecrets", {"secretManager": []})["secretManager"]

    assert options["logging"] == "CLOUD_LOGGING_ONLY"  # as an account of its own demands
    assert options["automapSubstitutions"]
    assert build["serviceAccount"].endswith(
        "/wheelyard-publisher@$PROJECT_ID.iam.gserviceaccount.com"
    )
    assert [step["id"] for step in every if step.keys() & {"args", "entrypoint"}] == []
    assert secrets == {each["env"] for each in available}
    used = set(re.findall(r"\b_[A-Z][A-Z_]*[A-Z]\b", "".join(step["script"] for step in every)))
    assert used <= build["substitutions"].keys()


def test_the_same_build() -> None:
    """Whatever way a file publishes, it builds and tests in the same way."""
    first, *others = [steps(path) for path in TAGGED]

    for name in ("build", "test", "unchanged"):
        assert [step for step in others if step[name] != first[name]] == []
    assert "volumes" not in first["test"]
    assert {next(reversed(step)) for step in others} == {"publish"}


def test_tests_are_apart() -> None:
    """On GitHub and GitLab only one job can publish, and the tests are not in it."""
    github, gitlab = read(GITHUB)["jobs"], read(GITLAB)

    assert github["publish"]["needs"] == ["build", "test"]
    assert [name for name in github if "id-token" in github[name]["permissions"]] == ["publish"]
    assert [name for name in github if "pytest" in str(github[name])] == ["test"]
    assert gitlab["stages"] == ["build", "test", "publish"]
    assert [name for name in gitlab["stages"] if "id_tokens" in gitlab[name]] == ["publish"]


def test_scripts_are_whole(sandbox: Sandbox) -> None:
    """Bash and Python can read every script and the programs in it; none tells a secret."""
    for name, script in scripts():
        (sandbox.folder / name).write_text(script)
        sandbox.run(system_program("bash"), "-n", sandbox.folder / name)
        for body in re.findall(r"<<'END'\n(.*?)^END$", script, re.DOTALL | re.MULTILINE):
            compile(body, name, "exec")
        assert "set -x" not in script, name
        assert not re.search(r"(PASSWORD|TOKEN|STATEMENT)\S* *>", script), name


@dataclass(frozen=True)
class Runner:
    """A machine that carries out scripts, and the index that they publish to."""

    sandbox: Sandbox
    """Its folder is the workspace."""
    server: RunningServer
    google: FakeIssuer
    """Signs for the account of the build, and answers as the metadata server."""

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script with the folders of an image moved to here."""
        place = self.sandbox.home
        for folder in ("tmp", "digests"):
            (place / folder).mkdir(exist_ok=True)
            script = re.sub(rf"(?<![\w.])/{folder}/", f"{place / folder}/", script)
        path = f"{place / 'bin'}{os.pathsep}{os.defpath}"
        usual = {"PATH": path, "PIP_NO_INDEX": "1"}
        metadata = {"GCE_METADATA_HOST": self.google.url.removeprefix("http://")}
        return self.sandbox.attempt(
            system_program("bash"), "-c", script, **usual, **metadata, **variables
        )

    def identify(self, issuer: str, audience: str) -> str:
        """Let the metadata server give a token of an issuer; return it."""
        now = int(system_runtime().now().timestamp())
        claims = {"iss": issuer, "aud": audience, "sub": "104857600123456789012"}
        mail = {"email": ACCOUNT, "email_verified": True, "iat": now, "exp": now + 3600}
        token = rsa_key("google").token(claims | mail)
        self.google.answers[IDENTITY] = CannedResponse(token.encode())
        return token

    def publishers(self) -> dict[str, str]:
        """Return what the index has of the project: names, and who has published each."""
        answer = self.server.get("/api/v1/projects/acme-core", self.server.token)
        return {file["filename"]: file["uploaded-by"] for file in answer.json()["files"]}

    def lay(self, version: str) -> None:
        """Lay a wheel of some version into `dist`, and nothing else."""
        shutil.rmtree(self.sandbox.folder / "dist", ignore_errors=True)
        (self.sandbox.folder / "dist").mkdir()
        package = make_wheel("acme-core", version)
        (self.sandbox.folder / "dist" / package.filename).write_bytes(package.body)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A runner whose Python has pip, build, twine and pytest already."""
    folder = tmp_path_factory.mktemp("runner")
    sandbox = new_sandbox(folder)
    sandbox.run(
        find_uv_bin(), "venv", "-q", "--allow-existing", "--python", sys.executable, sandbox.home
    )
    there = [program(client, "python") for client in ("pip", "build", "twine")]
    places = [str(site_packages(each)) for each in (*there, Path(sys.executable))]
    python = sandbox.home / "bin" / "python"
    (site_packages(python) / "clients.pth").write_text("\n".join(places))
    with running_issuer() as google:
        google.serve_keys(rsa_key("google"))
        config, tables = (text.replace("ISSUER", google.url) for text in (CONFIG, TABLES))
        with running_server(
            folder / "site", config=config, environment=google.environment, tables=tables
        ) as server:
            yield Runner(sandbox, server, google)


@pytest.mark.weekly
def test_a_tagged_commit_is_built_tested_and_published(runner: Runner) -> None:
    """A tagged commit is built, tested and published; nothing is under another tag."""
    build = steps(FILES / "cloudbuild.yaml")
    write_project(runner.sandbox.folder, "hatchling", "acme-core", "1.0")
    (runner.sandbox.folder / "tests").mkdir()
    test = "import acme_core\n\n\ndef test_it():\n    acme_core.main()\n"
    (runner.sandbox.folder / "tests" / "test_it.py").write_text(test)
    runner.identify("https://accounts.google.com", AUDIENCE)
    substitutions = {
        "_INDEX_URL": f"{runner.server.url}/",
        "_AUDIENCE": AUDIENCE,
        "_TAG_PREFIX": "v",
    }
    substitutions |= {"PIP_FIND_LINKS": str(wheels())}

    none = runner.run(build["build"]["script"], **substitutions)
    assert "--substitutions=TAG_NAME=v1.2" in none.stderr
    for name, step in build.items():
        done = runner.run(
            step["script"], **substitutions, TAG_NAME="v1.0", _TEST="python -m pytest tests"
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"

    names = ("acme_core-1.0-py3-none-any.whl", "acme_core-1.0.tar.gz")
    assert runner.publishers() == dict.fromkeys(names, f"serviceAccount:{ACCOUNT}")
    script = build["build"]["script"]
    check = re.findall(r"^python -P - .*?^END$", script, re.DOTALL | re.MULTILINE)[-1]
    other = runner.run(check, **substitutions, TAG_NAME="v1.1")
    assert "is version 1.0, and the tag says 1.1" in other.stderr
    (runner.sandbox.folder / "dist" / "more-1.0.tar.gz").touch()
    changed = runner.run(build["unchanged"]["script"])
    assert changed.returncode == 1
    assert "The tests have changed what lies in dist" in changed.stderr


@pytest.mark.parametrize(
    ("name", "trusted"), [("folder", ""), ("secret-manager", ""), ("cloudbuild", "yes")]
)
def test_each_way_publishes_without_a_secret(runner: Runner, name: str, trusted: str) -> None:
    """Each way of publishing publishes, and prints no secret."""
    version = f"2.{len(name)}"
    runner.lay(version)
    issuer = runner.google.url if trusted else "https://accounts.google.com"
    secret = runner.identify(issuer, "packages.example.com" if trusted else AUDIENCE)
    token = runner.server.make_token("acme-*")
    substitutions = {"_FOLDER": ".", "_INDEX_URL": runner.server.url, "_AUDIENCE": AUDIENCE}
    script = steps(FILES / f"{name}.yaml")["publish"]["script"]

    there = "cd dist\n" if name == "folder" else ""
    done = runner.run(there + script, **substitutions, _TRUSTED=trusted, INDEX_TOKEN=f"{token}\n")

    assert done.returncode == 0, done.stdout + done.stderr
    published = runner.publishers()[f"acme_core-{version}-py3-none-any.whl"]
    assert published.startswith("publisher:") is bool(trusted)
    assert secret not in done.stdout + done.stderr
    assert token not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "substitutions", "words"),
    [
        ("cloudbuild", {}, "_INDEX_URL: is not set"),
        ("folder", {}, "give the build the substitution _INDEX_URL or _STORE"),
        ("folder", {"_STORE": "gs://acme", "_WHL_NAME": "a-1"}, "There is no a-1.whl in"),
        *(
            (name, substitutions, words)
            for name in ("bucket", "folder")
            for substitutions, words in (
                ({"_STORE": "acme"}, "_STORE and _SITE are gs://BUCKET"),
                ({"_STORE": "gs://acme", "_SITE": "site"}, "_STORE and _SITE are gs://BUCKET"),
                ({"_STORE": "gs://acme", "_WHEELYARD": "wheelyard[gcs]==0.1"}, "_WHEELYARD: give"),
            )
        ),
        ("cloudbuild", TRUSTED | {"_INDEX_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        ("cloudbuild", TRUSTED | {"_INDEX_URL": "packages.example.com"}, "Is _INDEX_URL right?"),
    ],
)
def test_a_build_without_its_values_publishes_nowhere(
    runner: Runner, name: str, substitutions: dict[str, str], words: str
) -> None:
    """A build that is told too little publishes nowhere, and says what to give it."""
    runner.lay("3.0")
    script = steps(FILES / f"{name}.yaml")["publish"]["script"]

    done = runner.run(f"cd dist\n{script}" if name == "folder" else script, **substitutions)

    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_build_without_id_tokens_names_the_missing_role(runner: Runner) -> None:
    """A build whose account may not have ID tokens names the role that is missing."""
    runner.lay("3.0")
    runner.google.answers[IDENTITY] = CannedResponse(status=403)

    script = steps(FILES / "cloudbuild.yaml")["publish"]["script"]
    done = runner.run(script, _INDEX_URL=runner.server.url)

    assert "roles/iam.serviceAccountOpenIdTokenCreator on itself" in done.stderr


def test_jobs_that_publish(runner: Runner) -> None:
    """The jobs on GitHub and GitLab hand uv what was built, and nothing that came in between."""
    jobs = read(GITHUB)["jobs"]
    (taking,) = [step["run"] for step in jobs["build"]["steps"] if step.get("id") == "digests"]
    publish = jobs["publish"]["steps"][-1]["run"]
    uv = runner.sandbox.home / "bin" / "uv"
    uv.write_text('#!/bin/sh\necho "uv $*"\n')
    uv.chmod(0o755)
    runner.lay("3.0")
    output = runner.sandbox.folder / "output"
    runner.run(taking, GITHUB_OUTPUT=str(output))
    digests = output.read_text().removeprefix("digests=").strip()

    done = runner.run(publish, WHEELYARD_URL=f"{AUDIENCE}/", DIGESTS=digests)
    assert f"--publish-url {AUDIENCE}/legacy/ dist/acme_core-3.0" in done.stdout, done.stderr
    missing = runner.run(publish, WHEELYARD_URL="")
    assert "give the repository a variable WHEELYARD_URL" in missing.stderr
    gitlab = "\n".join(read(GITLAB)["publish"]["script"])
    done = runner.run(gitlab, INDEX_HOST="packages.example.com", INDEX_STATEMENT="secret")
    assert "uv publish" in done.stdout, done.stderr
    assert f"{AUDIENCE}/legacy/" in done.stdout
    (runner.sandbox.folder / "dist" / "more-1.0.tar.gz").touch()
    more = runner.run(publish, WHEELYARD_URL=AUDIENCE, DIGESTS=digests)
    assert more.returncode == 1
    assert "is not what the job 'build' has made" in more.stderr
