"""The sources of credentials, through `wheelyard-token` and `keyring`."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from keyring_tests.fake_servers import TokenEndpoint, listening, program
from keyring_tests.harness import ACCESS_TOKEN, ID_TOKEN, INDEX_TOKEN, KeyringHarness
from tests.clients.harness import REPOSITORY
from wheelyard_keyring.token_sources import token_from_command

COMMAND_TOKEN = "ya29.from-the-command"
SERVER_TOKEN = "ya29.from-the-metadata-server"
FILE_TOKEN = "ya29.from-the-file"


@pytest.fixture
def everything(harness: KeyringHarness) -> KeyringHarness:
    """A machine where every source has a token."""
    command = program(harness.sandbox.home / "tools", "vault", f"echo {COMMAND_TOKEN}")
    harness.configure(f'command = ["{command}"]\n')
    harness.metadata.id_token = ID_TOKEN
    harness.metadata.access_token = SERVER_TOKEN
    harness.log_in()
    return harness


def given(harness: KeyringHarness, **more: str) -> str:
    """Return the token that the index would be sent."""
    status, token, _ = harness.token(harness.index.url, **more)
    assert status == 0
    return token.removesuffix("\n")


def test_order(everything: KeyringHarness) -> None:
    """The index's own token, the command, an ID token, Google's access tokens: in that order."""
    harness = everything

    assert given(harness, WHEELYARD_TOKEN=INDEX_TOKEN) == INDEX_TOKEN
    assert given(harness) == COMMAND_TOKEN
    harness.configure("")
    assert given(harness) == ID_TOKEN
    harness.metadata.id_token = None
    assert given(harness) == SERVER_TOKEN
    harness.metadata.access_token = None
    assert given(harness) == ACCESS_TOKEN
    harness.log_out()
    assert harness.token(harness.index.url)[:2] == (1, "")


def test_user_names(everything: KeyringHarness) -> None:
    """The index's own token goes by __token__, all others by oauth2accesstoken."""
    own, _ = everything.ask(
        "--mode=creds", "get", everything.index.url, WHEELYARD_TOKEN=INDEX_TOKEN
    )
    other, _ = everything.ask("--mode=creds", "get", everything.index.url)

    assert own.split() == ["__token__", INDEX_TOKEN]
    assert other.split() == ["oauth2accesstoken", COMMAND_TOKEN]


def test_bad_token_is_told(everything: KeyringHarness) -> None:
    """What is no token of the index is told in one line, not repeated, and nothing else is sent."""
    for option in ((), ("--url",)):
        status, token, said = everything.token(
            *option, everything.index.url, WHEELYARD_TOKEN="wyd_hunter2"
        )

        assert (status, token) == (1, "")
        assert "WHEELYARD_TOKEN is not a token" in said
        assert len(said.splitlines()) == 1
        assert "hunter2" not in said
    assert (everything.started, everything.metadata.seen) == ([], [])


def test_mode_id_token(everything: KeyringHarness) -> None:
    """With mode `id_token`, no access token is handed out."""
    everything.configure('mode = "id_token"')

    assert given(everything) == ID_TOKEN
    everything.metadata.id_token = None
    assert everything.token(everything.index.url)[:2] == (1, "")
    assert everything.started == []


def test_mode_access_token(everything: KeyringHarness) -> None:
    """With mode `access_token`, no ID token is handed out."""
    everything.configure('mode = "access_token"')

    assert given(everything) == SERVER_TOKEN
    assert everything.metadata.audiences == []


def test_audience(harness: KeyringHarness) -> None:
    """The audience of an ID token is the index's URL, unless another is set."""
    harness.metadata.id_token = ID_TOKEN
    given(harness)
    harness.configure('audience = "https://pypi.acme.dev?a=b&c"')
    given(harness)

    assert harness.metadata.audiences == [harness.index.url, "https://pypi.acme.dev?a=b&c"]


def test_no_proxy(harness: KeyringHarness) -> None:
    """The metadata server is asked directly, whatever proxy the environment names."""
    harness.metadata.id_token = ID_TOKEN
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), harness.stranger.url)

    assert given(harness, **proxy) == ID_TOKEN
    assert harness.stranger.seen == []


def test_busy_metadata_server(harness: KeyringHarness) -> None:
    """A metadata server that is busy is asked three times."""
    harness.metadata.id_token = ID_TOKEN
    harness.metadata.busy = 2

    assert given(harness) == ID_TOKEN
    assert len(harness.metadata.seen) == 3


def test_false_metadata_server(harness: KeyringHarness) -> None:
    """A response without the metadata server's header is rejected."""
    harness.metadata.id_token = ID_TOKEN
    harness.metadata.access_token = SERVER_TOKEN
    harness.metadata.flavored = False
    harness.log_in()

    assert given(harness) == ACCESS_TOKEN


