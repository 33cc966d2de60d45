"""The command `wheelyard` of a machine: it reads the file of variables as systemd does."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY

WRAPPER = REPOSITORY / "deploy" / "linux" / "wheelyard"
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


def variables(folder: Path, text: str) -> tuple[dict[str, str], str, int]:
    """Return what the program gets, what is said, and how it ends: with its paths in a folder."""
    if os.geteuid() != 0:
        pytest.skip("the command is for root")
    (folder / "environment").write_text(text, newline="")
    (folder / "setpriv").write_text("#!/bin/sh\nexec env\n")
    (folder / "setpriv").chmod(0o755)
    script = WRAPPER.read_text().replace("/etc/wheelyard/environment", f"{folder}/environment")
    command = ("/bin/sh", "-c", script, "wheelyard", "list")
    path = {"PATH": f"{folder}:{os.defpath}"}
    done = subprocess.run(command, env=path, check=False, capture_output=True, text=True)
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}, done.stderr, done.returncode


def test_variables(tmp_path: Path) -> None:
    """A line of the file of variables says to a command what it says to the service."""
    found, said, code = variables(tmp_path, READ)

    assert code == 0, said
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED
    start = f"wheelyard: {tmp_path}/environment, line "
    numbers = [line.removeprefix(start).partition(":")[0] for line in said.splitlines()]
    assert numbers == [str(number) for number in LEFT_OUT]
    assert not {"NAME", "my-var", "9", ""} & set(found)


def test_variable_that_names_the_settings(tmp_path: Path) -> None:
    """The file of variables may name other settings, as it may for the service."""
    found, _, _ = variables(tmp_path, "")
    assert found["WHEELYARD_CONFIG"] == "/etc/wheelyard/wheelyard.toml"
    found, _, _ = variables(tmp_path, "WHEELYARD_CONFIG=/etc/wheelyard/other.toml\n")
    assert found["WHEELYARD_CONFIG"] == "/etc/wheelyard/other.toml"


@pytest.mark.parametrize(
    "value",
    [r"a\b", r'"a\"', r'"a\b"', '"a', "'a", "'a'b", "'a'b'", '"a" "b"', "a\\\nB=more"],
)
def test_variable_that_systemd_reads_otherwise(tmp_path: Path, value: str) -> None:
    """A value that the service would get otherwise stops the command, with file and line."""
    found, said, code = variables(tmp_path, f"A=1\nB={value}\n")

    assert (found, code) == ({}, 1)
    assert said.startswith(f"wheelyard: {tmp_path}/environment, line 2: ")
