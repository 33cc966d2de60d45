"""`wheelyard print-settings`: what it prints, and what it refuses."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from wheelyard.rendering.client_settings import CLIENTS, ClientSettings, client_text

URL = "https://packages.example.com/acme"
SECRET = "wyd_3fA9xK27QmQm3fA9xK27Qm"


@pytest.mark.parametrize("client", CLIENTS)
def test_text_is_alone_and_without_secret(wheelyard: Typed, sandbox: Sandbox, client: str) -> None:
    """The text is alone on standard output, without a secret, and no store is looked for."""
    done = wheelyard("print-settings", client, "--url", URL, WHEELYARD_TOKEN=SECRET)

    text = client_text(client, ClientSettings(root=URL))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"\n{text}", "")
    assert SECRET not in done.stdout
    assert [*sandbox.folder.iterdir()] == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A private server, with projects that need each other."""
    config = "[access]\nprivate = true\n"
    with running_server(tmp_path_factory.mktemp("private"), config=config) as server:
        publish(
            server,
            make_wheel("acme-app", "1.0", "Requires-Dist: acme-core", "Requires-Dist: requests"),
            make_wheel("acme-core", "1.0", "Requires-Dist: acme-lib", "Requires-Dist: pay-lib"),
            *(make_wheel(name, "1.0") for name in ("acme-lib", "pay-lib", "other")),
        )
        yield server


CLOSURE = ("other", "acme-app", "acme-core", "acme-lib", "pay-lib")


@pytest.mark.integration
@pytest.mark.parametrize("client", CLIENTS)
def test_text_names_needed_projects(wheelyard: Typed, server: RunningServer, client: str) -> None:
    """The text names all private projects that the named ones need, as store and server say."""
    named = (*("--project", "Other", "--project", "Acme_App"), *("--project", "acme-app"))
    place = ("--store", server.store, "--url", server.url)

    from_store = wheelyard("print-settings", client, *named, *place)
    from_server = wheelyard(
        *("print-settings", client, *named, "--server", f"{server.url}/simple/"),
        WHEELYARD_TOKEN=server.token,
    )

    settings = ClientSettings(root=server.url, projects=CLOSURE)
    text = client_text(client, settings)
    # a server knows its settings, by which it is private
    of_server = client_text(client, replace(settings, needs_credential=True))
    assert (from_store.returncode, from_store.stdout) == (0, f"\n{text}")
    assert (from_server.returncode, from_server.stdout) == (0, f"\n{of_server}")


@pytest.mark.integration
def test_a_server_names_only_readable_projects(wheelyard: Typed, server: RunningServer) -> None:
    """A server names only what the credential may read, and nothing without a credential."""
    asked = ("print-settings", "pdm", "--server", server.url, "--project")
    token = server.make_token("acme-*", can="read")

    done = wheelyard(*asked, "acme-app", WHEELYARD_TOKEN=token)
    refused = wheelyard(*asked, "pay-lib", WHEELYARD_TOKEN=token)
    anonymous = wheelyard(*asked, "acme-app")

    (source,) = tomllib.loads(done.stdout)["tool"]["pdm"]["source"]
    assert source["include_packages"] == ["acme-app", "acme-core", "acme-lib"]
    for each in (refused, anonymous):
        assert (each.returncode, each.stdout) == (1, "")
        assert each.stderr.count("\n") == 1


@pytest.mark.parametrize("client", ["uv", "poetry", "pdm", "pipenv"])
def test_without_an_index_no_project_is_named(wheelyard: Typed, client: str) -> None:
    """Without an index to ask, no list is printed that lacks what a project needs."""
    message = refused(wheelyard, client, "--url", URL, "--project", "acme-app")

    assert "--server URL" in message


@pytest.mark.integration
def test_a_server_with_an_upstream_is_the_only_index(wheelyard: Typed, tmp_path: Path) -> None:
    """A server that serves public packages, too, is the only index in the text."""
    config = (
        '[upstream]\nenabled = true\nurl = "https://index.example.com/simple/"\n'
        'private = ["acme-*"]\n'
    )
    with running_server(tmp_path / "front", config=config) as server:
        for options in ((), ("--project", "requests")):
            done = wheelyard("print-settings", "uv", "--server", server.url, *options)
            text = client_text("uv", ClientSettings(root=server.url, serves_public=True))
            assert (done.returncode, done.stdout) == (0, f"\n{text}")


