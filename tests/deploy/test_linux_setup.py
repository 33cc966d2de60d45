"""
What becomes of a machine when `install.sh` does not come to its end, or what it installed does not.

systemd itself does not run there: what stands for it does what a file says.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.clients.harness import REPOSITORY
from tests.clients.servers import TOKEN
from tests.deploy.linux_machine import Machine, bare_machine
from tests.deploy.linux_unit import identity

PAGE = REPOSITORY / "docs" / "deploy" / "linux.md"
SCRIPT = "deploy/linux/install.sh"
RHEL = "Defaults    secure_path = /sbin:/bin:/usr/sbin:/usr/bin\n"
DEBIAN = 'Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n'
SYSTEMCTL = """\
#!/bin/sh
echo "$@" >>/run/systemd/asked
case $1 in is-active) exit "$(cat /run/systemd/state)" ;; esac
"""
History = tuple[Machine, CompletedProcess[str], CompletedProcess[str]]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A machine, on which the first run has failed at the store, and the second went well."""
    if os.geteuid() != 0:
        pytest.skip("a user can be made by root only")
    machine = bare_machine(tmp_path_factory.mktemp("machine"))
    (machine.root / "system").mkdir()
    commands = machine.root / "commands"  # what /usr/bin is there, as that of this machine is shut
    commands.mkdir()
    for program in Path("/usr/bin").iterdir():
        (commands / program.name).symlink_to(f"/system/{program.name}")
    machine.mounts = {"/system": Path("/usr/bin"), "/usr/bin": commands}
    (machine.root / "etc" / "sudoers").write_text(RHEL)
    kept = machine.root / "var" / "lib" / "wheelyard" / "projects"
    kept.mkdir(parents=True)
    kept.parent.joinpath("wheelyard.json").write_text("{}")
    kept.parent.joinpath("wheelyard.json").chmod(0o600)

    refused = machine.call(SCRIPT)
    assert not (machine.root / "opt" / "wheelyard").is_symlink()
    (line,) = re.findall(r"chown -R wheelyard: \S+$", refused.stderr, re.MULTILINE)
    machine.call(f"{line} && rm /var/lib/wheelyard/wheelyard.json")
    return machine, refused, machine.call(SCRIPT)


@contextmanager
def systemd(machine: Machine, state: int) -> Iterator[Path]:
    """Let something stand for systemd, to which the service is active (0) or not; yield its log."""
    folder = machine.root / "run" / "systemd"
    (folder / "system").mkdir(parents=True)
    (folder / "state").write_text(str(state))
    for name, text in (("systemctl", SYSTEMCTL), ("sleep", "#!/bin/sh\n")):
        (machine.programs / name).write_text(text)
        (machine.programs / name).chmod(0o755)
    time.sleep(1.1)  # the name of an environment is the second in which it was made
    try:
        yield folder / "asked"
    finally:
        shutil.rmtree(folder)
        (machine.programs / "systemctl").unlink()
        (machine.programs / "sleep").unlink()


@pytest.mark.slow
def test_run_again(history: History) -> None:
    """After a run that could not write the store, the next one makes the token that is missing."""
    _, refused, done = history

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "there is no first token" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert TOKEN.fullmatch(done.stdout.strip())


@pytest.mark.slow
def test_sudo_finds_it(history: History) -> None:
    """Where sudo does not look into `/usr/local/bin`, the command has a link where it does look."""
    machine, _, _ = history

    link = machine.root / "commands" / "wheelyard"
    assert str(link.readlink()) == "/usr/local/bin/wheelyard"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ('[store]\nlocation = "packages"', "packages"),
        ('[store]\nlocation = "./packages"', "packages"),
        ("[access]\nprivate = true", "wheelyard-data"),
        ('[store]\nlocation = "/srv"\n[access]\ncredentials_store = "tokens"', "tokens"),
    ],
)
def test_relative_place(history: History, setting: str, place: str) -> None:
    """A place that depends on where one types is refused, with the one that the service takes."""
    machine, _, _ = history
    with settings(machine, setting):
        done = machine.call("cd /tmp && wheelyard token create ci; ls -A /tmp")

    assert done.stdout == ""
    assert f"/var/lib/wheelyard/{place}; " in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_places_that_are_whole(history: History) -> None:
    """A whole path is taken, and so are files that are named from where one types."""
    machine, _, _ = history
    with settings(machine, '[store]\nlocation = "/var/lib/wheelyard"'):
        done = machine.call("cd /tmp && wheelyard upload none.whl")

    assert "service takes" not in done.stderr
    assert "none.whl" in done.stderr


