"""The page from an empty machine to dev, prod and CI: its lines, run on a bare Debian."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.clients.harness import REPOSITORY, Sandbox, new_sandbox, program, wheelyard
from tests.clients.projects import write_project
from tests.deploy import containers
from tests.deploy.containers import Buildah, Container
from tests.deploy.running import Unit
from tests.http_server import is_listening
from tests.once import made_once
from tests.ports import free_port
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.waiting import until
from wheelyard.settings.load import load_settings

PAGE: Final = REPOSITORY / "docs" / "dev-prod-ci.md"
HOST: Final = "pypi.acme.dev"
PASSWORD: Final = "correct-horse"
PROGRAMS: Final = {
    "apt": "",
    "git": "mkdir wheelyard\ncp -R /clone/. wheelyard\n",
    "sudo": 'exec "$@"\n',
    "systemctl": "",
}
"""What stands for Debian's programs: the network and systemd are not there."""
FLIT: Final = "flit_core==3.12.0"


@dataclass(frozen=True)
class Block:
    """A block of the page."""

    section: int
    language: str
    text: str


def read_page() -> list[Block]:
    """Return the blocks of the page, with the number of the section that each is in."""
    blocks = list[Block]()
    section = 0
    pattern = r"^## (\d)|^```(\w+)\n(.*?)^```"
    for match in re.finditer(pattern, PAGE.read_text(), re.DOTALL | re.MULTILINE):
        if match[1]:
            section = int(match[1])
        else:
            blocks.append(Block(section, match[2], match[3]))
    return blocks


def files_of_page() -> dict[str, str]:
    """Return the files that the page has whole, by their paths."""
    blocks = [block.text for block in read_page() if block.language == "toml"]
    return {text.partition("\n")[0].removeprefix("# "): text for text in blocks}


def test_its_files_are_in_force_as_they_stand(tmp_path: Path) -> None:
    """The page's settings are valid, and its index file can be applied to an empty store."""
    settings_file, index_file = files_of_page().items()
    assert settings_file[0] == "/etc/wheelyard/wheelyard.toml"
    assert index_file[0] == "/etc/wheelyard/index.toml"
    sandbox = new_sandbox(tmp_path)
    for path, text in (settings_file, index_file):
        (sandbox.folder / Path(path).name).write_text(text)
    (sandbox.folder / "htpasswd").write_text("")
    apply = ("apply", "index.toml", "--store", "store")

    load_settings(file=sandbox.folder / "wheelyard.toml", environ={})
    printed = wheelyard(sandbox, *apply)

    assert "+ index prod" in printed
    assert "+ publisher gitlab-acme-tools" in printed
    assert "nothing to change" in wheelyard(sandbox, *apply, "--again")


def test_its_jobs_publish_where_the_file_lets_them() -> None:
    """The jobs of both services publish to dev, from the environment that the publishers name."""
    github, gitlab = (block.text for block in read_page() if block.language == "yaml")
    jobs = [yaml.safe_load(github)["jobs"]["publish"], yaml.safe_load(gitlab)["publish"]]
    tables = tomllib.loads(files_of_page()["/etc/wheelyard/index.toml"])

    for job, publisher in zip(jobs, tables["publisher"], strict=True):
        assert job["environment"] == publisher["environment"]
        assert publisher["index"] == "dev"
    for text in (github, gitlab):
        assert f"uv publish --trusted-publishing always --publish-url https://{HOST}/dev/" in text


