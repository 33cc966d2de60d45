"""The configuration text of each client, read by the parser of its format."""

import re
import tomllib
from collections.abc import Callable
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment
from jinja2.meta import find_undeclared_variables
from msgspec.structs import replace

from wheelyard.rendering import client_settings
from wheelyard.rendering.client_settings import CLIENTS, ClientSettings, client_text

SECRET = "wyd_3fA9xK27Qm"
ROOT = "https://packages.example.com/acme"
INDEX, UPLOAD = f"{ROOT}/simple/", f"{ROOT}/legacy/"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "private-and-public.md"
NAMES = ("acme-core", "acme-lib")
NAMED = {"name": "wheelyard", "url": INDEX}
NAMING = {"sources", "group", "packages"}
"""The tables that name projects."""
READ: dict[str, Callable[[str], Any]] = {
    "uv": lambda text: tomllib.loads(text)["tool"]["uv"],
    "poetry": lambda text: tomllib.loads(text)["tool"]["poetry"],
    "pdm": lambda text: tomllib.loads(text)["tool"]["pdm"],
    "pipenv": tomllib.loads,
    "hatch": lambda text: tomllib.loads(text)["publish"]["index"]["repos"]["wheelyard"],
    "pip": lambda text: ini(text)["global"],
    "twine": lambda text: ini(text)["wheelyard"],
}
EXPECTED: dict[str, dict[str, Any]] = {
    "uv": {
        "index": [{**NAMED, "publish-url": UPLOAD}],
        "sources": {name: {"index": "wheelyard"} for name in NAMES},
    },
    "poetry": {
        "source": [{**NAMED, "priority": "explicit"}],
        "group": {
            "wheelyard": {
                "optional": True,
                "dependencies": {name: {"version": "*", "source": "wheelyard"} for name in NAMES},
            }
        },
    },
    "pdm": {
        "source": [
            {
                **NAMED,
                "verify_ssl": True,
                "include_packages": list(NAMES),
                "exclude_packages": ["*"],
            }
        ]
    },
    "pipenv": {
        "source": [{"name": "wheelyard", "url": INDEX[:-1], "verify_ssl": True}],
        "packages": {name: {"version": "*", "index": "wheelyard"} for name in NAMES},
    },
    "hatch": {"url": UPLOAD, "user": "__token__"},
    "pip": {"index-url": INDEX},
    "twine": {"repository": UPLOAD, "username": "__token__"},
}

ONE_URL: dict[str, dict[str, Any]] = {
    "uv": {"index": [{**NAMED, "publish-url": UPLOAD, "default": True}]},
    "poetry": {"source": [{**NAMED, "priority": "primary"}]},
    "pdm": {"source": [{"name": "pypi", "url": INDEX, "verify_ssl": True}]},
    "pipenv": {"source": [{"name": "wheelyard", "url": INDEX[:-1], "verify_ssl": True}]},
    "pip": {"index-url": INDEX},
}


def ini(text: str) -> dict[str, dict[str, str]]:
    """Read a text as pip and twine do."""
    parser = RawConfigParser()
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


@pytest.mark.parametrize("client", CLIENTS)
def test_settings_take_projects_from_the_index_alone(client: str) -> None:
    """The text says where the index is, and takes the named projects from it alone."""
    text = client_text(client, ClientSettings(root=ROOT, projects=NAMES))

    assert READ[client](text) == EXPECTED[client]


@pytest.mark.parametrize("client", ONE_URL)
def test_settings_name_one_index_if_it_has_all(client: str) -> None:
    """The text names no other index if this one serves public packages, too."""
    text = client_text(client, ClientSettings(root=ROOT, projects=NAMES, serves_public=True))

    assert READ[client](text) == ONE_URL[client]
    assert "acme-core" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("client", "projects"),
    [("uv", NAMES), ("poetry", NAMES), ("pdm", ("acme-*",)), ("pipenv", NAMES)],
)
def test_documented_settings_are_printed(client: str, projects: tuple[str, ...]) -> None:
    """The page about private and public packages shows what is printed."""
    text = client_text(client, ClientSettings(root="http://127.0.0.1:8080", projects=projects))

    lines = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    assert lines in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("client", CLIENTS)
