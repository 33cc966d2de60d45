"""What earlier versions have stored of main, which had no name, and what a client may send."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from wheelyard.api.project_operations import FileAnswer
from wheelyard.errors import Invalid
from wheelyard.model.index_definition import read_definition
from wheelyard.model.index_texts import index_of_texts, texts_of_index
from wheelyard.model.project import Event, File, PromotionData
from wheelyard.model.project_json import EventJson, FileJson, JournalEntry
from wheelyard.model.retention_rules import parse_rules
from wheelyard.model.stored_indexes import INDEX_KIND, with_main_named

AT = datetime(2026, 1, 1, tzinfo=UTC)
UPLOADED = File(
    filename="demo-1.0.tar.gz",
    version="1.0",
    sha256="0" * 64,
    size=1,
    uploaded_at=AT,
    uploaded_by="local:bo",
)
PROMOTED = replace(UPLOADED, promoted_at=AT, promoted_to=("", "dev", "main"))
"""A file that came from main, and is noted as promoted to it by two versions."""


def test_a_promotion_of_an_earlier_version_names_main() -> None:
    """Records and notes with an empty text are those of main, in each form that is shown."""
    note = Event.promotion_noted(PromotionData(""), ("a",), at=AT, by="local:bo", by_name="")

    for shown in (FileJson.from_file(PROMOTED), FileAnswer.of(PROMOTED)):
        assert (shown.promoted_from, shown.promoted_to) == ("main", ("dev", "main"))
    for shown in (FileJson.from_file(UPLOADED), FileAnswer.of(UPLOADED)):
        assert (shown.promoted_from, shown.promoted_to) == ("", ())
    assert EventJson.from_event(note).index == "main"
    assert note.is_known
    # as an older server sends it
    entry = JournalEntry(
        at=AT, project=None, commit=1, what="promoted", files=(), by="", by_name="", credential=""
    )
    assert entry.other_index == "from main"


def test_a_definition_of_an_earlier_version_names_main() -> None:
    """An empty layer is main, in what is shown, in forms and in what is stored anew."""
    stored = {"name": "team", "layers": ["team", ""], "promote_from": [""], "index_size": ""}

    assert with_main_named(stored)["layers"] == ["team", "main"]
    assert with_main_named(stored)["index_size"] == ""
    assert INDEX_KIND.describe_keys({"name": "x", "layers": ["team", ""]}) == "layers team main"
    assert texts_of_index({"layers": ["team", ""]}) == {"layers": "team, main"}
    for text in ('team, ""', "team, main"):
        assert index_of_texts({"layers": text}) == {"layers": ["team", "main"]}
    with pytest.raises(Invalid, match="a comma without a name"):
        index_of_texts({"layers": "team,"})


@pytest.mark.parametrize("table", [{}, {"index": ""}, {"index": "main"}])
def test_a_rule_without_an_index_is_about_main(table: dict[str, str]) -> None:
    """A rule of retention that names no index, an empty one or main is about main."""
    (rule,) = parse_rules([{**table, "keep_last": 3}])

    assert rule.index == "main"


def test_main_takes_releases_from_an_empty_name() -> None:
    """An empty text in `promote_from` is main."""
    definition = read_definition({"name": "prod", "promote_from": ["", "dev"]})

    assert definition.promotion.promote_from == ("main", "dev")
