"""What a server says at its start of the publishers of its store."""

from pathlib import Path

from msgspec.structs import replace

from tests.advice import texts_of
from tests.http.servers import memory_index
from tests.index_tables import put_tables, toml_of
from tests.model.jobs import BUILDKITE
from wheelyard.settings.sections import PublishingSettings, Settings
from wheelyard.wiring.warnings import index_warnings


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
