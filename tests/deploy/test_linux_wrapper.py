"""The command `wheelyard` of a machine: it reads variables and places as the service does."""

import os
import stat
from pathlib import Path

import pytest

from tests.deploy.kitchen_walls import PASSWD, make_room
from tests.deploy.linux_machine import Machine

WRAPPER = "/clone/deploy/linux/wheelyard"
READ = r"""# a comment
;WHEELYARD_A=not this
A=1
  WHEELYARD_STORE=gs://acme-packages
CR=2{cr}
ENDS=two  words {tab}
 SPACED = x = y
DOUBLE="it's, with  space "
SINGLE='a\b "c" '
INSIDE=a"b"'c
EMPTY=
NONE=''
HASH=#no comment
my-var=x
export NAME=5
 9=nine
no sign
=nothing
LAST=end""".format(cr="\r", tab="\t")
EXPECTED = {
    "A": "1",
    "WHEELYARD_STORE": "gs://acme-packages",
    "CR": "2",
    "ENDS": "two  words",
    "SPACED": "x = y",
    "DOUBLE": "it's, with  space ",
    "SINGLE": 'a\\b "c" ',
    "INSIDE": 'a"b"\'c',
    "EMPTY": "",
    "NONE": "",
    "HASH": "#no comment",
    "LAST": "end",
}
LEFT_OUT = (14, 15, 16, 17, 18)
"""The lines that hold no variable."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine whose `wheelyard` prints the variables that it is given."""
    if os.geteuid() != 0:
        pytest.skip("another user can be taken by root only")
    folder = tmp_path_factory.mktemp("desk")
    root = folder / "root"
    make_room(root)
    for name in ("clone", "run/wheels", "etc/wheelyard", "opt/wheelyard/bin"):
        (root / name).mkdir(parents=True)
    (root / "etc" / "passwd").write_text(f"{PASSWD}wheelyard:x:990:990::/:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nwheelyard:x:990:\n")
    program = root / "opt" / "wheelyard" / "bin" / "wheelyard"
    program.write_text("#!/bin/sh\nexec env\n")
    program.chmod(0o755)
    for place in (folder, root, program.parent):
        place.chmod(place.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    (folder / "programs").mkdir()
    return bare_copy(Machine(root, folder / "programs"))


def bare_copy(machine: Machine) -> Machine:
    """Put the command where a clone has it."""
    folder = machine.root / "clone" / "deploy" / "linux"
    folder.mkdir(parents=True)
    source = Path(__file__).resolve().parents[2] / "deploy" / "linux" / "wheelyard"
    (folder / "wheelyard").write_bytes(source.read_bytes())
    return machine


def variables(machine: Machine, text: str) -> tuple[dict[str, str], str, int]:
    """Return what the program gets, what is said, and how it ends."""
    (machine.root / "etc" / "wheelyard" / "environment").write_text(text, newline="")
    done = machine.call(f"sh {WRAPPER} list")
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}, done.stderr, done.returncode


def test_variables(desk: Machine) -> None:
    """A line of the file of variables says to a command what it says to the service."""
    found, said, code = variables(desk, READ)

    assert code == 0, said
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED
    start = "wheelyard: /etc/wheelyard/environment, line "
    assert [line.removeprefix(start).partition(":")[0] for line in said.splitlines()] == [
        str(number) for number in LEFT_OUT
    ]
    assert not {"NAME", "my-var", "9", ""} & set(found)


def test_variable_that_names_the_settings(desk: Machine) -> None:
    """The file of variables may name other settings, as it may for the service."""
    found, _, _ = variables(desk, "")
    assert found["WHEELYARD_CONFIG"] == "/etc/wheelyard/wheelyard.toml"
    found, _, _ = variables(desk, "WHEELYARD_CONFIG=/etc/wheelyard/other.toml\n")
    assert found["WHEELYARD_CONFIG"] == "/etc/wheelyard/other.toml"


@pytest.mark.parametrize(
    "value",
    [r"a\b", r'"a\"', r'"a\b"', '"a', "'a", "'a'b", "'a'b'", '"a" "b"', "a\\\nB=more"],
)
def test_variable_that_systemd_reads_otherwise(desk: Machine, value: str) -> None:
    """A value that the service would get otherwise stops the command, with file and line."""
    found, said, code = variables(desk, f"A=1\nB={value}\n")

    assert (found, code) == ({}, 1)
    assert said.startswith("wheelyard: /etc/wheelyard/environment, line 2: ")
