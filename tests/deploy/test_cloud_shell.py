"""Installing from Cloud Shell and removing again: which lines for gcloud are typed, and when."""

import os
import re
import sys
from dataclasses import dataclass
from subprocess import CompletedProcess

import pytest

from tests.clients.harness import REPOSITORY, Sandbox
from tests.deploy.gcloud import wrong

FOLDER = REPOSITORY / "deploy" / "cloud-shell"
PACKAGES = "acme-wheelyard"
BUCKETS = (PACKAGES, f"{PACKAGES}-credentials", f"{PACKAGES}-builds")
NAMES = ("wheelyard", "wheelyard-publisher", "wheelyard-builder")
ACCOUNTS = [f"{name}@acme.iam.gserviceaccount.com" for name in NAMES]
SECRETS = ("wheelyard-toml", "wheelyard-index-toml")
EVERYTHING = "\n".join((*BUCKETS, *ACCOUNTS, "wheelyard", "wheelyardSigner", *SECRETS))
"""A command that every installed gcloud lists."""
PROGRAMS = {
    "gcloud": """\
echo "$*" >>asked
[ -z "$FAILS" ] || ! echo "$*" | grep -Eq "$FAILS" || { echo "the network is gone" >&2; exit 1; }
case "$*" in
  "projects describe"*) echo 123 ;;
  "projects get-iam-policy"*) echo "$ACCOUNTS" ;;
  "artifacts docker images describe"*) [ -n "$THERE" ] ;;
  "config get account") echo ana@acme.dev ;;
  *labels.made-by*) echo "$MADE_BY" ;;
  *uniform_bucket_level_access,*) printf "$CLOSED" ;;
  "secrets versions access"*) echo "$SETTINGS" ;;
  *" list "*) echo "$THERE" ;;
  *" replace - "* | *--data-file=-*) cat >>sent ;;
esac
""",
    "curl": 'exit "$ANSWERS"\n',
    # an environment into which nothing can be installed, at once
    "python3": f"""\
[ "$2" = venv ] || exec {sys.executable} "$@"
mkdir -p "$4/bin" && touch "$4/bin/pip" && cp "${{0%python3}}product" "$4/bin/wheelyard"
chmod 755 "$4/bin/pip"
""",
    "product": """\
case "$*" in
  "token list --json") [ -n "$THERE" ] || { echo "There is no store" >&2; exit 1; }
    echo '{"tokens":[{"state":"active"}]}' ;;
  "token create"*) echo "wyd_first $WHEELYARD_STORE" ;;
esac
""",
}


@dataclass(frozen=True)
class CloudShell:
    """A Cloud Shell whose gcloud only logs its command lines."""

    sandbox: Sandbox

    def run(self, script: str, *words: str, **more: str) -> CompletedProcess[str]:
        """Run one of the scripts on an empty project."""
        defaults = {"PROJECT_ID": "acme", "PAUSE": "0", "ANSWERS": "0", "FAILS": "", "THERE": ""}
        state = {"MADE_BY": "wheelyard", "CLOSED": r"True\tenforced", "ACCOUNTS": ""}
        state["SETTINGS"] = "[access]"
        (self.sandbox.folder / "asked").write_text("")
        path = f"{self.sandbox.folder / 'bin'}{os.pathsep}{self.sandbox.environment()['PATH']}"
        return self.sandbox.attempt(
            FOLDER / script, *words, **defaults | state | {"PATH": path} | more
        )

    @property
    def asked(self) -> list[str]:
        """Every line for gcloud of the last run."""
        return (self.sandbox.folder / "asked").read_text().splitlines()

    def changed(self) -> list[str]:
        """Return the lines that make or remove something, each up to what it is about."""
        verbs = r"\b(?:create|delete|submit|replace|rm)\b"
        return [line for line in self.asked if re.search(verbs, line)]


