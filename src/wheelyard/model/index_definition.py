"""
Definitions of indexes: what each index shows, as an ordered list of layers.

Main, the index at the root of the server, has only its own packages, and perhaps the upstream. A
layer is the name of the index itself (its own packages), the name of another index (all packages
that the other index shows), the label of an upstream index, or `upstream`, which stands for all
upstream indexes in their order.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, convert
from msgspec.structs import replace

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import NO_PATTERNS, NamePatterns, parse_name_patterns
from wheelyard.model.decoding import InvalidField, decode_table
from wheelyard.model.index_name import (
    DATED,
    FORMER_MAIN,
    MAIN,
    UPSTREAM_LAYER,
    bare_index_path,
    parse_index_name,
    read_index_name,
)
from wheelyard.model.promotion_rules import NO_RULES, PromotionRules
from wheelyard.model.quotas import LARGEST_QUOTA, Quotas
from wheelyard.model.rule_keys import NO_KEYS, RuleKeys, require_valid, rule_keys_in
from wheelyard.model.stored_indexes import PROMOTE_ONLY

MAX_LAYERS: Final = 16
WRONG_INDEX: Final = "wrong_index"
"""The code of an Unavailable for an index whose definition does not fit."""
OF_AN_INDEX: Final = "it is the name of an index of this server"
"""Why no project can have the name of an index, as the end of a sentence."""
NOT_OF_MAIN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": "it has this name always. Leave the key out",
        "layers": (
            "it shows its own packages, and those of [upstream] of the settings if that is on. "
            "Make another index for other layers"
        ),
        "merge": "it has no layers whose files could be merged. Make another index for that",
        "filter": (
            "there are no filters any more. Write the keys of rules in its place, such as "
            "prereleases = false"
        ),
    }
)
"""Keys of an `[[index]]`, now or in an earlier version, that main cannot have, and why."""
MebibytesLimit = Annotated[int, Meta(ge=0, le=LARGEST_QUOTA, title="a number of MiB, from 0")]
FilesLimit = Annotated[int, Meta(ge=0, le=LARGEST_QUOTA, title="a number of files, from 0")]


class IndexFields(
    RuleKeys, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The keys of an `[[index]]` table, and the stored form of an index, before validation."""

    name: Annotated[str, Meta(title='a name, such as "dev"')]
    layers: Annotated[tuple[str, ...] | None, Meta(title='a list such as ["prod", "upstream"]')] = (
        None
    )
    """None for the own packages alone."""
    merge: Annotated[tuple[str, ...], Meta(title='a list of names such as ["acme-*"]')] = ()
    promote_from: Annotated[tuple[str, ...], Meta(title='a list of indexes such as ["dev"]')] = ()
    promote_only: bool = False
    read: Annotated[Literal["anyone", "granted"] | None, Meta(title='"anyone" or "granted"')] = None
    """Who may read it: everybody, or whoever has a right. None for the latter."""
    index_size: MebibytesLimit | None = None
    index_files: FilesLimit | None = None
    project_size: MebibytesLimit | None = None
    project_files: FilesLimit | None = None


class IndexDefinition(Struct, frozen=True, kw_only=True):
    """A valid definition of an index."""

    name: str
    layers: tuple[str, ...]
    """The layers in the order in which a name is looked for."""
    merge: NamePatterns = NO_PATTERNS
    """Names whose files come from all layers, and not from the first that has the name."""
    rules: RuleKeys = NO_KEYS
    """Which files of its layers the index hides."""
    removed_filter: str = ""
    """A filter of an earlier version, because of which the index hides all files, or empty."""
    day: date | None = None
    """The day at whose end (UTC) the view shows the index, or None for the index as it is now."""
    promotion: PromotionRules = NO_RULES
    """What the index demands of releases that are promoted to it."""
    removed_rules: tuple[str, ...] = ()
    """Rules of an earlier version. While there are any, nothing is promoted to the index."""
    is_open: bool = False
    """Whether anybody may read the index, unless the settings say `private`."""
    is_closed_while_unused: bool = False
    """Whether uploads are refused while the index never had a project and there are others."""
    problem: str = ""
    """Why the definition cannot be read, in a sentence, or empty. Such an index is closed."""
    quotas: Quotas = Quotas()
    """The quotas that the index itself has. Those of main count for an index without its own."""

    @property
    def is_main(self) -> bool:
        """Whether this is the index at the root of the server."""
        return self.name == MAIN

    @property
    def hides_files(self) -> bool:
        """Whether the index has rules that may hide files of its layers."""
        return bool(self.removed_filter) or self.rules != NO_KEYS

    @property
    def has_packages(self) -> bool:
        """Whether the index has packages of its own."""
        return self.name in self.layers and self.day is None

    @property
    def title(self) -> str:
        """What people call the index: `dev`, or `dev/as-of-2026-01-01`."""
        return self.title_on(self.day)

    def title_on(self, day: date | None) -> str:
        """Return what people call the index as of the end of a day, or of now if `day` is None."""
        if day is None:
            return self.name
        return f"{self.name}/{DATED}{day}"

    @property
    def takes_uploads(self) -> bool:
        """Whether files can be uploaded to the index, and not only promoted."""
        return self.has_packages and not self.promotion.promote_only

    @property
    def path(self) -> str:
        """The path of the index without slashes at the ends: `dev`, or an empty text for main."""
        path = bare_index_path(self.name)
        if self.day is None:
            return path
        return f"{path}/{DATED}{self.day}".removeprefix("/")

    @property
    def segment(self) -> str:
        """The beginning of all paths of the index: `/dev`, or an empty text for main."""
        if not self.path:
            return ""
        return f"/{self.path}"


