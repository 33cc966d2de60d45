"""The commands, with settings from every side."""

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from tests.authentication.sign_in.fake_provider import SECRET, running_providers
from tests.cli.conftest import SERVERS, WHERE, called
from tests.cli.conftest import no_address as _no_address
from tests.clients.harness import REPOSITORY, Sandbox
from tests.fake_time import START
from tests.http_server import WHEELYARD
from tests.in_process_network import NetworkOrPorts
from tests.index_tables import put_tables_at
from tests.settings.written import GRANT

no_address = _no_address
Typed = Callable[..., CompletedProcess[str]]
DECIDED = "[access]\nprivate = false\n"
"""The answer that settings with a grant have to give."""


@pytest.fixture
def type_command(sandbox: Sandbox) -> Typed:
    """Type a command; the answer has its exit status and what it printed."""

    def run(*arguments: str, **environment: str) -> CompletedProcess[str]:
        if arguments[0] in SERVERS or "PYTHONPATH" in environment:
            return sandbox.attempt(*WHEELYARD, *arguments, **(WHERE | environment))
        return called(sandbox.folder, sandbox.environment() | environment, *arguments)

    return run


@pytest.mark.integration
@pytest.mark.parametrize("command", [["list"], ["config", "check"], ["serve"], ["run", "."]])
def test_a_wrong_setting_is_one_line_without_a_secret(
    type_command: Typed, command: list[str]
) -> None:
    """A setting that is none ends every command with status 1 and one line, without a secret."""
    done = type_command(
        *command, WHEELYARD_SERVER_PUBLIC_URL="https://user:hunter2@packages.example.com"
    )

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("wheelyard: server.public_url: ")
    assert "hunter2" not in line


CLOSED = '[main]\nread = "granted"\n'


@pytest.mark.parametrize(
    ("toml", "tables", "words"),
    [
        ("", "", "anybody"),
        ("[access]\nprivate = true", "", "whom a grant or a token names"),
        ("", CLOSED, "whom a grant or a token names"),
        ("[access]\nprivate = false", GRANT.format("domain:acme.dev", "*"), "anybody"),
        ("", CLOSED + GRANT.format("anonymous", "*"), "anybody"),
        (
            "[access]\nprivate = true",
            GRANT.format("anonymous", "*"),
            "whom a grant or a token names",
        ),
        (
            '[access]\nprivate = true\nhtpasswd_file = "users"',
            "",
            "whom a grant or a token names, and every name of the htpasswd file",
        ),
        (
            '[access]\nprivate = true\nhtpasswd_file = "users"\nhtpasswd_may = []',
            "",
            "whom a grant or a token names",
        ),
    ],
)
@pytest.mark.usefixtures("no_address")
def test_who_reads_main_is_said(
    type_command: Typed,
    sandbox: Sandbox,
    toml: str,
    tables: str,
    words: str,
) -> None:
    """Checking the settings tells who may read the index at the root."""
    (sandbox.folder / "users").write_text("")
    if tables:
        put_tables_at(sandbox.folder / "wheelyard-data", tables)

    done = type_command("config", "check", WHEELYARD_TOML=toml)

    assert done.stdout.splitlines().count(f"reading main: {words}") == 1


SIGN_IN = """
[[sign_in]]
name = "acme"
issuer = "{}"
client_id = "wheelyard"
allow_private = true
"""


@pytest.mark.usefixtures("no_address")
def test_each_provider_is_checked(type_command: Typed, network: NetworkOrPorts) -> None:
    """Checking the settings asks the provider of a sign-in, and warns if it is not there."""
    with running_providers(network) as providers:
        provider = providers.provider(START.timestamp)
        provider.serve()
        toml, secret = SIGN_IN.format(provider.issuer), {"WHEELYARD_SIGN_IN_ACME_SECRET": SECRET}
        there = type_command("config", "check", WHEELYARD_TOML=toml, **secret)
        provider.break_off()
        absent = type_command("config", "check", WHEELYARD_TOML=toml, **secret)

    assert (there.returncode, absent.returncode) == (0, 0), there.stderr + absent.stderr
    uri = "http://127.0.0.1:8080/-/sign-in/acme/callback"
    line = f"sign_in acme: {provider.issuer} is its issuer; it needs the redirect URI {uri}"
    assert line in there.stdout.splitlines()
    assert f"wheelyard: warning: sign_in acme: {provider.issuer}: " in absent.stderr
    assert "sign_in acme: " not in there.stderr + absent.stdout