def test_url_of_the_settings(wheelyard: Typed, sandbox: Sandbox) -> None:
    """Without a URL the text is for the server that the settings describe."""
    (sandbox.folder / "wheelyard.toml").write_text(
        '[server]\npublic_url = "https://pypi.acme.dev/x/"\npath_prefix = "/x"\n'
    )

    done = wheelyard("print-settings", "uv")

    (index,) = tomllib.loads(done.stdout)["tool"]["uv"]["index"]
    assert index["url"] == "https://pypi.acme.dev/x/simple/"


def test_with_an_upstream_index_the_text_has_one_index(wheelyard: Typed, sandbox: Sandbox) -> None:
    """With an upstream index in the settings, or the option, the text is for one index alone."""
    other = "https://other.example.com"
    by_option = wheelyard("print-settings", "uv", "--url", URL, "--one-url")
    (sandbox.folder / "wheelyard.toml").write_text(
        f'[server]\npublic_url = "{URL}/"\npath_prefix = "/acme"\n[upstream]\nenabled = true\n'
        'url = "https://index.example.com/simple/"\nprivate = ["acme-*"]\n'
    )
    by_settings = wheelyard("print-settings", "uv")
    by_both = wheelyard("print-settings", "uv", "--url", other)

    assert by_both.stdout == by_settings.stdout.replace(URL, other)
    assert tomllib.loads(by_option.stdout)["tool"]["uv"]["index"][0]["default"] is True
    assert by_settings.stdout == by_option.stdout


def test_the_url_changes_no_more_than_the_root(wheelyard: Typed) -> None:
    """With a URL, the index of a name is still that of the store, if there is one."""
    asked = ("print-settings", "twine", "--url", URL, "--index")
    assert f"{URL}/dev/legacy/" in wheelyard(*asked, "dev").stdout
    wheelyard("token", "create", "ci", "--store", "wheelyard-data")
    for index in (["dev"], ["view", "layers=main"]):
        assert wheelyard("index", "add", *index).returncode == 0

    view = wheelyard(*asked, "view")

    assert (view.returncode, view.stdout) == (1, "")
    assert "The index view takes no uploads" in view.stderr
    assert f"{URL}/dev/legacy/" in wheelyard(*asked, "dev").stdout
    missing = wheelyard(*asked, "nosuch")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "There is no index 'nosuch'" in missing.stderr


@pytest.mark.parametrize("end", ["/", "/simple", "/simple/", "/legacy/"])
def test_url_of_another_page(wheelyard: Typed, end: str) -> None:
    """The URL of the project list or for uploads stands for the root."""
    done = wheelyard("print-settings", "pip", "--url", f"{URL}{end}")

    assert f"index-url = {URL}/simple/\n" in done.stdout


def test_with_token_prints_the_token_and_a_warning(wheelyard: Typed) -> None:
    """With --with-token the text has the token of the variable, and a warning says so."""
    done = wheelyard("print-settings", "twine", "--with-token", WHEELYARD_TOKEN=SECRET)

    assert f"password = {SECRET}\n" in done.stdout
    assert "secret" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    "token", ["", " ", "two words", "x\ny", 'x"', "pa%ss", "x@y", "\u00e9"], ids=ascii
)
def test_what_cannot_be_a_token_is_not_repeated(wheelyard: Typed, token: str) -> None:
    """What cannot be a token is refused and not repeated."""
    message = refused(wheelyard, "uv", "--with-token", WHEELYARD_TOKEN=token)

    assert not token.strip() or token not in message


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
def test_a_bad_url_is_refused_in_one_line(wheelyard: Typed, url: str) -> None:
    """What is no URL, or could become another line of a file, is refused with one line."""
    message = refused(wheelyard, "pip", "--url", url)

    assert message.startswith("wheelyard: --url")
    assert message.isascii()
    assert "pass@" not in message


@pytest.mark.parametrize("name", ["", "a b", 'x"]', "-x", "../x", "x\n", "acme-*"], ids=ascii)
def test_a_bad_project_is_refused_in_one_line(wheelyard: Typed, name: str) -> None:
    """What is no project's name is refused with one line."""
    refused(wheelyard, "uv", f"--project={name}")


def refused(wheelyard: Typed, *arguments: str, **environment: str) -> str:
    """Assert that the command fails, prints nothing and says one line; return the line."""
    done = wheelyard("print-settings", *arguments, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr
