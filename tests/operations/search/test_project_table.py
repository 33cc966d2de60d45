"""Questions about all projects that a caller may read."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.operations.in_memory_index import ALICE
from wheelyard.model.access import ANONYMOUS, Action, Caller, Pattern, Scope
from wheelyard.model.index_name import MAIN
from wheelyard.model.quotas import ListedAmount
from wheelyard.operations.search.project_table import (
    ProjectTable,
    SearchResults,
    edit_distance,
    table_of,
)
from wheelyard.rendering.project_facts import ProjectFacts, fold, name_facts

NAMES = st.text("ab0z-", min_size=1, max_size=5).map(NormalizedName)
PATTERNS = st.one_of(NAMES, NAMES.map(lambda name: f"{name}*"), st.just("a-*")).map(Pattern)
SCOPES = st.builds(
    Scope,
    st.sampled_from([Action.READ, Action.UPLOAD, Action.UPLOAD.with_implied]),
    st.lists(PATTERNS, max_size=4).map(tuple),
)
PRINCIPALS = st.sampled_from(["user:ana@acme.dev", ANONYMOUS])
CALLERS = st.builds(Caller, PRINCIPALS, st.lists(SCOPES, max_size=3).map(tuple))


def facts(name: str, summary: str = "", **others: str | int) -> ProjectFacts:
    """Return the facts of a project."""
    words = others.get("keywords", "")
    text = fold(f"{name} {summary} {words} {others.get('imports', '')}")
    return ProjectFacts(NormalizedName(name), summary=summary, text=text, **others)  # type: ignore[arg-type]


def search(table: ProjectTable, text: str) -> list[str]:
    """Return the names that a search by somebody who may read everything finds."""
    part = table.readable_by(ALICE).search(text, 0, len(table.projects))
    assert part.total == len(part.projects)
    return [project.name for project in part.projects]


def test_order_of_results() -> None:
    """First comes the name itself, then names that begin with it, that contain it, the rest."""
    table = table_of(
        [
            facts("my-acme-core"),
            facts("acme-core-extra"),
            facts("zebra", "Wraps ACME.core"),
            facts("acme-core"),
            facts("core", "of acme"),
        ]
    )
    names = ["acme-core", "acme-core-extra", "my-acme-core", "zebra"]

    assert search(table, "acme-core") == names
    part = table.readable_by(ALICE).search("acme-core", 1, 3)
    assert (part.total, [project.name for project in part.projects]) == (4, names[1:3])
    assert search(table, "Acme_Core") == names
    assert search(table, "acme.core") == names
    assert search(table, "  core ACME ") == ["acme-core", "acme-core-extra", "core", *names[2:]]


IMPORTED = table_of(
    [
        facts("acme-x"),
        facts("acme-x-tools"),
        facts("all-of-acme", imports=" acme "),
        facts("about", "What acme.x is"),
        facts("gives-x", imports=" acme.x acme.* "),
        facts("gives-y", imports=" acme.x.y acme.* acme.x.* "),
        facts("pil-fork", imports=" pil "),
        facts("stranger", imports=" acme.x ", origin="pypi"),
    ]
)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("import acme.x", ["gives-x", "gives-y", "all-of-acme", "acme-x", "stranger"]),
        ("import  acme.x as x", ["gives-x", "gives-y", "all-of-acme", "acme-x", "stranger"]),
        ("from acme.x import y, z", ["gives-y", "gives-x", "all-of-acme", "acme-x", "stranger"]),
        ("from acme import (", ["all-of-acme", "gives-x", "gives-y", "acme-x"]),
        ("acme.x", ["acme-x", "gives-x", "gives-y", "all-of-acme", "stranger"]),
        ("Acme.X.Run.now", ["gives-x", "all-of-acme", "stranger"]),
        ("import PIL", ["pil-fork"]),
        ("import acme.x, os", ["gives-x", "gives-y", "all-of-acme", "acme-x", "stranger"]),
        ("import tools", ["acme-x-tools"]),
        ("import acme.x tools", []),
        (f"import a{'.a' * 4000}", []),
    ],
)
def test_imports_are_found(typed: str, found: list[str]) -> None:
    """A name or a line that imports finds what gives it: the nearest name, private ones first."""
    assert search(IMPORTED, typed)[: len(found) or None] == found


def test_a_namespace_gives_nothing_below_it() -> None:
    """What has something in a namespace is found by the namespace, not by all names in it."""
    table = table_of([facts("part", imports=" acme.* "), facts("x", imports=" acme.x ")])
    assert search(table, "import acme") == ["part", "x"]
    assert search(table, "import acme.z") == []


def test_imports_of_hidden_projects_are_not_found() -> None:
    """Nobody finds by an import name what they may not read."""
    ana = Caller("user:ana@acme.dev", (Scope(Action.READ, (Pattern("acme-*"),), (MAIN,)),))
    found = IMPORTED.readable_by(ana).search("import acme.x", 0, 9)
    assert [project.name for project in found.projects] == ["acme-x", "stranger", "acme-x-tools"]


def test_private_projects_come_first() -> None:
    """Of equally good results, private projects come before public ones; an exact name is first."""
    table = table_of(
        [
            facts("core", origin="pypi"),
            facts("core-a", origin="pypi"),
            facts("core-b"),
            facts("a-core", origin="pypi"),
            facts("b-core"),
            facts("x", "core", origin="pypi"),
            facts("y", "core"),
        ]
    )

    expected = ["core", "core-b", "core-a", "b-core", "a-core", "y", "x"]
    assert search(table, "core") == expected
    part = table.readable_by(ALICE).search("core", 1, 3)
    assert (part.total, [project.name for project in part.projects]) == (7, expected[1:3])


def test_public_projects_are_apart() -> None:
    """The newest uploads and changes are those of private projects; users of one are marked."""
    table = table_of(
        [
            facts("a", uploaded=1, changed=1, requires=" b "),
            facts("b", uploaded=9, origin="pypi", requires=" a "),
        ]
    )
    visible = table.readable_by(ALICE)

    assert [project.name for project in visible.latest_changes(5)] == ["a"]
    assert [project.name for project in visible.private] == ["a"]
    assert [project.name for project in visible.public] == ["b"]
    assert visible.used_by(NormalizedName("a")) == [table.find(NormalizedName("b"))]
    assert visible.used_by(NormalizedName("b")) == [table.find(NormalizedName("a"))]


def test_names_alone_use_no_quota() -> None:
    """Projects of which only the names are known count as no files, and as no bytes."""
    table = table_of([name_facts(NormalizedName("a")), name_facts(NormalizedName("b"))])
    assert table.usage == ListedAmount(0, 0)
    assert table_of([facts("a", bytes=7, files=2), *table.projects]).usage == ListedAmount(7, 2)


def test_every_word_has_to_be_there() -> None:
    """Every word has to be there, in name, summary or keywords; no words find nothing."""
    table = table_of([facts("a", "Größe messen", keywords="tape,ruler"), facts("b", "Größe")])

    assert search(table, "größe") == ["a", "b"]
    assert search(table, "RULER gröss") == []
    assert search(table, "ruler Größe") == ["a"]
    assert search(table, " ") == []


def test_nobody_is_told_of_others() -> None:
    """Counts, uploads, users of a project and results have only what the caller may read."""
    table = table_of(
        [
            facts("acme-core", uploaded=1, changed=1),
            facts("acme-web", "Uses secret-plan", requires=" acme-core ", uploaded=2, changed=2),
            facts("secret-plan", "acme", requires=" acme-core ", uploaded=3, changed=3),
        ]
    )
    ana = Caller("user:ana@acme.dev", (Scope(Action.READ, (Pattern("acme-*"),), (MAIN,)),))
    visible, core = table.readable_by(ana), NormalizedName("acme-core")

    assert len(visible.projects) == 2
    assert visible.search("acme", 0, 9) == SearchResults(2, [*visible.projects])
    assert [project.name for project in visible.latest_changes(1)] == ["acme-web"]
    assert [project.name for project in visible.used_by(core)] == ["acme-web"]
    named = visible.named([NormalizedName("secret-plan"), core])
    assert [project.name for project in named] == [core]
    everybody = table.readable_by(ALICE).used_by(core)
    assert [project.name for project in everybody] == ["acme-web", "secret-plan"]
    assert table.readable_by(Caller("user:eve@acme.dev", ())).projects == ()


@given(st.dictionaries(NAMES, st.sampled_from(["", "pypi"])), CALLERS)
def test_caller_finds_readable_ones(origins: dict[NormalizedName, str], caller: Caller) -> None:
    """A caller sees exactly the projects that they may read, in order, whatever the patterns."""
    table = table_of(facts(name, origin=origin) for name, origin in origins.items())

    seen = [project.name for project in table.readable_by(caller).projects]
    may_any = caller.may_read_public_packages
    assert seen == [
        name
        for name, origin in sorted(origins.items())
        if caller.may(Action.READ, name) or (origin and may_any)
    ]


@given(st.lists(NAMES), st.dictionaries(NAMES, st.booleans()))
def test_a_changed_table_is_as_a_new_one(
    names: list[NormalizedName], changes: dict[NormalizedName, bool]
) -> None:
    """A table after changes is as one that was made anew."""
    before = table_of({name: facts(name) for name in names}.values())
    new = {name: facts(name, "new") if stays else None for name, stays in changes.items()}

    after = before.updated(new)

    expected = {name: facts(name) for name in names} | new
    assert after.projects == table_of(each for each in expected.values() if each).projects
    assert (after is before) == all(before.find(name) == each for name, each in new.items())
    assert after.generation == before.generation + (after is not before)
    assert all(after.find(name) == facts for name, facts in expected.items())


def similar(table: ProjectTable, text: str, caller: Caller = ALICE) -> list[str]:
    """Return the names that a caller may have meant by a text."""
    return [str(project.name) for project in table.readable_by(caller).similar(text)]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("acme-croe", ["acme-core"]),
        ("Acme_Cor", ["acme-core", "acme-core-tools"]),
        ("acmecore", ["acme-core"]),
        ("zeebra", ["zebra"]),
        ("zeb", ["zeb2"]),
        ("zoo", []),
        ("", []),
        ("acme-core-tolos-", ["acme-core-tools"]),
        ("%00\ud800 <b>", []),
        ("x" * 10_000, []),
    ],
)
def test_similar_names_may_have_been_meant(typed: str, meant: list[str]) -> None:
    """A name with a letter or two wrong, or only its beginning, leads to those that are there."""
    names = ("acme-core", "acme-core-tools", "zebra", "zeb2", "other")
    assert similar(table_of(map(facts, names)), typed) == meant


def test_similar_names_are_few_and_readable() -> None:
    """Of many similar names the best are named, private ones first, and none that is hidden."""
    names = [f"acme-{letter}" for letter in "abcdefghij"]
    table = table_of([facts("acme-x", origin="pypi"), *map(facts, names)])
    assert similar(table, "acme-z") == names[:5]
    ana = Caller("user:ana@acme.dev", (Scope(Action.READ, (Pattern("acme-j"),), (MAIN,)),))
    assert similar(table, "acme-z", ana) == ["acme-j", "acme-x"]  # all may read public packages
    assert similar(table, "acme-z", Caller("user:eve@acme.dev", ())) == []


@example("ab", "ba", 1)
@given(*[st.text("abc", max_size=7)] * 2, st.integers(min_value=1, max_value=3))
def test_edits_are_counted(one: str, other: str, most: int) -> None:
    """The distance is that of the definition, up to the most that counts."""
    table = [[row + column for column in range(len(other) + 1)] for row in range(len(one) + 1)]
    for row in range(1, len(one) + 1):
        for column in range(1, len(other) + 1):
            last, to = one[row - 1], other[column - 1]
            ways = [table[row - 1][column] + 1, table[row][column - 1] + 1]
            ways.append(table[row - 1][column - 1] + (last != to))
            if min(row, column) > 1 and (last, one[row - 2]) == (other[column - 2], to):
                ways.append(table[row - 2][column - 2] + 1)
            table[row][column] = min(ways)
    assert edit_distance(one, other, most) == min(table[-1][-1], most + 1)