@pytest.mark.usefixtures("no_address")
def test_a_table_of_the_index_fails_the_check(type_command: Typed) -> None:
    """Checking settings with a table that the store keeps is a failure, after all else is told."""
    done = type_command("config", "check", WHEELYARD_TOML="[web]\nname = 'Acme'\n" + CLOSED)

    assert done.returncode == 1
    assert "has main: the store keeps what describes the index" in done.stderr
    assert 'web.name = "Acme"' in done.stdout
    assert "reading main: " in done.stdout


@pytest.mark.integration
def test_each_changed_setting_names_its_source(type_command: Typed, sandbox: Sandbox) -> None:
    """Checking the settings tells who decided each that is not the default, and no secret."""
    (sandbox.folder / "wheelyard.toml").write_text(
        "[server]\nport = 1\nworkers = 2\n[http]\npage_cache = 20\n"
        '[access]\nprivate_names = ["a"]\n'
    )
    environ = {
        "PORT": "3333",
        "WHEELYARD_ACCESS_METRICS_TOKEN": "hunter2",
        "WHEELYARD_ACCESS_PRIVATE": "1",
    }

    done = type_command("config", "check", "--store", "x", **environ)

    assert done.returncode == 0
    assert done.stdout.splitlines()[3:] == [
        "server.port = 3333, from PORT",
        "server.workers = 2, from wheelyard.toml",
        'store.location = "x", from an option',
        "access.private = true, from WHEELYARD_ACCESS_PRIVATE",
        'access.private_names = ["a"], from wheelyard.toml',
        "access.metrics_token = (not shown), from WHEELYARD_ACCESS_METRICS_TOKEN",
        "reading main: whom a grant or a token names",
        "index main: no keys",
    ]


@pytest.mark.integration
def test_a_variable_for_the_file(type_command: Typed, sandbox: Sandbox) -> None:
    """Checking the settings tells that WHEELYARD_TOML has them, and not a file in the folder."""
    (sandbox.folder / "wheelyard.toml").write_text("[server]\nport = 1\n")

    done = type_command("config", "check", WHEELYARD_TOML="[server]\nport = 2\n")

    assert done.stdout.startswith("settings: WHEELYARD_TOML, and the environment\n")
    assert "server.port = 2, from WHEELYARD_TOML\n" in done.stdout
    assert done.stderr == ""


@pytest.mark.integration
def test_a_wrong_variable_is_named(type_command: Typed) -> None:
    """An invalid value in a variable is reported with the variable's name."""
    done = type_command("config", "check", PORT="many")

    assert done.returncode == 1
    assert "expected a number from 0 to 65535, and found 'many' (PORT)." in done.stderr


@pytest.mark.integration
@pytest.mark.parametrize("is_there", [True, False])
def test_telemetry_without_its_library(
    type_command: Typed, sandbox: Sandbox, *, is_there: bool
) -> None:
    """A collector without the extra that talks to it is found out before a server starts."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    hidden = sandbox.folder / "hiding" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").touch()
    path = [str(REPOSITORY / "src"), *([] if is_there else [str(hidden.parent)])]

    done = type_command(
        "config",
        "check",
        WHEELYARD_TELEMETRY_OTLP_ENDPOINT="http://127.0.0.1:4318",
        PYTHONPATH=":".join(path),
    )

    assert done.returncode == (0 if is_there else 1)
    assert ("Install 'wheelyard[otel]'" in done.stderr) is not is_there
    assert "telemetry.otlp_endpoint = " in done.stdout
