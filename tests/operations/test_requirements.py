"""Warnings of private requirements that an index does not show after a change."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import make_requiring
from tests.index_tables import put_tables, toml_of
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.operations.two_indexes import TwoIndexes
from wheelyard.catalog import keys
from wheelyard.model.access import Action, Caller, Pattern, Scope
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import File
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.requirements import MOST_LOOKED_UP
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.wiring.index import Index

CORE, LIB = NormalizedName("acme-core"), NormalizedName("acme-lib")
BEGINNING = "acme-core 1.2 requires acme-lib"
AFTER = "After this, acme-core 1.2 has no acme-lib"


@dataclass
class Places:
    """The indexes `dev` and `prod`, and perhaps others."""

    harness: IndexHarness
    root: Index

    def publish(self, index: str, name: str, version: str, *requirements: str) -> None:
        """Upload a release to an index."""
        arrival = make_requiring(name, version, *requirements).arrival(self.harness.folder)
        self.root.named(index).uploads.accept(arrival, ALICE)

    def files(self, index: str, name: NormalizedName, version: str = "") -> list[File]:
        """Return the files of a project, perhaps of one version."""
        files = self.root.named(index).projects.read_for_update(name).files
        return [file for file in files if version in ("", file.version)]

    def promoted(self, caller_in: Callable[[Index], Caller] = lambda _: ALICE) -> tuple[str, ...]:
        """Return the warnings of a promotion of acme-core 1.2 from `dev` to `prod`."""
        check = self.root.server.requirements(caller_in)
        return check.of_promotion("dev", "prod", CORE, self.files("dev", CORE, "1.2"))

    def deleted(
        self, *versions: str, index: str = "dev", caller_in: Callable[[Index], Caller] | None = None
    ) -> tuple[str, ...]:
        """Return the warnings of a deletion of releases of acme-lib."""
        files = [file for version in versions for file in self.files(index, LIB, version)]
        check = self.root.server.requirements(caller_in or (lambda _: ALICE))
        return check.of_deletion(index, {LIB: files})


def places(
    harness: IndexHarness, *more: dict[str, object], private: tuple[str, ...] = ()
) -> Places:
    """Return the indexes, of which `more` are tables."""
    named = {table["name"] for table in more}
    tables = tuple({"name": name} for name in ("dev", "prod") if name not in named)
    settings = Settings(access=AccessSettings(private_names=private))
    put = toml_of(index=(*tables, *more))
    return Places(harness, harness.opened(2, settings=settings, tables=put))


def reader_of(**names: tuple[str, ...]) -> Callable[[Index], Caller]:
    """Return a caller who may read only these names in each index."""

    def caller_in(index: Index) -> Caller:
        patterns = tuple(map(Pattern, names.get(index.name, ())))
        return Caller("token:x", (Scope(Action.READ, patterns, (MAIN,)),))

    return caller_in


@pytest.mark.parametrize(
    ("requirement", "in_prod", "in_dev", "rest"),
    [
        (
            "acme-lib>=1",
            (),
            ("0.9", "1.3", "1.2"),
            ">=1, which prod does not show: promote it, too. The index dev has acme-lib 1.3.",
        ),
        (
            "Acme_Lib[fast] <2,>=1; python_version < '3.12'",
            ("0.9",),
            ("1.3",),
            ">=1,<2, which prod does not show: promote it, too. The index dev has acme-lib 1.3.",
        ),
        (
            "acme-lib>2",
            ("1.3",),
            ("1.3",),
            ">2, which prod does not show. No index that you may read has it.",
        ),
        ("acme-lib>=1", ("1.0",), ("1.3",), ""),
        ("acme-lib", ("2.0rc1",), ("1.3",), ""),
        ("acme-lib>=1; extra == 'fast'", (), ("1.3",), ""),
        ("acme-lib @ https://files.acme.dev/acme_lib-1.3-py3-none-any.whl", (), ("1.3",), ""),
        ("requests>=2", (), ("1.3",), ""),
        ("acme-core[fast]>=1", (), ("1.3",), ""),
    ],
)
def test_what_a_promoted_release_lacks(
    harness: IndexHarness,
    requirement: str,
    in_prod: tuple[str, ...],
    in_dev: tuple[str, ...],
    rest: str,
) -> None:
    """A promotion says which private requirement the target does not show, and where it is."""
    there = places(harness)
    there.publish("dev", "acme-core", "1.2", requirement)
    for index, versions in (("prod", in_prod), ("dev", in_dev)):
        for version in versions:
            there.publish(index, "acme-lib", version)

    warnings = there.promoted()

    assert warnings == ((BEGINNING + rest,) if rest else ())


def test_a_yanked_release_fits_a_pin_alone(harness: IndexHarness) -> None:
    """A release that is yanked in the target is enough for a requirement of its very version."""
    there = places(harness)
    requirements = ("acme-lib>=1", "acme-lib==1.3", "acme-lib===1.3", "acme-lib==1.*")
    there.publish("dev", "acme-core", "1.2", *requirements)
    there.publish("prod", "acme-lib", "1.3")
    prod = there.root.named("prod")
    prod.lifecycle.change("yank", ALICE, LIB, Selection(Version("1.3")), "")

    unmet = [warning.partition(",")[0] for warning in there.promoted()]

    assert unmet == [f"{BEGINNING}>=1", f"{BEGINNING}==1.*"]


def test_the_source_is_named_first(harness: IndexHarness) -> None:
    """Of several indexes with a version that fits, the one is named that is promoted from."""
    there = places(harness, {"name": "base"})
    there.publish("dev", "acme-core", "1.2", "acme-lib>=1")
    for index, version in (("base", "1.4"), ("dev", "1.3")):
        there.publish(index, "acme-lib", version)

    (warning,) = there.promoted()

    assert warning.endswith("The index dev has acme-lib 1.3.")


def test_a_name_of_the_settings_is_private(harness: IndexHarness) -> None:
    """A requirement counts if the settings make its name private, although nobody has it."""
    there = places(harness, private=("acme-*",))
    there.publish("dev", "acme-core", "1.2", "acme-lib", "requests")

    lacking = "which prod does not show. No index that you may read has it."
    assert there.promoted() == (f"{BEGINNING}, {lacking}",)


def test_a_pattern_of_every_name_makes_none_private(harness: IndexHarness) -> None:
    """Where the settings call every name private, public requirements are not warned of."""
    there = places(harness, private=("*",))
    there.publish("dev", "acme-core", "1.2", "requests")

    assert there.promoted() == ()


def test_a_layer_of_the_target_counts(harness: IndexHarness) -> None:
    """What the target shows of a layer fits, and what a layer before its own hides does not."""
    there = places(harness, {"name": "base"}, {"name": "prod", "layers": ["base", "prod"]})
    there.publish("dev", "acme-core", "1.2", "acme-lib>=1", "acme-tool>=2")
    there.publish("base", "acme-lib", "1.0")
    there.publish("base", "acme-tool", "1.0")
    there.publish("prod", "acme-tool", "3.0")

    fact = "acme-core 1.2 requires acme-tool>=2, which prod does not show"
    assert there.promoted() == (f"{fact}: its layers hide the acme-tool 3.0 that it has.",)


@pytest.mark.parametrize(
    ("names", "warnings"),
    [
        ({"dev": ("acme-core",), "prod": ("acme-*",)}, 0),
        ({"dev": ("acme-*",), "prod": ("acme-core",)}, 0),
        ({"dev": ("acme-*",), "prod": ("acme-*",)}, 1),
    ],
)
def test_a_promotion_tells_no_secret(
    harness: IndexHarness, names: dict[str, tuple[str, ...]], warnings: int
) -> None:
    """Who may not read a requirement in both indexes hears nothing of it, nor where else it is."""
    there = places(harness, {"name": "secret"})
    there.publish("dev", "acme-core", "1.2", "acme-lib>=1")
    there.publish("dev", "acme-lib", "0.1")
    there.publish("secret", "acme-lib", "1.3")

    lacking = there.promoted(reader_of(**names))

    assert len(lacking) == warnings
    assert "secret" not in str(lacking)


def test_a_lost_file_is_no_error(harness: IndexHarness) -> None:
    """Requirements that cannot be looked up are a warning, and the change is made all the same."""
    there = places(harness)
    there.publish("dev", "acme-core", "1.2", "acme-lib")
    there.publish("dev", "acme-lib", "1.3")
    there.root.named("dev").search.table()
    (file,) = there.files("dev", CORE)
    harness.store.delete(keys.core_metadata(CORE, file.sha256, file.filename))

    assert "prod shows what acme-core 1.2 requires: it could not be" in str(there.promoted())
    assert "which releases require what is deleted in dev" in str(there.deleted("1.3"))


def test_very_many_requirements(harness: IndexHarness) -> None:
    """Of a release with very many private requirements a part is looked up, and that is said."""
    there = places(harness, private=("acme-*",))
    many = (f"acme-{number}" for number in range(MOST_LOOKED_UP + 2))
    there.publish("dev", "acme-core", "1.2", *many)

    warnings = there.promoted()

    assert len(warnings) == MOST_LOOKED_UP + 1
    assert warnings[-1] == "acme-core 1.2 has 2 more requirements, which were not looked up."


@pytest.mark.parametrize(
    ("gone", "warnings"),
    [(("1.3",), 0), (("1.3", "1.0"), 1), (("0.9",), 0)],
)
def test_what_a_deletion_takes_away(
    harness: IndexHarness, gone: tuple[str, ...], warnings: int
) -> None:
    """A deletion says which latest release has no version any more that it requires."""
    there = places(harness)
    there.publish("dev", "acme-core", "1.1", "acme-lib<1")
    there.publish("dev", "acme-core", "1.2", "acme-lib>=1")
    for version in ("0.9", "1.0", "1.3"):
        there.publish("dev", "acme-lib", version)
    files = [file for version in gone for file in there.files("dev", LIB, version)]
    expected = (f"{AFTER}>=1 in dev.",) * warnings

    assert there.deleted(*gone) == expected

    for version in gone:
        selection = Selection(Version(version))
        there.root.named("dev").lifecycle.change("delete", ALICE, LIB, selection, "")
    check = there.root.server.requirements(lambda _: ALICE)
    assert check.of_deletion("dev", {LIB: files}) == expected
    assert check.of_deletion("dev", {LIB: ()}) == ()


def test_a_name_that_is_released_meanwhile(harness: IndexHarness) -> None:
    """A deletion whose project is gone by the time it is looked up has no warning of it."""
    there = places(harness)
    there.publish("dev", "acme-core", "1.2", "acme-lib>=1")
    there.publish("dev", "acme-lib", "1.3")
    files = there.files("dev", LIB)
    dev = there.root.named("dev")
    dev.lifecycle.change("delete", ALICE, LIB, Selection(Version("1.3")), "")

    dev.names.release(ALICE, LIB, "")

    check = there.root.server.requirements(lambda _: ALICE)
    assert check.of_deletion("dev", {LIB: files}) == ()


def test_a_project_that_another_process_deletes(harness: IndexHarness) -> None:
    """A project that another process deletes is in no warning, nor once its name is released."""
    there = places(harness)
    there.publish("dev", "acme-core", "1.2", "acme-lib>=1")
    there.publish("dev", "acme-lib", "1.3")
    assert there.deleted("1.3") == (f"{AFTER}>=1 in dev.",)
    other = harness.opened(3).named("dev")
    other.lifecycle.change("delete", ALICE, CORE, Selection(Version("1.2")), "")

    assert there.deleted("1.3") == ()

    other.names.release(ALICE, CORE, "")

    assert there.deleted("1.3") == ()


def test_a_layer_is_deleted_from(harness: IndexHarness) -> None:
    """A deletion counts for indexes that show the layer, unless they have their own project."""
    layered: dict[str, object] = {"name": "team", "layers": ["team", "dev"]}
    own: dict[str, object] = {"name": "own", "layers": ["own", "dev"]}
    there = places(harness, layered, own)
    there.publish("team", "acme-core", "1.2", "acme-lib>=1")
    there.publish("own", "acme-core", "1.2", "acme-lib>=1")
    there.publish("own", "acme-lib", "0.1")
    there.publish("dev", "acme-lib", "1.3")

    assert there.deleted("1.3") == (f"{AFTER}>=1 in team.",)
    assert there.deleted("1.3", caller_in=reader_of(dev=("*",))) == ()
    for name in ("acme-lib", "acme-core"):
        assert there.deleted("1.3", caller_in=reader_of(dev=("*",), team=(name,))) == ()


def test_a_merged_name_is_deleted_from(harness: IndexHarness) -> None:
    """A file that an upper layer deletes is shown no more, although a lower layer has it, too."""
    merged: dict[str, object] = {"name": "team", "layers": ["dev", "prod"], "merge": ["acme-lib"]}
    there = places(harness, merged)
    there.publish("prod", "acme-core", "1.2", "acme-lib>=1")
    for index in ("dev", "prod"):
        there.publish(index, "acme-lib", "1.3")

    assert there.deleted("1.3", index="dev") == (f"{AFTER}>=1 in team.",)
    assert there.deleted("1.3", index="prod") == (f"{AFTER}>=1 in prod.",)


def test_very_many_projects_require_it(harness: IndexHarness) -> None:
    """Of very many projects that require what is deleted a part is looked up, and that is said."""
    there = places(harness)
    there.publish("dev", "acme-lib", "1.3")
    for number in range(MOST_LOOKED_UP + 1):
        there.publish("dev", f"acme-{number}", "1.0", "acme-lib")

    warnings = there.deleted("1.3")

    assert len(warnings) == MOST_LOOKED_UP + 1
    assert warnings[-1] == "1 more projects require what is deleted, and were not looked up."


def test_the_table_for_searches_is_not_complete(harness: IndexHarness) -> None:
    """A deletion says of how many projects nobody knows yet what they require."""

    def no_thread(_: object) -> None:
        raise RuntimeError

    there = places(harness)
    there.publish("dev", "acme-core", "1.2", "acme-lib")
    there.publish("dev", "acme-lib", "1.3")
    there.root.named("dev").search.start = no_thread

    unknown = "1 project may require it, too: the table for searches is not complete yet."
    check = there.root.server.requirements(lambda _: ALICE)
    assert check.of_deletion("dev", {LIB: ()}) == ()
    assert there.deleted("1.3") == (unknown,)


def test_rules_of_retention(harness: IndexHarness) -> None:
    """A preview and a run of retention say which release lacks then what it requires."""
    put_tables(harness.index, '[[retention]]\nindex = "dev"\nkeep_last = 1\n')
    both = TwoIndexes(harness)
    both.upload(make_requiring("acme-core", "1.2", "acme-lib<2"))
    for version in ("1.3", "2.0"):
        both.upload(make_requiring("acme-lib", version))
    retention = both.dev.server.retention
    assert retention is not None

    preview = retention.preview(ALICE)
    report = retention.run(ALICE, plan=preview.plan)

    assert preview.warnings == (f"{AFTER}<2 in dev.",)
    assert report == replace(preview, rules=report.rules if report else ())