@contextmanager
def settings(machine: Machine, text: str) -> Iterator[None]:
    """Let the machine have other settings."""
    file = machine.root / "etc" / "wheelyard" / "wheelyard.toml"
    before = file.read_text()
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(before)


@pytest.mark.slow
def test_settings_that_stop_the_new_one(history: History) -> None:
    """An update that would not take the settings says so, and leaves all as it is."""
    machine, _, _ = history
    before = (machine.root / "opt" / "wheelyard").readlink()
    environments = sorted(machine.root.glob("opt/wheelyard.d/*"))
    (machine.programs / "wheelyard").write_text("#!/bin/sh\n# the one before\n")
    with settings(machine, "[store]\nplace = 1\n"), systemd(machine, 0) as asked:
        done = machine.call(SCRIPT)
        assert not asked.exists()

    assert done.returncode == 1
    assert "place" in done.stderr.splitlines()[-2]
    assert "these settings stop what would be installed" in done.stderr.splitlines()[-1]
    assert (machine.root / "opt" / "wheelyard").readlink() == before
    assert sorted(machine.root.glob("opt/wheelyard.d/*")) == environments
    assert "the one before" in (machine.programs / "wheelyard").read_text()
    shutil.copy(REPOSITORY / "deploy" / "linux" / "wheelyard", machine.programs / "wheelyard")


@pytest.mark.slow
def test_service_that_does_not_stay(history: History) -> None:
    """A service that ends after its start makes the script say so; the last one that ran stays."""
    machine, _, _ = history
    before = (machine.root / "opt" / "wheelyard").readlink()
    with systemd(machine, 3) as asked:
        done = machine.call(SCRIPT)
        assert "restart wheelyard" in asked.read_text()
    with systemd(machine, 3):
        machine.call(SCRIPT)

    assert done.returncode == 1
    assert "done" not in done.stderr
    assert f"ln -sfn {before} /opt/wheelyard" in done.stderr
    assert "journalctl --unit wheelyard" in done.stderr.splitlines()[-1]
    assert (machine.root / str(before).lstrip("/")).is_dir()


@pytest.mark.slow
def test_removed_and_back(history: History) -> None:
    """What the page removes can come back with its packages, under a user of another number."""
    machine, _, _ = history
    page = PAGE.read_text()
    removing = page[page.index("### Removing it\n") : page.index("## Compute Engine\n")]
    away, _, _, back, _ = re.findall(r"```sh\n(.*?)```", removing, re.DOTALL)
    sudo = 'sudo() { "$@"; }\n'
    (machine.root / "var/lib/wheelyard/keep").write_text("kept")
    (machine.root / "etc" / "sudoers").write_text(DEBIAN)
    passwd = machine.root / "etc" / "passwd"
    with systemd(machine, 0) as asked:
        gone = machine.call(f"set -e; {sudo}{away}")
        assert gone.returncode == 0, gone.stderr
        assert "disable --now wheelyard" in asked.read_text()
        assert list((machine.root / "opt").iterdir()) == []
        before = identity(passwd, "wheelyard")
        machine.call("userdel wheelyard; groupdel wheelyard; useradd --system --user-group other")
        done = machine.call(sudo + back)

    assert done.returncode == 0, done.stderr
    assert "done; it runs" in done.stderr
    assert "cannot be read: Permission denied" in done.stderr
    assert done.stderr.count("chown -R") == 1  # by the first of the two runs
    assert identity(passwd, "wheelyard") != before
    assert TOKEN.search(done.stdout)
    assert machine.call("wheelyard token list").stdout.count("read,upload,manage") == 2
    assert not (machine.root / "commands" / "wheelyard").is_symlink()