def test_not_at_google(harness: KeyringHarness) -> None:
    """Where the metadata server's name does not resolve, gcloud is asked."""
    harness.log_in()

    assert given(harness, GCE_METADATA_HOST="metadata.invalid") == ACCESS_TOKEN


@pytest.mark.parametrize("printed", ["<html>sorry</html> no", "", "two\\nlines", "größe", "\\001x"])
def test_no_token(harness: KeyringHarness, printed: str) -> None:
    """What does not look like a token is not sent to an index."""
    program(harness.bin, "gcloud", f"printf '{printed}\\n'")
    harness.metadata.id_token = "no token here"

    assert harness.token(harness.index.url)[:2] == (1, "")


def test_failed_command(everything: KeyringHarness) -> None:
    """A command that fails is told, with its own message, and the next source is asked."""
    tool = program(everything.sandbox.home / "tools", "vault", f"echo {COMMAND_TOKEN}", "exit 1")
    program(tool.parent, "vault", "echo sealed >&2", f"echo {COMMAND_TOKEN}", "exit 1")

    status, token, said = everything.token(everything.index.url)

    assert (status, token.strip()) == (0, ID_TOKEN)
    assert "sealed" in said
    assert "vault" in said
    assert COMMAND_TOKEN not in said


@pytest.mark.parametrize("path", ["", ".", "::", "bin", "./bin"])
def test_program_of_the_folder(harness: KeyringHarness, path: str) -> None:
    """A `gcloud` that lies in the current folder is never run, whatever PATH says."""
    for folder in (harness.sandbox.folder, harness.sandbox.folder / "bin"):
        program(folder, "gcloud", "echo ya29.from-a-stranger")

    status, token, _ = harness.token(harness.index.url, PATH=path)

    assert (status, token) == (1, "")


def test_command_of_the_folder(harness: KeyringHarness) -> None:
    """A command by a relative path would be another program in each folder: it is not run."""
    program(harness.sandbox.folder, "vault", "echo ya29.from-a-stranger")
    harness.configure('command = ["./vault"]')

    assert harness.token(harness.index.url)[:2] == (1, "")


def test_settings_file(harness: KeyringHarness) -> None:
    """The hosts stand in the file of the home directory; one in the current folder is not read."""
    text = f'hosts = ["{harness.stranger.address}"]'
    for name in ("keyring.toml", "wheelyard.toml", ".config/wheelyard/keyring.toml"):
        file = harness.sandbox.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    harness.log_in()
    command = (harness.python.parent / "wheelyard-token", harness.stranger.url)
    environment = harness.environment()
    del environment["WHEELYARD_KEYRING_HOSTS"]

    for home in (str(harness.sandbox.home), ".", ""):
        assert harness.sandbox.attempt(*command, **environment | {"HOME": home}).returncode == 2
    harness.configure(text)
    assert harness.sandbox.run(*command, **environment) == f"{ACCESS_TOKEN}\n"


def test_application_default_credentials(harness: KeyringHarness) -> None:
    """With google-auth installed, the credentials of `application-default login` are used."""
    endpoint = TokenEndpoint(access_token=FILE_TOKEN)
    vector = Path(__file__).with_name("service_account.json")
    with listening(endpoint):
        account = json.loads(vector.read_text()) | {"token_uri": f"{endpoint.url}/token"}
        file = harness.sandbox.home / ".config" / "gcloud" / "application_default_credentials.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(account))
        # This Python has google-auth, which the clients' environments have not.
        command = (sys.executable, "-m", "wheelyard_keyring.main", harness.index.url)
        printed = harness.run(*command, PYTHONPATH=str(REPOSITORY / "keyring" / "src"))

    assert printed == f"{FILE_TOKEN}\n"
    assert harness.metadata.seen[0].path.startswith("/computeMetadata/v1/instance/service-accounts")


def test_without_google_auth(harness: KeyringHarness) -> None:
    """Without google-auth they are left aside, and it is said what to install."""
    file = harness.sandbox.home / "adc.json"
    file.write_text("{}")
    harness.log_in()

    _, token, said = harness.token(harness.index.url, GOOGLE_APPLICATION_CREDENTIALS=str(file))

    assert token.strip() == ACCESS_TOKEN
    assert "wheelyard-keyring[google]" in said


def test_slow_program() -> None:
    """A program that hangs is given up."""
    command = (shutil.which("sleep") or pytest.skip("sleep is not installed"), "60")

    assert token_from_command(command, "", quiet=True, timeout_seconds=0.05) is None


def test_nothing_found(harness: KeyringHarness) -> None:
    """Without any login, a message says what to do, and keyring prints nothing."""
    printed, said = harness.ask("get", harness.index.url, "oauth2accesstoken")

    assert printed == ""
    assert "gcloud auth login" in said
    assert "Traceback" not in said


def test_help(harness: KeyringHarness) -> None:
    """The command says how it is used."""
    status, printed, _ = harness.token("--help")

    assert status == 0
    assert "--url" in printed