@pytest.fixture
def shell(sandbox: Sandbox) -> CloudShell:
    """A shell with the programs that the scripts start."""
    (sandbox.folder / "bin").mkdir()
    for name, text in PROGRAMS.items():
        (sandbox.folder / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (sandbox.folder / "bin" / name).chmod(0o755)
    return CloudShell(sandbox)


def test_one_line_installs_everything(shell: CloudShell) -> None:
    """One line makes buckets, accounts, image, settings and service, and prints a first token."""
    done = shell.run("install.sh")

    assert done.returncode == 0, done.stderr
    assert [each for line in shell.asked for each in wrong(f"gcloud {line}")] == []
    changed_lines = "\n".join(shell.changed())
    for each in (*(f"create gs://{bucket} " for bucket in BUCKETS), *NAMES):
        assert each in changed_lines
    secrets = [f"secrets create {name} " for name in SECRETS]
    for text in ("builds submit", *secrets, "run services replace"):
        assert text in changed_lines
    sent = (shell.sandbox.folder / "sent").read_text()
    assert f'"gs://{PACKAGES}-credentials"' in sent
    assert '"serviceAccount:wheelyard-publisher@acme.iam.gserviceaccount.com"' in sent
    assert "kind: Service" in sent
    assert f"wyd_first gs://{PACKAGES}" in done.stdout
    assert "export WHEELYARD_STORE=gs://acme-wheelyard" in done.stdout


def test_a_second_run_changes_nothing(shell: CloudShell) -> None:
    """A second run makes nothing that is there, and prints no token."""
    done = shell.run("install.sh", THERE=EVERYTHING)

    assert done.returncode == 0, done.stderr
    usual = [line for line in shell.changed() if "replace" in line or "submit" in line]
    assert shell.changed() == usual
    assert "wyd_" not in done.stdout
    assert "was not made here" not in done.stdout


@pytest.mark.parametrize("table", ["[[grant]]", " [ groups ]", "[[publisher]]"])
def test_settings_that_describe_the_index(shell: CloudShell, table: str) -> None:
    """Settings of an earlier version that describe the index have to be divided first."""
    done = shell.run("install.sh", THERE="wheelyard-toml", SETTINGS=f"[access]\n{table}\na = 1")

    assert done.returncode == 1
    (title,) = re.findall(r'says in "(.*)"', done.stderr)
    assert f"\n### {title}\n" in (REPOSITORY / "docs/deploy/cloud-run.md").read_text()
    assert not any("run services" in line or "secrets" in line for line in shell.changed())


def test_a_grant_that_was_taken_away_stays_away(shell: CloudShell) -> None:
    """Where earlier settings let nobody publish, an update lets nobody publish."""
    done = shell.run("install.sh", THERE="wheelyard-toml")

    assert done.returncode == 0, done.stderr
    secrets = [line for line in shell.changed() if "secrets" in line]
    assert secrets == ["secrets create wheelyard-index-toml --data-file=-"]
    assert "grant" not in (shell.sandbox.folder / "sent").read_text()


@pytest.mark.parametrize("closed", [r"False\tenforced", r"True\tinherited"])
def test_an_open_bucket_is_refused(shell: CloudShell, closed: str) -> None:
    """A bucket that was there and can be opened to the public is refused, with the line to type."""
    done = shell.run("install.sh", THERE=BUCKETS[1], CLOSED=closed)

    assert done.returncode == 1
    line = f"update gs://{BUCKETS[1]} --uniform-bucket-level-access --public-access-prevention"
    assert line in done.stderr
    assert not any("run services" in line for line in shell.changed())


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("buckets update", "update-labels=made-by=wheelyard"),
        ("iam roles (undelete|create)", "export SIGNER_ROLE_ID=wheelyardSigner2"),
        ("services replace", "the network is gone"),
    ],
)
def test_failure_in_the_middle(shell: CloudShell, step: str, words: str) -> None:
    """Wherever an installation breaks off, it goes no further, and says what can be done."""
    done = shell.run("install.sh", FAILS=step)

    assert done.returncode != 0
    assert words in done.stderr
    assert re.search(step, shell.asked[-1])
    assert "wyd_" not in done.stdout


def test_service_that_does_not_answer(shell: CloudShell) -> None:
    """An installation whose index does not answer fails, with the line that shows its log."""
    done = shell.run("install.sh", ANSWERS="22")

    assert done.returncode == 1
    assert "gcloud run services logs read wheelyard" in done.stderr


@pytest.mark.parametrize("option", ["", "--with-packages"])
@pytest.mark.parametrize("made_by", ["wheelyard", ""])
def test_removing_keeps_packages_and_tokens(shell: CloudShell, option: str, made_by: str) -> None:
    """A removal keeps packages and tokens, unless asked for, and buckets of others."""
    bound = "\n".join(f"serviceAccount:{account}" for account in ACCOUNTS)
    variables = {"THERE": EVERYTHING, "MADE_BY": made_by, "ACCOUNTS": bound}
    done = shell.run("remove.sh", *option.split(), **variables)

    assert done.returncode == 0, done.stderr
    assert [each for line in shell.asked for each in wrong(f"gcloud {line}")] == []
    changed = "\n".join(shell.changed())
    secrets = [f"secrets delete {name}" for name in SECRETS]
    for text in ("run services delete", *secrets, "repositories delete", *ACCOUNTS):
        assert text in changed
    removed = re.findall(r"storage rm .* gs://(\S+)", changed)
    ours = [BUCKETS[2], *(BUCKETS[:2] if option else ())]
    assert removed == (ours if made_by else [])
    assert done.stdout.count(" stays") == len(BUCKETS) - len(removed)


@pytest.mark.parametrize("step", ["run services list", "storage buckets list", "storage rm"])
def test_removal_that_breaks_off(shell: CloudShell, step: str) -> None:
    """A removal that cannot see or remove a thing ends with an error, there."""
    done = shell.run("remove.sh", "--with-packages", THERE=EVERYTHING, FAILS=step)

    assert done.returncode != 0
    assert "the network is gone" in done.stderr
    assert step in shell.asked[-1]


def test_nothing_is_asked(shell: CloudShell) -> None:
    """Without a project, and with an option that there is not, nothing is done."""
    for done, words in (
        (shell.run("install.sh", PROJECT_ID=""), "export PROJECT_ID="),
        (shell.run("remove.sh", PROJECT_ID=""), "export PROJECT_ID="),
        (shell.run("remove.sh", "--with-package"), "usage:"),
    ):
        assert done.returncode != 0
        assert words in done.stderr
        assert shell.asked == []
