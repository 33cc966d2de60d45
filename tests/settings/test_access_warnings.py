"""What a server says at its start of the grants and publishers of its store."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.advice import texts_of
from tests.authentication.verifiers.test_password_hashes import SHA
from tests.fake_time import START
from tests.http.servers import memory_index
from tests.index_tables import put_tables, split, toml_of
from tests.model.jobs import BUILDKITE
from wheelyard.model.grants import Granted, GrantFields
from wheelyard.settings.load import COMMAND_SOURCE, load_settings
from wheelyard.settings.sections import PublishingSettings, Settings
from wheelyard.wiring.index import Index
from wheelyard.wiring.warnings import index_warnings

TO_ANA = GrantFields(who=("htpasswd:ana",), projects=("*",), actions=("read",))
READING = "anybody may read main, whatever the grants"
PASSWORDS = "every name of access.htpasswd_file may read and upload to every project in main"


def index_of(folder: Path, text: str, source: str) -> Index:
    """Return an index with a grant that is from a file of this name, or was added by hand."""
    (folder / "users").write_text(f"ana:{SHA}\n")
    of_process, of_index = split(text)
    (folder / "wheelyard.toml").write_text(of_process)
    loaded = load_settings(file=folder / "wheelyard.toml", environ={})
    index = memory_index(folder, loaded.settings, tables=of_index)
    index.server.sources = loaded.sources
    granted = Granted(at=START, by="local:ana", id="g1", grant=TO_ANA, source=source)
    index.server.access.records.change(lambda _: (granted,))
    return index


def warned_of(index: Index) -> list[str]:
    """Return the beginnings of what is said about grants of a file."""
    texts = texts_of(index_warnings(index))
    return [words for words in (READING, PASSWORDS) if any(words in text for text in texts)]


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        ("", "prod.toml", [READING]),
        ("", "", []),
        ("[access]\nprivate = false\n", "prod.toml", []),
        ("[access]\nprivate = true\n", "prod.toml", []),
        ('[main]\nread = "anyone"\n', "prod.toml", []),
        ('[main]\nread = "granted"\n', "prod.toml", []),
        ('[access]\nhtpasswd_file = "users"\n', "prod.toml", [READING, PASSWORDS]),
        ('[access]\nprivate = true\nhtpasswd_file = "users"\n', "prod.toml", [PASSWORDS]),
        (
            '[access]\nprivate = true\nhtpasswd_file = "users"\nhtpasswd_may = []\n',
            "prod.toml",
            [],
        ),
    ],
)
def test_what_grants_of_a_file_leave_open_is_said(
    tmp_path: Path, text: str, source: str, expected: list[str]
) -> None:
    """Who brings grants by a file, and does not say who reads and what passwords may, is told."""
    assert warned_of(index_of(tmp_path, text, source)) == expected


def test_a_default_of_a_command_decides_nothing(tmp_path: Path) -> None:
    """What `wheelyard run` lets names of the htpasswd file do by itself is told of as well."""
    index = index_of(tmp_path, '[access]\nprivate = true\nhtpasswd_file = "users"\n', "a.toml")
    index.server.sources = {**index.server.sources, ("access", "htpasswd_may"): COMMAND_SOURCE}

    assert warned_of(index) == [PASSWORDS]


def test_publishers_without_an_audience(tmp_path: Path) -> None:
    """Where publishers are in the store, and no job gets a token, the start says what to set."""
    index = memory_index(tmp_path)
    put_tables(index, toml_of(publisher=[BUILDKITE]))
    words = "set trusted_publishing.audience"
    section = PublishingSettings(audience=("packages.acme.dev",))
    enabled = memory_index(
        tmp_path,
        replace(Settings(), trusted_publishing=section),
        store=index.stores.documents,
    )

    assert [words in text for text in texts_of(index_warnings(index))] == [True]
    assert not any(words in text for text in texts_of(index_warnings(enabled)))
