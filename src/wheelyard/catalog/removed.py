"""
What earlier versions have stored, and this one reads only to refuse, replay or sweep it.

Nothing of it is written again, but for what a copy has to take along. What changes a project when
its journal is replayed is in `model/`, as replaying is: `File.approved_for`, `PromotionData.person`
and `EventKind.PROMOTION_APPROVED`. The keys:

    credentials/logins/<yyyymmddhh>/<id>.json              a login through a browser, by expiry
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from wheelyard.storage.base import Key

REMOVED_RULES: Final = ("promote_other_person", "promote_min_age_days", "promote_approvals")
"""The keys of an index by which earlier versions kept releases back that were promoted to it."""
REMOVED_RULE: Final = "removed_rule"
"""The code of an error about an index that has such a rule."""
DEVICE_LOGINS: Final = "credentials/logins/"
"""What people decided about logins, before they made the token themselves: it may be deleted."""

_DEVICE_LOGIN: Final = re.compile(rf"{DEVICE_LOGINS}[0-9]{{10}}/[0-9a-f]{{32}}\.json")


def removed_rules(index: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the removed rules that an index in the store demands something by."""
    return tuple(rule for rule in REMOVED_RULES if index.get(rule))


def without_removed_rules(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an index in the store that this version knows."""
    return {key: value for key, value in index.items() if key not in REMOVED_RULES}


def describe_removed_rules(name: str, rules: Iterable[str]) -> str:
    """Return what removed rules of an index lead to, in a sentence."""
    return (
        f"Nothing is promoted to the index {name}, as it has rules that were removed: "
        f"{', '.join(rules)}."
    )


def removed_rules_warning(name: str, rules: Collection[str]) -> str:
    """Return the same, and how the rules are taken away, for a list of warnings."""
    words = " ".join(f"{rule}=" for rule in rules)
    return (
        f"{describe_removed_rules(name, rules)} Take them away on the page of indexes, or by "
        f"'wheelyard index change {name} {words}'."
    )


def description_digests(text: str, markup: str, *, is_declared: bool) -> Iterator[str]:
    """Yield the digests in the keys of a description, with links and with fetched pictures."""
    for has_pictures in (False, True):
        content = f"{markup} {is_declared} {has_pictures}\n{text}"
        yield sha256(content.encode("utf-8", "replace")).hexdigest()


def is_device_login(key: Key) -> bool:
    """Return whether a key can be that of a login through a browser."""
    return _DEVICE_LOGIN.fullmatch(key) is not None
