"""`wheelyard print-settings`: what it prints, and what it refuses."""

import tomllib

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from wheelyard.rendering.client_settings import CLIENTS, ClientSettings

pytestmark = pytest.mark.integration

URL = "https://packages.example.com/acme"
SECRET = "wyd_3fA9xK27QmQm3fA9xK27Qm"


@pytest.mark.parametrize("client", CLIENTS)
def test_text(wheelyard: Typed, sandbox: Sandbox, client: str) -> None:
    """The text is alone on standard output, without a secret, and no store is looked for."""
    done = wheelyard(
        *("print-settings", client, "--url", URL, "--project", "Acme_Core", "--project", "b"),
        *("--project", "acme-core"),
        WHEELYARD_TOKEN=SECRET,
    )

    text = CLIENTS[client](ClientSettings(root=URL, projects=("acme-core", "b")))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"\n{text}", "")
    assert SECRET not in done.stdout
    assert [*sandbox.folder.iterdir()] == []


def test_url_of_the_settings(wheelyard: Typed, sandbox: Sandbox) -> None:
    """Without a URL the text is for the server that the settings describe."""
    (sandbox.folder / "wheelyard.toml").write_text(
        '[server]\npublic_url = "https://pypi.acme.dev/x/"\npath_prefix = "/x"\n'
    )

    done = wheelyard("print-settings", "uv")

    (index,) = tomllib.loads(done.stdout)["tool"]["uv"]["index"]
    assert index["url"] == "https://pypi.acme.dev/x/simple/"


def test_one_url(wheelyard: Typed, sandbox: Sandbox) -> None:
    """With an upstream index in the settings, or the option, the text is for one index alone."""
    by_option = wheelyard("print-settings", "uv", "--url", URL, "--one-url")
    (sandbox.folder / "wheelyard.toml").write_text(
        f'[server]\npublic_url = "{URL}/"\npath_prefix = "/acme"\n[upstream]\nenabled = true\n'
        'url = "https://index.example.com/simple/"\nprivate = ["acme-*"]\n'
    )
    by_settings = wheelyard("print-settings", "uv")

    assert tomllib.loads(by_option.stdout)["tool"]["uv"]["index"][0]["default"] is True
    assert by_settings.stdout == by_option.stdout


@pytest.mark.parametrize("end", ["/", "/simple", "/simple/", "/legacy/"])
def test_url_of_another_page(wheelyard: Typed, end: str) -> None:
    """The URL of the project list or for uploads stands for the root."""
    done = wheelyard("print-settings", "pip", "--url", f"{URL}{end}")

    assert f"index-url = {URL}/simple/\n" in done.stdout


def test_token(wheelyard: Typed) -> None:
    """With --with-token the text has the token of the variable, and a warning says so."""
    done = wheelyard("print-settings", "twine", "--with-token", WHEELYARD_TOKEN=SECRET)

    assert f"password = {SECRET}\n" in done.stdout
    assert "secret" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    "token", ["", " ", "two words", "x\ny", 'x"', "pa%ss", "x@y", "\u00e9"], ids=ascii
)
def test_no_token(wheelyard: Typed, token: str) -> None:
    """What cannot be a token is refused and not repeated."""
    said = refused(wheelyard, "uv", "--with-token", WHEELYARD_TOKEN=token)

    assert not token.strip() or token not in said


@pytest.mark.parametrize(
    "url",
    [
        *("", "packages.example.com", "ftp://packages.example.com", "https://", "https:///simple/"),
        *("https://user:pass@packages.example.com", "https://a.example/?q", "https://a.example/#f"),
        *('https://a.example/"', "https://a.example/\\", "https://a.example/${HOME}"),
        *("https://a.example/\n[global]", "https://a.example/ b", "https://a.example:99999"),
        *("https://a.example:x", "https://\u00e4.example", "https://a.example/\x1b[31m"),
        "https://[::1",
    ],
    ids=ascii,
)
def test_bad_url(wheelyard: Typed, url: str) -> None:
    """What is no URL, or could become another line of a file, is refused with one line."""
    said = refused(wheelyard, "pip", "--url", url)

    assert said.startswith("wheelyard: --url")
    assert said.isascii()
    assert "pass@" not in said


@pytest.mark.parametrize("name", ["", "a b", 'x"]', "-x", "../x", "x\n", "acme-*"], ids=ascii)
def test_bad_project(wheelyard: Typed, name: str) -> None:
    """What is no project's name is refused with one line."""
    refused(wheelyard, "uv", f"--project={name}")


def refused(wheelyard: Typed, *arguments: str, **environment: str) -> str:
    """Assert that the command fails, prints nothing and says one line; return the line."""
    done = wheelyard("print-settings", *arguments, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr
