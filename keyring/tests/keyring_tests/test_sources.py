"""Where a credential comes from, asked as a person asks: by `wheelyard-token` and `keyring`."""

import json
import shutil
import sys

import pytest

from keyring_tests.stage import ACCESS_TOKEN, ID_TOKEN, INDEX_TOKEN, Stage
from keyring_tests.standins import TokenEndpoint, listening, program
from tests.clients.harness import REPOSITORY
from wheelyard_keyring.sources import printed_token

COMMAND_TOKEN = "ya29.from-the-command"
SERVER_TOKEN = "ya29.from-the-metadata-server"
FILE_TOKEN = "ya29.from-the-file"


@pytest.fixture
def everything(stage: Stage) -> Stage:
    """A machine where every source has a token."""
    command = program(stage.sandbox.home / "tools", "vault", f"echo {COMMAND_TOKEN}")
    stage.configure(f'command = ["{command}"]\n')
    stage.metadata.id_token = ID_TOKEN
    stage.metadata.access_token = SERVER_TOKEN
    stage.log_in()
    return stage


def given(stage: Stage, **more: str) -> str:
    """Return the token that the index would be sent."""
    status, token, _ = stage.token(stage.index.url, **more)
    assert status == 0
    return token.removesuffix("\n")


def test_order(everything: Stage) -> None:
    """The index's own token, the command, an ID token, Google's access tokens: in that order."""
    stage = everything

    assert given(stage, WHEELYARD_TOKEN=INDEX_TOKEN) == INDEX_TOKEN
    assert given(stage) == COMMAND_TOKEN
    stage.configure("")
    assert given(stage) == ID_TOKEN
    stage.metadata.id_token = None
    assert given(stage) == SERVER_TOKEN
    stage.metadata.access_token = None
    assert given(stage) == ACCESS_TOKEN
    stage.log_out()
    assert stage.token(stage.index.url)[:2] == (1, "")


def test_user_names(everything: Stage) -> None:
    """The index's own token goes by __token__, all others by oauth2accesstoken."""
    own, _ = everything.ask(
        "--mode=creds", "get", everything.index.url, WHEELYARD_TOKEN=INDEX_TOKEN
    )
    other, _ = everything.ask("--mode=creds", "get", everything.index.url)

    assert own.split() == ["__token__", INDEX_TOKEN]
    assert other.split() == ["oauth2accesstoken", COMMAND_TOKEN]


def test_bad_token_is_told(everything: Stage) -> None:
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


def test_mode_id_token(everything: Stage) -> None:
    """Whoever wants ID tokens alone never hands out an access token."""
    everything.configure('mode = "id_token"')

    assert given(everything) == ID_TOKEN
    everything.metadata.id_token = None
    assert everything.token(everything.index.url)[:2] == (1, "")
    assert everything.started == []


def test_mode_access_token(everything: Stage) -> None:
    """Whoever wants access tokens gets no ID token."""
    everything.configure('mode = "access_token"')

    assert given(everything) == SERVER_TOKEN
    assert everything.metadata.audiences == []


def test_audience(stage: Stage) -> None:
    """The audience of an ID token is the index's URL, unless another is set."""
    stage.metadata.id_token = ID_TOKEN
    given(stage)
    stage.configure('audience = "https://pypi.acme.dev?a=b&c"')
    given(stage)

    assert stage.metadata.audiences == [stage.index.url, "https://pypi.acme.dev?a=b&c"]


def test_no_proxy(stage: Stage) -> None:
    """The metadata server is asked directly, whatever proxy the environment names."""
    stage.metadata.id_token = ID_TOKEN
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), stage.stranger.url)

    assert given(stage, **proxy) == ID_TOKEN
    assert stage.stranger.seen == []


def test_busy_metadata_server(stage: Stage) -> None:
    """A metadata server that is busy is asked three times."""
    stage.metadata.id_token = ID_TOKEN
    stage.metadata.busy = 2

    assert given(stage) == ID_TOKEN
    assert len(stage.metadata.seen) == 3


def test_false_metadata_server(stage: Stage) -> None:
    """A server that does not say that it is a metadata server is not believed."""
    stage.metadata.id_token = ID_TOKEN
    stage.metadata.access_token = SERVER_TOKEN
    stage.metadata.flavored = False
    stage.log_in()

    assert given(stage) == ACCESS_TOKEN


def test_not_at_google(stage: Stage) -> None:
    """Where the metadata server's name does not resolve, gcloud is asked."""
    stage.log_in()

    assert given(stage, GCE_METADATA_HOST="metadata.invalid") == ACCESS_TOKEN