def read_main(keys: Mapping[str, Any], *, has_upstream: bool) -> IndexDefinition:
    """
    Return the definition of main with these keys, whose dates are texts.

    Without keys anybody may read main, and main takes no uploads while it is unused and there are
    other indexes. Raises Invalid (code `invalid_field` or `invalid_index`) for a wrong key or
    value, also for a key that main cannot have.
    """
    for key, why in NOT_OF_MAIN.items():
        if key in keys:
            raise _invalid_key(MAIN, key, f"{key}: {why}")
    fields = _read_fields(MAIN, {**keys, "name": MAIN})
    layers: tuple[str, ...] = (MAIN,)
    if has_upstream:
        # own packages first: no public package is ever shown in place of a private one
        layers = (MAIN, UPSTREAM_LAYER)
    return replace(
        _definition(MAIN, layers, fields),
        # the key `read` has two defaults, as main has always been open, and other indexes never
        is_open=fields.read != "granted",
        is_closed_while_unused=PROMOTE_ONLY not in keys,
    )


def closed_main(problem: str, *, has_upstream: bool) -> IndexDefinition:
    """Return the definition of main while the stored one cannot be read, as `problem` says."""
    # damage in the store must not open an index that was closed
    closed = read_main({"read": "granted", "promote_only": True}, has_upstream=has_upstream)
    return replace(closed, problem=problem)


def build_definition(fields: IndexFields) -> IndexDefinition:
    """
    Return the definition with these fields.

    `misfits` checks whether the layers exist. Raises Invalid (code `invalid_index`) for a wrong
    value, and with the code `bad_setting` for a wrong pattern in `merge`.
    """
    name = parse_index_name(fields.name)
    layers: tuple[str, ...] = (name,)
    if fields.layers is not None:
        layers = tuple(map(read_index_name, fields.layers))
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise _invalid_index(name, f"expected 1 to {MAX_LAYERS} layers")
    for layer in layers:
        if layers.count(layer) > 1:
            raise _invalid_index(name, f"the layer {quoted(layer)} is there twice")
    return _definition(name, layers, fields)


def _definition(name: str, layers: tuple[str, ...], fields: IndexFields) -> IndexDefinition:
    """Return the definition of an index with these layers, and what else its fields say."""
    rules = rule_keys_in(fields)
    try:
        require_valid(rules)
    except Invalid as fault:
        raise _invalid_index(name, fault.message.removesuffix(".")) from fault
    sources = tuple(map(read_index_name, fields.promote_from))
    for source in sources:
        if source == name:
            raise _invalid_index(name, "promote_from has its own name")
        # `parse_index_name` refuses both of these names, which indexes have all the same
        if source not in {MAIN, FORMER_MAIN}:
            parse_index_name(source)
    return IndexDefinition(
        name=name,
        layers=layers,
        merge=parse_name_patterns(fields.merge),
        rules=rules,
        promotion=PromotionRules(promote_only=fields.promote_only, promote_from=sources),
        is_open=fields.read == "anyone",
        quotas=convert(fields, Quotas, from_attributes=True),
    )


def read_definition(table: Mapping[str, Any]) -> IndexDefinition:
    """
    Return the definition of a table, whose dates are texts.

    Raises Invalid (code `invalid_field` or `invalid_index`) for a wrong key or value, and with the
    code `bad_setting` for a wrong pattern in `merge`.
    """
    return build_definition(_read_fields(table.get("name", ""), table))


def _read_fields(name: str, table: Mapping[str, Any]) -> IndexFields:
    """Return the fields of the table of an index, or raise Invalid for the first wrong key."""
    try:
        return decode_table(table, IndexFields)
    except InvalidField as fault:
        raise _invalid_key(name, fault.path[0], fault.message) from fault


def _invalid_key(name: str, key: str, why: str) -> Invalid:
    """Return the error (code `invalid_field`) about a key of the table of an index."""
    message = f"The index {quoted(name)} is wrong: {why}."
    return Invalid(message, code="invalid_field", field=key)


class UpstreamLabels(Struct, frozen=True):
    """The labels of the upstream indexes, which are layers."""

    in_order: tuple[str, ...] = ()
    """The labels in the order that the layer `upstream` has."""
    are_known: bool = True
    """Whether these are all labels. Without the settings of the server that is not known."""

    def __contains__(self, layer: object) -> bool:
        """Return whether a layer is the label of an upstream index, or `upstream`."""
        return layer == UPSTREAM_LAYER or layer in self.in_order

    def with_assumed(self, definitions: Mapping[str, IndexDefinition]) -> "UpstreamLabels":
        """Return these labels, and if not all are known, also each layer that is no index."""
        if self.are_known:
            return self
        # a command without the settings of the server cannot tell a label from a misspelt name
        assumed = set[str]()
        for definition in definitions.values():
            assumed.update(definition.layers)
        assumed -= {MAIN, UPSTREAM_LAYER}
        assumed.difference_update(definitions, self.in_order)
        return replace(self, in_order=self.in_order + tuple(sorted(assumed)))

    def layers_of(
        self, definition: IndexDefinition, definitions: Mapping[str, IndexDefinition]
    ) -> "UpstreamLayers":
        """Return the upstream indexes that an index shows. `definitions` are valid together."""
        upstream_layers = [layer for layer in parts_of(definition, definitions) if layer in self]
        labels = dict[str, None]()
        for layer in upstream_layers:
            labels |= dict.fromkeys(self.of_layer(layer))
        merge = tuple[NamePatterns, ...]()
        if len(upstream_layers) > 1:  # a single layer is merged with nothing
            names_below = sorted(indexes_below(definition, definitions))
            shown_indexes = [definition, *[definitions[name] for name in names_below]]
            merge = tuple(index.merge for index in shown_indexes if index.merge.texts)
        return UpstreamLayers(
            labels=tuple(labels),
            merge=merge,
            are_all=upstream_layers[:1] == [UPSTREAM_LAYER],
            parts=tuple(upstream_layers),
        )

    def of_layer(self, layer: str) -> tuple[str, ...]:
        """Return the labels of the upstream indexes that a layer stands for, in their order."""
        if layer == UPSTREAM_LAYER:
            return self.in_order
        return (layer,)


class UpstreamLayers(Struct, frozen=True):
    """The upstream indexes that an index asks."""

    labels: tuple[str, ...] = ()
    """The labels in the order of the layers, each once."""
    merge: tuple[NamePatterns, ...] = ()
    """Patterns of the names whose files may come from several of these upstream indexes."""
    are_all: bool = False
    """Whether the index has the layer `upstream`, so that it follows the settings."""
    parts: tuple[str, ...] = ()
    """The layers of upstream indexes, in order: labels, or `upstream`."""


def misfits(
    definitions: Mapping[str, IndexDefinition],
    labels: UpstreamLabels,
    unreadable: Collection[str] = (),
) -> dict[str, str]:
    """
    Return why some indexes cannot be served, in a sentence for each, by the name of the index.

    Indexes whose own layers are wrong come first, then indexes that have such an index as a layer.
    `unreadable` are the names of indexes whose definitions this version does not understand.
    """
    problems = dict[str, str]()
    # two rounds, so that an index with a wrong layer does not hide the problem of that layer
    for name, definition in definitions.items():
        why = _problem_of_layers(definition, definitions, labels, unreadable)
        if not why and name in indexes_below(definition, definitions):
            why = "its layers lead back to itself. Take one of them out"
        if why:
            problems[name] = _invalid_index(name, why).message
    for name, definition in definitions.items():
        wrong_layers = sorted(indexes_below(definition, definitions) & problems.keys())
        if name not in problems and wrong_layers:
            why = f"its layer {quoted(wrong_layers[0])} is wrong"
            problems[name] = _invalid_index(name, why).message
    return problems