@dataclass(frozen=True)
class Walk:
    """Types the lines of the page, with other names for the host, the port and the upstream."""

    machine: Container
    root: Path
    sandbox: Sandbox
    port: int
    upstream: FakeUpstream

    def text(self, text: str) -> str:
        """Return a text of the page as it is typed here."""
        text = text.replace(f"https://{HOST}", f"https://localhost:{self.port}")
        text = text.replace(HOST, "localhost").replace("port = 443", f"port = {self.port}")
        text = text.replace("YOUR-PASSWORD", PASSWORD)
        return text.replace(
            'url = "https://index.example.com/simple/"\n',
            f'url = "{self.upstream.url}"\nallow_private_networks = ["127.0.0.0/8"]\n',
        )

    def type_on_server(self, text: str, folder: str) -> str:
        """Run lines as root of the machine, with the password as standard input."""
        script = f"cd {folder}\n{self.text(text)}"
        return self.machine.output("bash", "-euc", f"exec < /srv/password\n{script}")

    def type_here(self, text: str, folder: Path) -> str:
        """Run lines as somebody with uv and curl."""
        bash = shutil.which("bash") or "bash"
        path = f"{program('uv').parent}:{self.sandbox.environment()['PATH']}"
        return self.sandbox.at(folder).run(bash, "-euc", self.text(text), PATH=path)

    def write_files(self) -> None:
        """Write the files that the page has whole."""
        for path, text in files_of_page().items():
            (self.root / path.removeprefix("/")).write_text(self.text(text))


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """A bare Debian with nothing of wheelyard, and somebody's own machine."""
    containers.require_buildah()
    buildah = Buildah(tmp_path / "buildah")
    name = buildah.new_base("bash", "curl", "openssl")
    spool = tmp_path / "spool"
    spool.mkdir()
    spool.chmod(0o1777)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/run/wheels"}
    path = "/srv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    mounts = {"/run/wheels": containers.wheels(), "/tmp": spool}  # noqa: S108
    machine = Container(buildah, name, mounts=mounts, variables={**pip, "PATH": path})
    root = machine.root
    files = {f"srv/bin/{each}": f"#!/bin/sh\n{text}" for each, text in PROGRAMS.items()}
    files |= {f"etc/{each}": "" for each in ("shadow", "gshadow", "login.defs", "sudoers")}
    files |= {"srv/password": f"{PASSWORD}\n", "etc/hosts": "127.0.0.1 localhost\n"}
    files |= {"etc/ssl/openssl.cnf": "[req]\ndistinguished_name = req\n"}
    files |= {"etc/systemd/system/other.service": "", "etc/cron.d/other": "", "mnt/other": ""}
    containers.write_files(root, files)
    containers.copy_of_clone(containers.LINUX_CONTEXT, root / "clone")
    with running_fake_upstream() as upstream:
        upstream.publish_folder(made_once("flit-wheel", [FLIT, sys.version], fetch_backend))
        yield Walk(machine, root, new_sandbox(tmp_path / "person"), free_port(), upstream)


def fetch_backend(folder: Path) -> None:
    """Fetch the wheel of a build backend, which a public index has."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", FLIT]
    done = subprocess.run(
        [*command, f"--dest={folder}"], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"the build backend cannot be fetched: {done.stderr[-200:]}")


@contextmanager
def running_service(walk: Walk, log: Path) -> Iterator[None]:
    """Run what systemd would run, with the user and the variables of the unit."""
    unit = Unit((walk.root / "etc/systemd/system/wheelyard.service").read_text())
    service = replace(
        walk.machine,
        user=unit.one("User"),
        variables={**walk.machine.variables, **unit.environment()},
    )
    with service.running(log, *unit.one("ExecStart").split()) as process:
        until(lambda: is_listening(("127.0.0.1", walk.port)), log.read_text, process)
        yield


@pytest.mark.weekly
def test_its_lines_lead_from_an_empty_machine_to_prod(walk: Walk, tmp_path: Path) -> None:
    """The lines of the page, one after another, install, publish, promote and back up."""
    blocks = [block for block in read_page() if block.language == "sh"]
    by_section = {
        number: [block.text for block in blocks if block.section == number]
        for number in range(1, 9)
    }
    (install,) = by_section[1]
    assert re.search(r"^wyd_", walk.type_on_server(install, "/root"), re.MULTILINE)
    for text in by_section[2]:
        walk.type_on_server(text, "/root/wheelyard")
    walk.write_files()
    (into_force,) = by_section[5]
    before, restart, after = into_force.partition("sudo systemctl restart wheelyard\n")
    assert restart
    # one line of standard input is for one password
    answers = [walk.type_on_server(line, "/root/wheelyard") for line in before.splitlines()]
    assert "settings: /etc/wheelyard/wheelyard.toml" in answers[-2]
    assert "+ index prod" in answers[-1]
    with running_service(walk, tmp_path / "log.txt"):
        assert "nothing to change" in walk.type_on_server(after, "/root/wheelyard")
        publish_and_promote(walk, by_section[6], tmp_path / "acme-core")
        (backup,) = by_section[8]
        assert "clean" in walk.type_on_server(backup, "/root/wheelyard")
    cron = (walk.root / "etc/cron.d/wheelyard-backup").read_text()
    walk.type_on_server(cron.partition(" root ")[2], "/")


def publish_and_promote(walk: Walk, blocks: list[str], folder: Path) -> None:
    """Type what the page types on somebody's own machine, in a folder of theirs."""
    write_project(folder, "flit-core", "acme-core", "1.0")
    shutil.copy(walk.root / "root/wheelyard/ca.pem", folder)
    # each block is typed into the same shell
    printed = walk.type_here("".join(blocks), folder)
    assert printed.count("acme-core==1.0") >= 2
    assert '"to":"prod"' in printed.replace(" ", "")