@pytest.mark.parametrize("printed", ["<html>sorry</html> no", "", "two\\nlines", "größe", "\\001x"])
def test_no_token(stage: Stage, printed: str) -> None:
    """What does not look like a token is not sent to an index."""
    program(stage.bin, "gcloud", f"printf '{printed}\\n'")
    stage.metadata.id_token = "no token here"

    assert stage.token(stage.index.url)[:2] == (1, "")


def test_failed_command(everything: Stage) -> None:
    """A command that fails is told, with its own message, and the next source is asked."""
    tool = program(everything.sandbox.home / "tools", "vault", f"echo {COMMAND_TOKEN}", "exit 1")
    program(tool.parent, "vault", "echo sealed >&2", f"echo {COMMAND_TOKEN}", "exit 1")

    status, token, said = everything.token(everything.index.url)

    assert (status, token.strip()) == (0, ID_TOKEN)
    assert "sealed" in said
    assert "vault" in said
    assert COMMAND_TOKEN not in said


@pytest.mark.parametrize("path", ["", ".", "::", "bin", "./bin"])
def test_program_of_the_folder(stage: Stage, path: str) -> None:
    """A `gcloud` that lies in the current folder is never run, whatever PATH says."""
    for folder in (stage.sandbox.folder, stage.sandbox.folder / "bin"):
        program(folder, "gcloud", "echo ya29.from-a-stranger")

    status, token, _ = stage.token(stage.index.url, PATH=path)

    assert (status, token) == (1, "")


def test_command_of_the_folder(stage: Stage) -> None:
    """A command by a relative path would be another program in each folder: it is not run."""
    program(stage.sandbox.folder, "vault", "echo ya29.from-a-stranger")
    stage.configure('command = ["./vault"]')

    assert stage.token(stage.index.url)[:2] == (1, "")


def test_settings_file(stage: Stage) -> None:
    """The hosts stand in the file of the home directory; one in the current folder is not read."""
    text = f'hosts = ["{stage.stranger.address}"]'
    for name in ("keyring.toml", "wheelyard.toml", ".config/wheelyard/keyring.toml"):
        file = stage.sandbox.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    stage.log_in()
    command = (stage.python.parent / "wheelyard-token", stage.stranger.url)
    environment = stage.environment()
    del environment["WHEELYARD_KEYRING_HOSTS"]

    for home in (str(stage.sandbox.home), ".", ""):
        assert stage.sandbox.attempt(*command, **environment | {"HOME": home}).returncode == 2
    stage.configure(text)
    assert stage.sandbox.run(*command, **environment) == f"{ACCESS_TOKEN}\n"


def test_application_default_credentials(stage: Stage) -> None:
    """With google-auth installed, the credentials of `application-default login` are used."""
    endpoint = TokenEndpoint(access_token=FILE_TOKEN)
    vector = REPOSITORY / "tests" / "storage" / "gcs" / "vectors" / "service_account.json"
    with listening(endpoint):
        account = json.loads(vector.read_text()) | {"token_uri": f"{endpoint.url}/token"}
        file = stage.sandbox.home / ".config" / "gcloud" / "application_default_credentials.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(account))
        # This Python has google-auth, which the clients' environments have not.
        command = (sys.executable, "-m", "wheelyard_keyring.main", stage.index.url)
        printed = stage.run(*command, PYTHONPATH=str(REPOSITORY / "keyring" / "src"))

    assert printed == f"{FILE_TOKEN}\n"
    assert stage.metadata.seen[0].path.startswith("/computeMetadata/v1/instance/service-accounts")


def test_without_google_auth(stage: Stage) -> None:
    """Without google-auth they are left aside, and it is said what to install."""
    file = stage.sandbox.home / "adc.json"
    file.write_text("{}")
    stage.log_in()

    _, token, said = stage.token(stage.index.url, GOOGLE_APPLICATION_CREDENTIALS=str(file))

    assert token.strip() == ACCESS_TOKEN
    assert "wheelyard-keyring[google]" in said


def test_slow_program() -> None:
    """A program that hangs is given up."""
    command = (shutil.which("sleep") or pytest.skip("sleep is not installed"), "60")

    assert printed_token(command, "", quiet=True, patience=0.05) is None


def test_nothing_found(stage: Stage) -> None:
    """Where nobody has logged in, a message says what to do, and keyring prints nothing."""
    printed, said = stage.ask("get", stage.index.url, "oauth2accesstoken")

    assert printed == ""
    assert "gcloud auth login" in said
    assert "Traceback" not in said


def test_help(stage: Stage) -> None:
    """The command says how it is used."""
    status, printed, _ = stage.token("--help")

    assert status == 0
    assert "--url" in printed
