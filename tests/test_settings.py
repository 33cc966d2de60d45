"""Where settings come from, and which of them stop the start."""

from pathlib import Path

import pytest

from wheelyard.errors import Invalid
from wheelyard.settings import Settings, read_settings, unknown_variables


def settings_of(text: str, folder: Path) -> Settings:
    """Return the settings of a file with `text` in it."""
    file = folder / "wheelyard.toml"
    file.write_text(text)
    return read_settings(file=file, overrides={}, environ={})


def test_defaults() -> None:
    """Without any configuration the index is on loopback, open to readers, in one folder."""
    settings = read_settings(file=None, overrides={}, environ={})

    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.store.location == "./wheelyard-data"
    assert not settings.access.private
    assert settings.index_url == "http://127.0.0.1:8080/simple/"


def test_order(tmp_path: Path) -> None:
    """The command line beats the environment, which beats the file."""
    file = tmp_path / "wheelyard.toml"
    file.write_text('[server]\nport = 1\nhost = "a"\nworkers = 2\n')
    environ = {"WHEELYARD_PORT": "3", "PORT": "9", "WHEELYARD_HOST": "b"}
    overrides = {"server": {"port": 4, "host": None}}

    server = read_settings(file=file, overrides=overrides, environ=environ).server

    assert (server.port, server.host, server.workers) == (4, "b", 2)


def test_port_of_the_platform() -> None:
    """`$PORT` sets the port, and leaves the host as it is."""
    server = read_settings(file=None, overrides={}, environ={"PORT": "3333"}).server

    assert (server.host, server.port) == ("127.0.0.1", 3333)


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nprot = 1",
        "[servers]\nport = 1",
        "[server]\nport = 70000",
        '[server]\nport = "many"',
        '[server]\nroots = ["Acme"]',
        '[server]\nroots = ["simple"]',
        '[server]\npath_prefix = "/a/../b"',
        '[server]\npublic_url = "packages.example.com"',
        '[store]\nlocation = ""',
        '[access]\nprivate_names = ["a*b"]',
        "[server\nport = 1",
    ],
)
def test_nonsense(tmp_path: Path, text: str) -> None:
    """An unknown key, or a value that makes no sense, stops the start with one sentence."""
    with pytest.raises(Invalid) as caught:
        settings_of(text, tmp_path)

    assert "\n" not in caught.value.message


def test_a_named_file_is_there(tmp_path: Path) -> None:
    """A file that was asked for by name has to be there."""
    with pytest.raises(Invalid):
        read_settings(file=tmp_path / "none.toml", overrides={}, environ={})


def test_prefix_and_public_url(tmp_path: Path) -> None:
    """The install commands name the public URL where there is one."""
    text = '[server]\npath_prefix = "packages/"\npublic_url = "https://example.com/packages/"'

    settings = settings_of(text, tmp_path)

    assert settings.server.path_prefix == "/packages"
    assert settings.index_url == "https://example.com/packages/simple/"


def test_typing_errors_in_variables() -> None:
    """A `WHEELYARD_` variable that is no setting is found out."""
    assert unknown_variables({"WHEELYARD_STOER": "x", "WHEELYARD_STORE": "y"}) == [
        "WHEELYARD_STOER"
    ]