def _problem_of_layers(
    definition: IndexDefinition,
    definitions: Mapping[str, IndexDefinition],
    labels: UpstreamLabels,
    unreadable: Collection[str],
) -> str:
    """Return what is wrong with the own layers of a definition, or an empty text."""
    for layer in definition.layers:
        if layer == UPSTREAM_LAYER and not labels.in_order:
            return "its layer upstream needs an [upstream] in the settings"
        if layer in unreadable:
            return f"its layer {quoted(layer)} is wrong"
        if layer in {UPSTREAM_LAYER, MAIN} or layer in definitions:
            continue
        if layer not in labels:
            return _problem_of_unknown_layer(layer, labels)
        if UPSTREAM_LAYER in definition.layers:
            return f"its layer upstream has all that {quoted(layer)} has. Take one of both out"
    return ""


def _problem_of_unknown_layer(layer: str, labels: UpstreamLabels) -> str:
    """Return what is wrong with a layer that is no index, and no known upstream index."""
    if labels.are_known:
        other_labels = ""
        if labels.in_order:
            other_labels = f", but of {' and '.join(labels.in_order)}"
        return (
            f"there is no index {quoted(layer)}, which is one of its layers, and no "
            "[[upstream.index]] of this label in the settings"
            f"{other_labels}. It cannot be shown whole"
        )
    return (
        f"{quoted(layer)} is no index of this store, so it has to be the label of an "
        "[[upstream.index]] of the server, or an index there, and its settings are not given here"
    )


def label_taken(label: str, other_meaning: str) -> str:
    """Return why no upstream index can have a label with another meaning, without a stop."""
    return (
        f"{quoted(label)} is {other_meaning}, and nobody could tell which of both is meant. Give "
        f'the upstream index another label, such as "{label}-index", also in the names of its '
        "variables: what is kept of it is found by its url, and decisions are about names, so "
        "nothing is lost"
    )


def taken_name(name: str, why: str) -> Invalid:
    """Return the error (code `invalid_name`) for a name that no project can have."""
    return Invalid(
        f"No project can be named {quoted(name)}: {why}. Choose another name.", code="invalid_name"
    )


def indexes_below(
    start: IndexDefinition, definitions: Mapping[str, IndexDefinition]
) -> frozenset[str]:
    """
    Return the names of all indexes that an index has as layers, directly or through other indexes.

    The name of the index itself is among them only if its layers lead back to it.
    """
    names = set[str]()
    # not by recursion, as layers of a wrong file may lead in a circle
    unvisited = [layer for layer in start.layers if layer != start.name]
    while unvisited:
        layer = unvisited.pop()
        if layer in definitions and layer not in names:
            names.add(layer)
            unvisited += [name for name in definitions[layer].layers if name != layer]
    return frozenset(names)


def parts_of(
    definition: IndexDefinition, definitions: Mapping[str, IndexDefinition]
) -> Iterator[str]:
    """
    Yield the names of the indexes whose own packages an index shows, in order, each once.

    `upstream` and the labels of upstream indexes are yielded, too, in the place of their layer.
    `definitions` are valid together.
    """
    layers = _walk_layers(definition, definitions, visited=set())
    return iter(dict.fromkeys(layers))


def _walk_layers(
    definition: IndexDefinition, definitions: Mapping[str, IndexDefinition], visited: set[str]
) -> Iterator[str]:
    """
    Yield what `parts_of` does, but perhaps an index more than once.

    `visited` are the indexes whose layers were yielded before. The index is added to this set.
    """
    visited.add(definition.name)
    for layer in definition.layers:
        # main as a layer is its own packages alone, and a label has no definition
        if layer in {definition.name, MAIN} or layer not in definitions:
            yield layer
        elif layer not in visited:
            yield from _walk_layers(definitions[layer], definitions, visited)


def closed_layers(
    definition: IndexDefinition, definitions: Mapping[str, IndexDefinition]
) -> tuple[str, ...]:
    """
    Return the names of the closed indexes whose packages an open index shows.

    For an index that is not open, the result is empty. `definitions` has main, too.
    """
    if not definition.is_open:
        return ()
    closed = list[str]()
    for name in parts_of(definition, definitions):
        if name in definitions and not definitions[name].is_open:
            closed.append(name)
    return tuple(closed)


def _invalid_index(name: str, why: str) -> Invalid:
    """Return the error (code `invalid_index`) about a definition, for a reason without a stop."""
    return Invalid(f"The index {quoted(name)} is wrong: {why}.", code="invalid_index")
