"""What pages say of rights on a server with several indexes, which may give a person others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_wheel
from tests.http.browser import Browser
from tests.http.handlers.test_manage import PASSWORD, text_of
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from wheelyard.model.index_name import MAIN
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["htpasswd:ana"], "projects": ["*"], "actions": ["manage"]},
    {"who": ["htpasswd:bo"], "projects": ["*"], "actions": ["read"], "index": "main,dev"},
    {"who": ["htpasswd:bo"], "projects": ["*"], "actions": ["manage"], "index": "prod"},
    {"who": ["htpasswd:cy"], "projects": ["*"], "actions": ["admin"], "index": "dev"},
    {"who": ["htpasswd:di"], "projects": ["*"], "actions": ["admin"], "index": "main"},
)
TABLES = toml_of(main=OPEN_MAIN, index=({"name": "dev"}, {"name": "prod"}))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """Serve three indexes: ana has rights in main alone, bo the same in main and `dev`."""
    folder: Path = tmp_path_factory.mktemp("server")
    (folder / "htpasswd").write_text(f"ana:{SHA}\nbo:{SHA}\ncy:{SHA}\ndi:{SHA}\n")
    settings = Settings(
        server=ServerSettings(public_url="http://index"),
        access=AccessSettings(
            private=True,
            cookie_login=True,
            htpasswd_file=str(folder / "htpasswd"),
            htpasswd_may=(),
        ),
    )
    with in_process(folder, settings, tables=TABLES + toml_of(grant=GRANTS)) as opened:
        for name in (MAIN, "prod"):
            opened.publish_to(name, make_wheel())
        yield opened


def signed_in(server: InProcessServer, name: str) -> Browser:
    """Return the browser of a person who has signed in."""
    browser = Browser(server)
    assert browser.sign_in(name, PASSWORD).status == 303
    return browser


@pytest.mark.parametrize(
    ("name", "rights", "title"),
    [
        ("ana", "You may read, upload to and manage every project API", "Your projects None yet"),
        (
            "bo",
            "You may read every project You may in prod read, upload to and manage every project ",
            "Your projects in the index main ",
        ),
    ],
)
def test_the_account_names_indexes_with_other_rights(
    server: InProcessServer, name: str, rights: str, title: str
) -> None:
    """People see what they may do, and each index in which they may do something else."""
    text = text_of(signed_in(server, name).open("/-/account/"))

    assert rights in text
    assert title in text


def test_uploaders_are_those_of_the_index(server: InProcessServer) -> None:
    """The page of a project names only people whose right to upload holds in its index."""
    pages = {
        person: text_of(signed_in(server, person).open(f"{index}/project/demo/"))
        for person, index in (("ana", ""), ("bo", "/prod"))
    }

    assert "Who may upload ana, by password" in pages["ana"]
    assert "bo, by password" not in pages["ana"]
    assert "Who may upload bo, by password" in pages["bo"]
    assert "ana, by password" not in pages["bo"]


def test_a_token_may_name_several_indexes(server: InProcessServer) -> None:
    """The form of a token has a box for each index, and several of them may be ticked."""
    bo, path = signed_in(server, "bo"), "/-/account/tokens/"
    page = bo.open(f"{path}?index=prod").body
    assert b'name="index" value="dev"> ' in page
    assert b'name="index" value="prod" checked> ' in page
    fields = {"action": "create", "name": "promoter", "can": "read", "projects": "*", "days": "9"}

    form = {"csrf_token": bo.form_token(path), **fields, "index": ["prod", "dev"]}
    made = bo.follow(bo.send(path, form))

    assert "read every project in the indexes dev and prod" in text_of(made)


def test_administrator_of_an_index_sees_no_server_pages(
    server: InProcessServer,
) -> None:
    """Whoever administers one index sees no link to the pages of all, which refuse them."""
    browser = signed_in(server, "cy")

    assert "Administration" not in text_of(browser.open("/dev/"))
    assert browser.open("/-/admin/").status == 403


def test_who_administers_main_alone_is_told_whose_pages_those_are(server: InProcessServer) -> None:
    """The pages of the server refuse an administrator of main alone, and say whom they are for."""
    page = signed_in(server, "di").open("/-/admin/")

    assert page.status == 403
    assert "It is for administrators of the server: your right to administer" in text_of(page)
