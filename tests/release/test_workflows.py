"""The workflows in `.github`: what the forge takes, what they may do, and their scripts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.harness import REPOSITORY, Sandbox, program, system_program
from tests.deploy.running import assert_valid

pytestmark = pytest.mark.integration

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
ACTION = re.compile(r"uses: (\S+?)@(\S+)(.*)")
SUBSTITUTE = """\
python() {{ for file in "${{@:4}}"; do echo signed > "$file.publish.attestation"; done; }}
{name}() {{
    # a program that left its input unread would end the one that writes it, and so the script
    [[ $* != *--password-stdin* ]] || cat > password
    printf '%s\\n' "$@" > called
}}
{script}"""
"""A script in which nothing is signed, and nobody is called but files are written."""


def jobs(name: str) -> dict[str, Any]:
    """Return the jobs of a workflow."""
    read: dict[str, Any] = yaml.safe_load((WORKFLOWS[0].parent / f"{name}.yml").read_text())
    return dict(read["jobs"])


def scripts(job: dict[str, Any]) -> list[str]:
    """Return the scripts of a job."""
    return [step["run"] for step in job.get("steps", ()) if "run" in step]


def test_the_forge_takes_every_workflow(sandbox: Sandbox) -> None:
    """Every workflow matches the published schema, and zizmor finds nothing that it gives away."""
    assert_valid(sandbox, "vendor.github-workflows", *WORKFLOWS)
    sandbox.run(program("deploy", "zizmor"), "--offline", "--no-progress", *WORKFLOWS)


def test_every_action_is_pinned() -> None:
    """An action is named by a commit, with its version beside it, and always by the same one."""
    used = [match.groups() for path in WORKFLOWS for match in ACTION.finditer(path.read_text())]

    assert [name for name, ref, _ in used if not re.fullmatch(r"[0-9a-f]{40}", ref)] == []
    assert [name for name, _, tail in used if not re.fullmatch(r" +# v\d+\.\d+\.\d+", tail)] == []
    assert len({name for name, *_ in used}) == len(set(used))


def test_only_who_publishes_may_do_something() -> None:
    """What may write anywhere, or identify itself, waits for a person, and builds nothing."""
    release = jobs("release")
    strong = {
        name
        for name, job in release.items()
        if job["permissions"].keys() - {"contents"} or job["permissions"]["contents"] != "read"
    }

    assert [path.name for path in WORKFLOWS if "permissions: {}" not in path.read_text()] == []
    assert [path.name for path in WORKFLOWS if "secrets." in path.read_text()] == []
    assert strong == {name for name, job in release.items() if "environment" in job}
    assert strong == {"publish", "push", "forge"}
    assert "tools." not in str([release[name] for name in strong])


def test_scripts_take_no_text_of_others() -> None:
    """No script has an expression in it: what others can choose comes as a variable."""
    for path in WORKFLOWS:
        for name, job in jobs(path.stem).items():
            assert [script for script in scripts(job) if "${{" in script] == [], (path, name)


@pytest.fixture
def dist(sandbox: Sandbox) -> Path:
    """What the job that builds hands to the others."""
    (sandbox.folder / "release-notes.md").write_text("- All of it.\n")
    names = ("wheelyard-0.2.0", "wheelyard_keyring-0.2.0")
    files = [f"{name}{end}" for name in names for end in ("-py3-none-any.whl", ".tar.gz")]
    for name in (*files, "wheelyard-0.2.0.cdx.json"):
        (sandbox.folder / name).write_text(name)
    sums = sandbox.run("sha256sum", *files, "wheelyard-0.2.0.cdx.json")
    (sandbox.folder / "SHA256SUMS").write_text(sums)
    (sandbox.folder / "wheelyard-0.2.0-image-amd64.cdx.json").touch()
    return sandbox.folder


def call(sandbox: Sandbox, script: str, name: str, **variables: str) -> list[str]:
    """Run a script; return the arguments that it gives to a program, or its error."""
    whole = SUBSTITUTE.format(name=name, script=script)
    bash = (system_program("bash"), "--noprofile", "--norc", "-eo", "pipefail", "-c", whole)
    done = sandbox.attempt(*bash, GITHUB_REF_NAME="v0.2.0", **variables)
    if done.returncode:
        return [f"ended with {done.returncode}: {done.stderr}{done.stdout}"]
    return (sandbox.folder / "called").read_text().splitlines()


@pytest.mark.parametrize("package", ["wheelyard", "wheelyard_keyring"])
def test_a_package_is_published_with_its_attestations(
    sandbox: Sandbox, dist: Path, package: str
) -> None:
    """Each job publishes its package and no other, each file with what attests it."""
    script = scripts(jobs("release")["publish"])[-1]
    wheel, archive = f"{package}-0.2.0-py3-none-any.whl", f"{package}-0.2.0.tar.gz"

    called = call(sandbox, script, "uv", PACKAGE=package)

    assert called[:3] == ["publish", "--trusted-publishing", "always"]
    files = [wheel, f"{wheel}.publish.attestation", archive, f"{archive}.publish.attestation"]
    assert called[3:] == files
    (dist / archive).write_text("other bytes")
    assert f"{archive}: FAILED" in call(sandbox, script, "uv", PACKAGE=package)[0]


@pytest.mark.parametrize(
    ("tag", "kind"),
    [("v0.2.0", "--latest"), ("v1.0.0rc1", "--prerelease"), ("v1.0.0b2", "--prerelease")],
)
@pytest.mark.usefixtures("dist")
def test_the_release_of_the_forge(sandbox: Sandbox, tag: str, kind: str) -> None:
    """The release of the forge has all files, the digests and that part of the changelog."""
    script = scripts(jobs("release")["forge"])[-1]

    called = call(sandbox, script.replace("$GITHUB_REF_NAME", tag), "gh")

    assert called[:6] == ["release", "create", tag, "--verify-tag", kind, "--title"]
    assert called[7:9] == ["--notes-file", "release-notes.md"]
    sums = (sandbox.folder / "SHA256SUMS").read_text().splitlines()
    assert [line.split()[1] for line in sums[-1:]] == ["wheelyard-0.2.0-image-amd64.cdx.json"]
    assert called[9:] == [
        "SHA256SUMS",
        *sorted(path.name for path in sandbox.folder.glob("wheelyard*")),
    ]


def test_the_image_is_pushed_as_it_is(sandbox: Sandbox) -> None:
    """The archive is pushed under the version, and its digest is what is attested."""
    step = next(step for step in jobs("release")["push"]["steps"] if step.get("id") == "push")
    (sandbox.folder / "digest").write_text("sha256:0123")
    output = sandbox.folder / "output"

    called = call(
        sandbox, step["run"], "skopeo", TOKEN="t", GITHUB_ACTOR="ada", GITHUB_OUTPUT=str(output)
    )

    assert called[:5] == ["copy", "--all", "--preserve-digests", "--digestfile", "digest"]
    archive = "oci-archive:wheelyard-0.2.0-image.tar"
    assert called[5:] == [archive, "docker://ghcr.io/wheelyard/wheelyard:0.2.0"]
    assert (sandbox.folder / "password").read_text() == "t"
    assert output.read_text() == "digest=sha256:0123\n"
    # the action that pushes the attestation reads no other file
    assert "export REGISTRY_AUTH_FILE=$HOME/.docker/config.json" in step["run"]
