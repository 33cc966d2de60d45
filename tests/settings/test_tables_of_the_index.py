"""Tables that describe the index, in a settings file: the store has them, and says how."""

from pathlib import Path

import pytest

from wheelyard.errors import Invalid
from wheelyard.model.index_file import ALL_TABLES
from wheelyard.remedies import Remedy
from wheelyard.settings.load import load_settings
from wheelyard.settings.sections import Settings


@pytest.mark.parametrize("name", ALL_TABLES)
@pytest.mark.parametrize("header", ["[{}]", "[[{}]]"])
def test_a_table_of_the_index_stops_the_start(tmp_path: Path, name: str, header: str) -> None:
    """A settings file with a table that the store keeps is refused, with what applies the file."""
    file = tmp_path / "old.toml"
    file.write_text(f"{header.format(name)}\nsomething = 1\n")

    with pytest.raises(Invalid, match=f"old.toml has {name}: the store keeps") as refused:
        load_settings(file=file, environ={})

    assert refused.value.code == "bad_setting"
    assert refused.value.advice is not None
    assert (refused.value.advice.remedy, refused.value.advice.subject) == (
        Remedy.APPLY_FILE,
        str(file),
    )
    loaded = load_settings(file=file, environ={}, passes_over_index=True)
    assert loaded.settings == Settings()


@pytest.mark.parametrize("name", [name for name in ALL_TABLES if name != "webhook"])
def test_a_variable_of_the_index_stops_the_start(name: str) -> None:
    """A variable for such a table is refused as well, and passed over where the tables are."""
    environ = {f"WHEELYARD_{name.upper()}_X": "1"}

    with pytest.raises(Invalid, match=f"_{name.upper()}_X: the store keeps") as refused:
        load_settings(environ=environ)

    assert refused.value.advice is not None
    assert refused.value.advice.remedy is Remedy.APPLY_FILE
    assert load_settings(environ=environ, passes_over_index=True).settings == Settings()


def test_a_variable_that_nothing_knows_is_refused_everywhere() -> None:
    """A misspelt variable is refused by the commands that pass over the tables, too."""
    with pytest.raises(Invalid, match="is no setting"):
        load_settings(environ={"WHEELYARD_QUOTA_SIZE": "1"}, passes_over_index=True)
