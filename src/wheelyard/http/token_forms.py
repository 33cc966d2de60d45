"""
The form with which people make API tokens, and what a link fills in there.

Whoever sends a link chooses what the form says. So a link fills in no more rights than its reader
may give a token, and malformed fields are left out. The page says what the token could do.
"""

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from msgspec import Struct

from wheelyard.api.access_operations import MAX_PATTERNS, NewToken
from wheelyard.authentication.api_tokens import DEFAULT_LIFETIME, require_token_name
from wheelyard.authentication.caller_tokens import OWN_ACTIONS, CallerTokens
from wheelyard.errors import Invalid
from wheelyard.http.forms import FormFields, naming_field
from wheelyard.model import access
from wheelyard.model.index_name import MAIN

INDEX: Final = "index"
"""The field that a link from a page of an index sets to the name of that index."""
LINKED_FIELDS: Final = ("name", "can", "projects", "days", INDEX)
"""The fields that a link may fill in."""

_DAYS: Final = re.compile("[0-9]{1,5}", re.ASCII)
_SEPARATORS: Final = re.compile(r"[\s,]+")


def parse_patterns(text: str) -> tuple[access.Pattern, ...]:
    """
    Return the project patterns in a text, which has commas or blanks between them, sorted.

    Raises Invalid if a pattern is malformed, or the text has no pattern.
    """
    patterns = {access.parse_pattern(word) for word in _SEPARATORS.split(text) if word}
    projects = tuple(sorted(patterns))
    if not projects:
        message = "Name the projects: names, or the beginning of names and a star."
        raise Invalid(message, code="missing_field")
    return projects


def preset_index(opened_from: str, indexes: Collection[str]) -> str:
    """
    Return the index that the form of a token has ticked at first.

    That is the index from whose page the form was opened, if it is among the `indexes` to choose
    from. If not, it is main, or the first of `indexes` if main is not among them.
    """
    if opened_from in indexes:
        return opened_from
    if MAIN in indexes or not indexes:
        return MAIN
    return next(iter(indexes))  # the first


def new_token(fields: FormFields, max_days: int, indexes: Collection[str] = ()) -> NewToken:
    """
    Return the token of the caller that a form asks for.

    If no index is ticked, the token has an empty text for main. If there are `indexes` to choose
    from beside main, one has to be ticked. Raises Invalid for a wrong field, which the error names
    unless the form has the field several times.
    """
    name = fields.text("name")
    days = fields.text("days")
    can = fields.text("can")
    with naming_field("name"):
        require_token_name(name)
    with naming_field("days"):
        _require_days(max_days, days)
    with naming_field("can"):
        if not can:
            raise Invalid("Choose what the token may do.", code="missing_field")
    with naming_field("projects"):
        projects = parse_patterns(fields.text("projects"))
    index = _ticked_indexes(fields)
    with naming_field(INDEX):
        has_choice = any(name != MAIN for name in indexes)
        if not index and has_choice:
            raise Invalid("Choose the index that the token is for.", code="missing_field")
    return NewToken(name=name, projects=projects, can=(can,), days=int(days), index=index)


def _ticked_indexes(fields: FormFields) -> str:
    """Return the names of the indexes that are ticked, joined by commas, or an empty text."""
    return ",".join(name for name in fields.all(INDEX) if name)


def _require_days(max_days: int, text: str) -> None:
    """Raise Invalid unless a text is a number of days that a token may live."""
    if not _DAYS.fullmatch(text) or not 1 <= int(text) <= max_days:
        message = f"Write a number of days from 1 to {max_days}."
        raise Invalid(message, code="invalid_field")


class LinkedForm(Struct, frozen=True):
    """What a link fills in, and the rights that it asks for."""

    values: Mapping[str, tuple[str, ...]]
    """The texts of the fields by name."""
    scope: access.Scope | None
    """What the token could do, or None if the link does not name projects, or only wrong ones."""
    is_cut: bool
    """Whether a part of the link is left out, as it is malformed, or no token may have it."""


class LinkReader(Struct, frozen=True):
    """Reads the links that fill in the form of one person."""

    tokens: CallerTokens
    caller: access.Caller
    indexes: tuple[str, ...]
    """The indexes that the person may choose."""
    preset: str
    """The index that is ticked if the link names none."""
    max_days: int

    def read(self, fields: FormFields) -> LinkedForm | None:
        """
        Return what the query of a link fills in, or None if it has no field but the index.

        Raises Unavailable if the grants of the store cannot be read.
        """
        has_fields = any(name in fields.values for name in LINKED_FIELDS if name != INDEX)
        if not has_fields:
            return None
        days = str(min(self.max_days, DEFAULT_LIFETIME.days))
        values: dict[str, tuple[str, ...]] = {
            "can": (access.Action.READ.word,),
            "days": (days,),
            INDEX: (self.preset,),
        }
        is_cut = self._add_name_and_days(fields, values)
        try:
            linked_scope = self._linked_scope(fields)
        except Invalid:
            return LinkedForm(values, None, is_cut=True)

        # no more than the person may give: a link must not talk somebody into more rights
        scope = self.tokens.most_of(self.caller, linked_scope)
        if scope is None:
            return LinkedForm(values, None, is_cut=True)
        highest_action = max(scope.actions & action for action in OWN_ACTIONS)
        values["can"] = (highest_action.word,)
        values[INDEX] = scope.indexes
        if not fields.text("projects"):
            has_fewer_actions = scope.actions != linked_scope.actions
            return LinkedForm(values, None, is_cut or has_fewer_actions)
        values["projects"] = (", ".join(scope.projects),)
        has_fewer_rights = not access.is_subset(linked_scope, (scope,))
        return LinkedForm(values, scope, is_cut or has_fewer_rights)

    def _add_name_and_days(self, fields: FormFields, values: dict[str, tuple[str, ...]]) -> bool:
        """Add the name and the days of a link to `values`. Return whether one was malformed."""
        checks: dict[str, Callable[[str], None]] = {
            "name": require_token_name,
            "days": partial(_require_days, self.max_days),
        }
        is_cut = False
        # anybody may have made the link: a malformed field is left out, and the page says so
        for field, check in checks.items():
            try:
                text = fields.text(field)
                if text:
                    check(text)
                    values[field] = (text,)
            except Invalid:
                is_cut = True
        return is_cut

    def _linked_scope(self, fields: FormFields) -> access.Scope:
        """
        Return the rights that a link asks for, to every project if the link names none.

        Raises Invalid if the rights are malformed, or are about an index that the person may not
        choose.
        """
        word = fields.text("can") or access.Action.READ.word
        actions = access.parse_actions([word])
        text = fields.text("projects")
        projects: tuple[access.Pattern, ...] = (access.EVERY_PROJECT,)
        if text:
            projects = parse_patterns(text)
        index_names = _ticked_indexes(fields) or self.preset
        indexes = access.parse_right_indexes(index_names, actions)
        if len(projects) > MAX_PATTERNS or not set(indexes).issubset(self.indexes):
            raise Invalid("No token that you make has these rights.", code="invalid_field")
        return access.Scope(actions, projects, indexes)