def test_token_is_where_the_client_looks(client: str) -> None:
    """A token is where the client looks for it, and nowhere without being asked for."""
    text = client_text(client, ClientSettings(root=ROOT, projects=NAMES, token=SECRET))

    assert text.count(SECRET) == 1
    assert "# Credential" not in text
    login = f"__token__:{SECRET}@"
    assert login in text or READ[client](text).get({"hatch": "auth"}.get(client, "password"))


def test_plain_http_from_elsewhere() -> None:
    """Where pip refuses plain http, the settings say that it is meant."""
    settings = ClientSettings(root="http://10.0.0.5:8080")

    assert READ["pip"](client_text("pip", settings))["trusted-host"] == "10.0.0.5:8080"
    assert READ["pdm"](client_text("pdm", settings))["source"][0]["verify_ssl"] is False
    assert READ["pipenv"](client_text("pipenv", settings))["source"][0]["verify_ssl"] is False


@given(path=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_root_makes_valid_settings(path: str) -> None:
    """Whatever the root is, each text has the form of its file, and no other setting."""
    settings = ClientSettings(root=f"https://packages.example.com/{path}")

    for client in CLIENTS:
        text = client_text(client, settings)
        expected = EXPECTED[client].keys() - NAMING
        assert READ[client](text).keys() == expected
        assert "$" not in text.replace("${WHEELYARD_TOKEN}", "")


def test_settings_without_a_project_take_nothing() -> None:
    """Without a project nothing comes from the index, and a comment shows how to change that."""
    texts = {client: client_text(client, ClientSettings(root=ROOT)) for client in CLIENTS}

    assert READ["pdm"](texts["pdm"])["source"][0]["include_packages"] == []
    for client in ("uv", "poetry", "pipenv"):
        assert READ[client](texts[client]).keys().isdisjoint(NAMING)
        shown = re.sub(r"^# (\[|\w+ = )", r"\1", texts[client], flags=re.MULTILINE)
        named = client_text(client, ClientSettings(root=ROOT, projects=("acme-core",)))
        assert READ[client](shown.replace("NAME", "acme-core")) == READ[client](named)


@pytest.mark.parametrize("client", ["poetry", "pdm", "pipenv"])
def test_next_step_needs_named_projects(client: str) -> None:
    """No command of a client follows settings that do not name what the project needs."""
    unnamed = client_text(client, ClientSettings(root=ROOT))
    named = client_text(client, ClientSettings(root=ROOT, projects=NAMES))

    assert f"wheelyard print-settings {client} --server {INDEX} --project NAME\n" in unnamed
    assert re.search(rf"^# Then: {client} \w+", named, re.MULTILINE)
    assert "# Then" not in unnamed
    assert " add " not in unnamed


@pytest.mark.parametrize("client", ["pdm", "pipenv"])
def test_a_client_of_a_closed_index_reads_the_token_from_a_variable(client: str) -> None:
    """PDM and Pipenv have a variable in the URL where the index asks for a credential."""
    closed = ClientSettings(root=ROOT, needs_credential=True)

    text = client_text(client, closed)
    (source,) = READ[client](text)["source"]
    given = client_text(client, replace(closed, token=SECRET))

    url = "https://__token__:${WHEELYARD_TOKEN}@packages.example.com/acme/simple"
    assert source["url"].rstrip("/") == url
    assert "the variable WHEELYARD_TOKEN has the token" in text
    assert "${WHEELYARD_TOKEN}" not in READ[client](given)["source"][0]["url"]


def test_each_template_is_described() -> None:
    """Every variable of a template is in the table that whoever corrects a template reads."""
    folder = Path(client_settings.__file__).parent / "clients"
    described = set(re.findall(r"^\| `(\w+)` \|", (folder / "README.md").read_text(), re.MULTILINE))
    environment = Environment(autoescape=True)
    used = set[str]()
    for template in folder.glob("*.jinja"):
        used |= find_undeclared_variables(environment.parse(template.read_text()))

    assert used == described
