"""Values that no setting can have: numbers and brackets without end, bytes that are no text."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from tests.settings.test_commands import Typed, desk, typed
from wheelyard.errors import Invalid
from wheelyard.settings.reading import read_settings

__all__ = ["desk", "typed"]

LONG: Final = "1" * 5000
DEEP: Final = "[" * 5000
DOTTED: Final = ".".join("a" * 5000)
TABLES: Final = (
    f"[server]\nport = {LONG}",
    f"[server]\ntrusted_proxies = 0x{LONG}",
    "[server]\ntrusted_proxies = 9223372036854775808",
    f"[store]\nlocation = {LONG}",
    f"[server]\nroots = {DEEP}",
    f"[server]\nroots = {'[' * 100}{']' * 100}",
    f"[[grant]]\nwho.{DOTTED} = 1\nprojects = []\nactions = []",
    f"[server]\n{DOTTED} = 1",
)
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
NO_UTF8: Final = os.fsdecode(b"caf\xe9")


def refusal(*flags: str, file: Path | None = None, environ: Mapping[str, str] = NOTHING) -> str:
    """Return why settings are refused: one short line."""
    with pytest.raises(Invalid) as caught:
        read_settings(file=file, environ=environ, flags=flags)
    told = caught.value.message
    assert caught.value.code == "bad_setting"
    assert told.isprintable()
    assert "`" not in told
    assert "$" not in told
    return told


@pytest.mark.parametrize("text", TABLES)
def test_without_end(tmp_path: Path, text: str) -> None:
    """A number or a table without end in a file, or in WHEELYARD_TOML, is refused in one line."""
    file = tmp_path / "wheelyard.toml"
    file.write_text(text)

    refusal(file=file)
    refusal(environ={"WHEELYARD_TOML": text})


@pytest.mark.parametrize("value", [LONG, f"0x{LONG}", DEEP])
@pytest.mark.parametrize("key", ["server.trusted_proxies", "grant", "log.format"])
def test_flags_without_end(key: str, value: str) -> None:
    """The same by --set is refused in one line that names the setting."""
    assert key.rpartition(".")[2] in refusal(f"{key}={value}")


@pytest.mark.parametrize("number", [LONG[:4000], "9223372036854775808"])
def test_a_variable_without_end(number: str) -> None:
    """A number in a variable that is too large for anything is refused."""
    told = refusal(environ={"WHEELYARD_TRUSTED_PROXIES": number})

    assert "[server] trusted_proxies: expected a smaller number" in told


@pytest.mark.integration
@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("WHEELYARD_STORE", NO_UTF8, "[store] location: expected text in UTF-8"),
        ("WHEELYARD_TRUSTED_HOSTS", f"a,{NO_UTF8}", "[access] trusted_hosts: expected text in"),
        ("WHEELYARD_TOML", f'[[grant]]\n"{NO_UTF8}" = 1', "WHEELYARD_TOML cannot be read: there"),
    ],
)
def test_bytes_that_are_no_text(typed: Typed, variable: str, text: str, words: str) -> None:
    """Bytes in a variable that are no UTF-8 are refused in one line that names it."""
    told = refusal(environ={variable: text})
    assert words in told

    done = typed("config", "check", **{variable: text})

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"wheelyard: {told}\n"


def test_flags_that_are_no_text() -> None:
    """Bytes after --set that are no UTF-8 are refused, as a value and as a name."""
    assert "expected text in UTF-8" in refusal(f"store.location={NO_UTF8}")
    assert "expected text in UTF-8" in refusal(*2 * (f"server.port={NO_UTF8}",))
    assert "has no setting 'caf\\udce9'" in refusal(f"server.{NO_UTF8}=1")


@pytest.mark.integration
@pytest.mark.parametrize("command", [["config", "check"], ["list"], ["serve"]])
@pytest.mark.parametrize("text", [LONG, NO_UTF8])
def test_every_command(typed: Typed, command: list[str], text: str) -> None:
    """Whatever is wrong with a value, a command ends with status 1 and one line."""
    done = typed(*command, "--set", f"server.port={text}")

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("wheelyard: A setting is wrong: [server] port: expected ")
