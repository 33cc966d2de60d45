"""Every operation does the same, however it is called, and only for those who may."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import UNSET

from tests.examples.every_example import EXAMPLES, LEFT
from tests.examples.example import Example, Json, Refusal, Role
from tests.examples.faces import FACES, Face, Outcome, call_function, includes, opened, send
from tests.examples.world import World
from wheelyard.api.table import OPERATIONS
from wheelyard.wiring.build import open_index

MARKS: Final[Mapping[bool, Collection[pytest.MarkDecorator]]] = {
    True: (pytest.mark.integration,),
    False: (),
}
"""The markers of the tests of a face, by whether it opens a socket."""
BY_FACE: Final = [
    pytest.param(example, kind, id=f"{example}, {kind.name}", marks=MARKS[kind.opens_socket])
    for example in EXAMPLES
    for kind in FACES
    if kind.has(example)
]


@pytest.fixture(scope="module")
def unchanged_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Make a world, which no test changes."""
    return World.make(tmp_path_factory.mktemp("world") / "made")


@pytest.fixture
def world(unchanged_world: World, tmp_path: Path) -> World:
    """Return a copy of the world."""
    return unchanged_world.copy_to(tmp_path / "world")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Yield a stack of what is closed when the test ends."""
    with ExitStack() as stack:
        yield stack


def prepare(world: World, example: Example) -> Example:
    """Call what is called before an example, and return it with the ids of the answers."""
    index = open_index(world.settings)
    told: Any = None
    for request in example.before:
        outcome = call_function(index, request)
        assert outcome.is_done, outcome
        told = outcome.answer
    return example.with_id(told["id"]) if told and "id" in told else example


def changed_objects(before: dict[str, bytes], world: World) -> list[str]:
    """Return the keys of what was written or removed since then."""
    after = world.read_objects()
    return sorted(key for key in before.keys() | after if before.get(key) != after.get(key))


def assert_done(outcome: Outcome, answer: Json | None, words: str) -> None:
    """See that a call was made, and what is told of it by the answer and in words."""
    assert outcome.is_done, outcome
    if outcome.answer is not UNSET and answer:
        assert includes(outcome.answer, answer), outcome
    assert words in outcome.text, outcome


def assert_refused(outcome: Outcome, refusal: Refusal) -> None:
    """See that a call was refused in the words of the example."""
    assert not outcome.is_done, outcome
    assert outcome.code in (None, refusal.code), outcome
    assert refusal.words in outcome.text, outcome


@pytest.mark.parametrize(("example", "kind"), BY_FACE)
def test_each_face_plays_each_example(
    world: World, stack: ExitStack, example: Example, kind: type[Face]
) -> None:
    """An operation refuses what is wrong, tries, does and repeats what its example says."""
    example = prepare(world, example)
    face = kind(world, stack)
    words = face.words(example)
    stored = world.read_objects()
    for refusal in example.refusals:
        wrong = face.refused(example, refusal)
        if wrong is None:
            continue
        assert_refused(face.call(wrong), refusal)
        wrong_trial = face.trial_of(wrong)
        if wrong_trial is not None:
            assert_refused(face.call(wrong_trial), refusal)
    trial = face.trial_of(example)
    if trial is not None:
        assert_done(face.call(trial), example.trial, words.trial)
    assert changed_objects(stored, world) == []

    assert_done(face.call(example), example.answer, words.done)

    for request, answer in example.after:
        outcome = call_function(open_index(world.settings), request)
        assert includes(outcome.answer, answer), outcome
    stored = world.read_objects()
    again = face.call(example)
    told = face.again(example)
    if isinstance(told, Refusal):
        assert_refused(again, told)
    else:
        assert_done(again, example.answer if told is None else told, words.again)
    assert bool(changed_objects(stored, world)) == (example.does_again and again.is_done)


def worlds_to_call_in(world: World, example: Example) -> Iterator[tuple[World, list[Role]]]:
    """Yield a world for each role that may call an operation, or for all if it changes nothing."""
    roles = sorted(example.who, key=lambda role: role.value)
    if example.request.row.method == "GET":
        yield world, roles
        return
    for role in roles:
        yield world.copy_to(world.folder.with_name(role.name)), [role]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_only_those_who_may_call_an_operation(world: World, example: Example) -> None:
    """An operation and its dry run are refused to those without the right, and done for others."""
    example = prepare(world, example)
    stored = world.read_objects()
    with opened(world) as server:
        for role in sorted(set(Role) - example.who, key=lambda role: role.value):
            tried = [example] if example.trial is None else [example, example.as_trial]
            for each in tried:
                response = send(server, each.request, role)
                assert response.status == example.status_for(role), role
            assert changed_objects(stored, world) == []
    for one, roles in worlds_to_call_in(world, example):
        with opened(one) as server:
            for role in roles:
                response = send(server, example.request, role)
                assert response.status in example.statuses, response


def test_every_operation_has_an_example() -> None:
    """Each operation of the table has an example, or a reason why it has none."""
    told = {example.request.operation for example in EXAMPLES}
    assert told.isdisjoint(LEFT)
    assert told | LEFT.keys() == {row.run for row in OPERATIONS}
