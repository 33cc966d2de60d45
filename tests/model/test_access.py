"""Patterns, actions, and the one function that decides who may do what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.advice import in_terminal
from wheelyard.errors import Forbidden, Invalid
from wheelyard.model.access import (
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    Caller,
    Pattern,
    Scope,
    describe_actions,
    first_index,
    intersection,
    is_subset,
    matches_any,
    parse_actions,
    parse_pattern,
    parse_right_indexes,
)
from wheelyard.model.index_name import EVERY_INDEX, MAIN

NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True).map(NormalizedName)
DEMO = NormalizedName("demo")


def caller(*scopes: Scope) -> Caller:
    """Make a caller with these scopes."""
    return Caller("token:0000000000", scopes)


def scope(words: str, *patterns: str) -> Scope:
    """Make a scope as a command names it."""
    return Scope(
        parse_actions(words.split(",")),
        tuple(parse_pattern(pattern) for pattern in patterns),
        (MAIN,),
    )


@pytest.mark.parametrize(
    ("text", "pattern"),
    [("Acme_Core", "acme-core"), ("Acme._*", "acme-*"), ("acme*", "acme*"), ("*", "*")],
)
def test_a_pattern_is_a_name_or_a_beginning(text: str, pattern: str) -> None:
    """A pattern is a name or a beginning of names, normalised."""
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize(
    "text", ["", "**", "a*b", "*a", "a-", "a?", "[a]", "é*", "a *", "a\n", "-"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """A text that is neither a name nor the beginning of names with a star is no pattern."""
    with pytest.raises(Invalid):
        parse_pattern(text)


@given(NAMES, st.integers(0, 20))
def test_every_beginning_with_a_star_matches_its_name(name: NormalizedName, length: int) -> None:
    """Every beginning of a name with a star behind it matches that name."""
    assert matches_any([Pattern(f"{name[:length]}*")], name)
    assert matches_any([EVERY_PROJECT], name)
    assert matches_any([Pattern(name)], name)
    assert not matches_any([Pattern(f"{name}x*"), Pattern(f"x{name}")], name)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("acme-*", "acme-core", True),
        ("acme-*", "acme", False),
        ("acme-*", "acmecore", False),
        ("acme*", "acme", True),
        ("acme", "acme-core", False),
        ("acme", "Acme", False),
    ],
)
def test_a_pattern_without_a_star_is_one_name(pattern: str, name: str, *, matches: bool) -> None:
    """A pattern without a star is that name alone, and names come normalised."""
    assert matches_any([Pattern(pattern)], NormalizedName(name)) is matches


@pytest.mark.parametrize("name", ["acme-core", "secret"])
def test_one_pattern_is_enough(name: str) -> None:
    """Of several patterns a name has to match one."""
    patterns = [Pattern("acme-*"), Pattern("secret")]
    assert matches_any(patterns, NormalizedName(name))
    assert not matches_any(patterns, DEMO)
    assert not matches_any([], NormalizedName(name))


@pytest.mark.parametrize(
    ("words", "implied"),
    [("read", "read"), ("manage", "read,upload,manage"), ("read, Upload", "read,upload")],
)
def test_actions_imply_lesser_ones(words: str, implied: str) -> None:
    """Who may do more may do less as well."""
    assert parse_actions(words.split(",")) == parse_actions(implied.split(","))
    named = [action.word for action in Action if action & parse_actions(words.split(","))]
    assert ",".join(named) == implied


@pytest.mark.parametrize("word", ["", "write", "READ UPLOAD", "*", "with_implied"])
def test_a_word_that_is_no_action_is_refused(word: str) -> None:
    """A word that is no action is refused, not ignored."""
    with pytest.raises(Invalid):
        parse_actions([word])


def test_rights_add_up() -> None:
    """What one scope permits no other takes away, and nothing permits more than was given."""
    both = caller(scope("read", "*"), scope("upload", "acme-*"))
    assert both.may(Action.READ, DEMO)
    assert both.may(Action.UPLOAD, NormalizedName("acme-core"))
    assert not both.may(Action.UPLOAD, DEMO)
    assert not both.may(Action.MANAGE, NormalizedName("acme-core"))


def test_combined_actions_are_permitted_together() -> None:
    """A question about two actions is about both of them, not about any."""
    reader, publisher = scope("read", "*"), scope("upload", "acme-*")
    both, core = Action.READ | Action.UPLOAD, NormalizedName("acme-core")

    assert publisher.permits(both, core)
    assert not reader.permits(both, core)
    assert caller(reader, publisher).may(both, core)
    assert caller(reader, publisher).may_anywhere(both)
    assert not caller(reader, publisher).may_everywhere(both)
    assert not caller(reader).may_anywhere(both)


@given(NAMES)
def test_no_scope_permits_nothing(name: NormalizedName) -> None:
    """A caller without scopes may do nothing."""
    nobody = caller()
    for action in Action:
        assert not nobody.may(action, name)
        assert not nobody.may_anywhere(action)
        assert not nobody.may_everywhere(action)
        with pytest.raises(Forbidden):
            nobody.require(action, name)


@given(NAMES, st.sampled_from(Action), st.sampled_from(["read", "upload", "manage"]))
def test_everywhere_means_everywhere(name: NormalizedName, action: Action, word: str) -> None:
    """Who may do something everywhere may do it to any name, and so anywhere."""
    someone = caller(scope(word, "*"))
    assert someone.may(action, name) == someone.may_everywhere(action)
    assert someone.may(action, name) == someone.may_anywhere(action)


def test_limited_caller_is_not_everywhere() -> None:
    """A caller with patterns may do something somewhere, but not everywhere."""
    someone = caller(scope("upload", "acme-*", "demo"))
    assert someone.may_anywhere(Action.UPLOAD)
    assert not someone.may_everywhere(Action.READ)


@pytest.mark.parametrize(
    ("principal", "words"),
    [
        ("token:0000000000", "This token may not"),
        ("static:ci", "This token may not"),
        ("publisher:core", "This token may not"),
        ("htpasswd:ana", "You (ana, by password) may not"),
        ("user:ana@acme.dev", "You (ana@acme.dev, by Google) may not"),
        ("htpasswd:a\nb", "You (a\\nb, by password) may not"),
        (ANONYMOUS, "Whoever sends no credential may not"),
    ],
)
def test_refusal_names_the_credential(principal: str, words: str) -> None:
    """Who came with a password or a CI job is not told of a token that they never had."""
    with pytest.raises(Forbidden) as caught:
        Caller(principal, ()).require(Action.READ, DEMO)
    assert caught.value.fact == f"{words} read 'demo'."
    assert caught.value.message.startswith(caught.value.fact)
    remedy = (
        "its trusted publisher" if principal == "publisher:core" else "--can read --project demo"
    )
    assert remedy in in_terminal(caught.value)


def test_anybody_reads_where_reading_is_open() -> None:
    """Anybody reads everything where reading is open, and does nothing else."""
    anybody = Caller(ANONYMOUS, (Scope(Action.READ, (EVERY_PROJECT,), (MAIN,)),))
    assert anybody.is_anonymous
    assert not caller().is_anonymous
    assert anybody.may(Action.READ, DEMO)
    assert not anybody.may_anywhere(Action.UPLOAD)


PATTERNS = st.sampled_from(["*", "a*", "ab*", "a", "ab", "abc", "b-*"])
SCOPES = st.builds(
    lambda word, patterns: scope(word, *patterns),
    st.sampled_from(["read", "upload", "manage"]),
    st.lists(PATTERNS, min_size=1, max_size=3),
)


@given(SCOPES, st.lists(SCOPES, max_size=3), NAMES, st.sampled_from(Action))
def test_narrowed_is_the_intersection(
    mine: Scope, others: list[Scope], name: NormalizedName, action: Action
) -> None:
    """Whatever the patterns, what is left is exactly what both sides permit."""
    both = mine.permits(action, name) and any(other.permits(action, name) for other in others)
    assert any(each.permits(action, name) for each in intersection(mine, others)) == both


@pytest.mark.parametrize(
    ("mine", "other", "common"),
    [
        ([EVERY_INDEX], ["dev", "prod"], ["dev", "prod"]),
        (["dev", "prod"], [EVERY_INDEX], ["dev", "prod"]),
        ([EVERY_INDEX], [EVERY_INDEX], [EVERY_INDEX]),
        (["dev", MAIN], ["prod", MAIN], [MAIN]),
        (["dev"], ["prod"], []),
    ],
    ids=["mine-everywhere", "other-everywhere", "both-everywhere", "some", "none"],
)
def test_narrowed_holds_in_the_indexes_of_both(
    mine: list[str], other: list[str], common: list[str]
) -> None:
    """A token for every index holds in those of its owner, and the other way round."""
    of_token = replace(scope("read", "*"), indexes=tuple(mine))
    of_owner = replace(scope("read", "*"), indexes=tuple(other))
    both = intersection(of_token, [of_owner])
    assert [index for each in both for index in each.indexes] == common


@given(SCOPES, st.lists(SCOPES, max_size=3), NAMES, st.sampled_from(Action))
def test_a_scope_within_others_permits_nothing_more(
    mine: Scope, others: list[Scope], name: NormalizedName, action: Action
) -> None:
    """A scope that is said to be inside others permits nothing that none of them does."""
    if is_subset(mine, others) and mine.permits(action, name):
        assert any(other.permits(action, name) for other in others)
    assert is_subset(mine, [*others, mine])


def test_approving_is_apart_from_projects() -> None:
    """Who may approve may do nothing to projects; only administrators may do both."""
    approver = parse_actions(["approve"], admin=True)
    assert approver == Action.APPROVE
    assert not approver & (Action.READ | Action.UPLOAD | Action.MANAGE | Action.ADMIN)
    assert not parse_actions(["manage"]) & Action.APPROVE
    assert parse_actions(["admin"], admin=True) & Action.APPROVE
    assert describe_actions(parse_actions(["read", "approve"], admin=True)) == "read and approve"
    with pytest.raises(Invalid):
        parse_actions(["approve"])  # no static token and no publisher


def test_approver_reads_public_packages_alone() -> None:
    """Who may approve public packages may look at them, and at no private project."""
    approver = caller(Scope(Action.APPROVE, (Pattern("acme-*"),), (MAIN,)))
    assert approver.may_read_public_packages
    assert not approver.may_anywhere(Action.READ)
    assert not Caller(ANONYMOUS, ()).may_read_public_packages


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        ("prod,dev,prod", ("dev", "prod")),
        ("*", (EVERY_INDEX,)),
        ("dev,*", (EVERY_INDEX,)),
    ],
    ids=["a name twice", "every index", "every index and one more"],
)
def test_a_right_names_each_index_once(text: str, indexes: tuple[str, ...]) -> None:
    """A right names each of its indexes once, and beside every index no other one."""
    assert parse_right_indexes(text, Action.UPLOAD) == indexes


@pytest.mark.parametrize(
    ("text", "index"),
    [("*", MAIN), ("dev,main", MAIN), ("prod,dev", "dev")],
    ids=["every index", "main among others", "without main"],
)
def test_commands_for_a_right_are_about_main_if_it_holds_there(text: str, index: str) -> None:
    """Commands for a right are about main if it holds there, else about its first index."""
    assert first_index(parse_right_indexes(text, Action.UPLOAD)) == index
