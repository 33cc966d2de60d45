"""Upstream indexes as layers of indexes in the store: who knows the labels, and which are taken."""

from typing import Final

import pytest

from tests.advice import texts_of
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.refused import refused
from wheelyard.api.health_operations import show_health
from wheelyard.api.operation import Call
from wheelyard.errors import Conflict, Invalid, Unavailable
from wheelyard.model.index_name import MAIN
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.base import Stores
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.warnings import index_warnings

ML: Final = {"name": "ml", "layers": ["ml", "pytorch", "pypi"]}
OVER: Final = {"name": "over", "layers": ["over", "ml"]}


def section(*labels: str) -> UpstreamSettings:
    """Return `[upstream]` with an upstream index of each label."""
    tables = ({"label": label, "url": f"https://{label}.example/simple/"} for label in labels)
    return UpstreamSettings(index=tuple(tables))


def settings_of(*labels: str) -> Settings:
    """Return the settings of a server with an upstream index of each label."""
    return Settings(upstream=section(*labels))


def served(harness: IndexHarness, settings: Settings) -> Index:
    """Return the index as a server of the store has it."""
    spool, runtime = Spool(harness.folder), harness.index.server.runtime
    return build_index(
        Stores.of(harness.store),
        spool,
        settings,
        runtime,
        harness.index.server.traits,
        is_server=True,
    )


def test_a_command_without_the_settings_makes_the_index(harness: IndexHarness) -> None:
    """Who does not know the labels of the server makes the index, and is told of it."""
    made = harness.index.server.index_administration.add(ML, "local:bo")
    harness.index.server.index_administration.add(OVER, "local:bo")

    assert "'pytorch' is no index of this store, so it has to be the label of an" in made.problem
    indexes = served(harness, settings_of("pytorch", "pypi")).server.indexes
    assert [index.name for index in indexes.all()] == [MAIN, "ml", "over"]
    upstream = indexes.get("over").upstream
    assert upstream is not None
    labels = tuple(client.server.label for client in upstream.clients.in_order)
    assert labels == ("pytorch", "pypi")


def test_a_command_without_the_settings_takes_no_index_for_a_label(harness: IndexHarness) -> None:
    """Who knows of no upstream index cannot have all of them as a layer beside other indexes."""
    administration = harness.index.server.index_administration
    administration.add({"name": "dev"}, "local:bo")

    with refused(Invalid, "invalid_index", r"its layer upstream needs an \[upstream\] in"):
        administration.add({"name": "qa", "layers": ["qa", "dev", "upstream"]}, "local:bo")

    assert [row.name for row in administration.show()] == [MAIN, "dev"]


def test_a_server_without_the_label_shows_nothing_of_the_index(harness: IndexHarness) -> None:
    """Without an upstream index of its layers an index is not shown, nor is one made from it."""
    harness.index.server.index_administration.add(ML, "local:bo")
    harness.index.server.index_administration.add(OVER, "local:bo")
    for settings in (settings_of("pypi"), Settings()):
        index = served(harness, settings)
        for name in ("ml", "over"):
            with pytest.raises(Unavailable) as refused:
                index.named(name)
            assert refused.value.code == "wrong_index"
        assert any("'pytorch'" in text for text in texts_of(index_warnings(index)))
        problems = {row.name: row.problem for row in index.server.index_administration.show()}
        assert "no [[upstream.index]] of this label in the settings" in problems["ml"]
        assert "It cannot be shown whole" in problems["ml"]
        health = {
            part.name: part.state for part in show_health(Call(index=index, caller=ALICE)).parts
        }
        assert (health["index ml"], health["index over"]) == ("failed", "failed")


@pytest.mark.parametrize("layers", [["qa", "torch"], ["qa", "PyTorch"], ["pytorch", "upstream"]])
def test_a_server_knows_its_labels(harness: IndexHarness, layers: list[str]) -> None:
    """With the settings of the server, a layer that is neither index nor label is refused."""
    administration = harness.opened(
        3, settings=settings_of("PyTorch", "pypi")
    ).server.index_administration

    with pytest.raises(Invalid) as refused:
        administration.add({"name": "qa", "layers": layers}, "local:bo")

    assert refused.value.code == "invalid_index"


def test_no_index_gets_the_name_of_a_label(harness: IndexHarness) -> None:
    """The label of an upstream index is no name for an index, neither now nor at a later start."""
    settings = settings_of("pytorch", "pypi")
    here = harness.opened(3, settings=settings)
    here.server.index_administration.add(ML, "local:bo")
    with pytest.raises(Conflict, match="is the label of an upstream index") as refused:
        here.server.index_administration.add({"name": "pytorch"}, "local:bo")
    assert refused.value.code == "index_exists"

    harness.index.server.index_administration.add(
        {"name": "pytorch"}, "local:bo"
    )  # does not know it

    with pytest.raises(Unavailable):  # nobody can tell what is meant
        here.named("ml")
    with pytest.raises(Invalid, match='another label, such as "pytorch-index"') as stopped:
        served(harness, settings)
    assert stopped.value.code == "bad_setting"
    renamed = served(harness, settings_of("pytorch-index", "pypi"))
    assert renamed.named("pytorch").definition.has_packages
