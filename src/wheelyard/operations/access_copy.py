"""
Copy of the grants and groups of a store into another one, for `wheelyard copy`.

The journal entries are written first, so that the next copy, or `wheelyard check --rebuild`, can
finish what an interrupted copy has begun.
"""

from typing import Final

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, damaged
from wheelyard.errors import Conflict
from wheelyard.model.access_rules import AccessCommit, AccessRules
from wheelyard.storage.base import ABSENT, ObjectVersion, Store, Stored

_COMMITS: Final = Codec(AccessCommit)
_RULES: Final = Codec(AccessRules)


def copy_access(source: Store, target: Store) -> int:
    """
    Copy the changes that `target` lacks; return how many objects were written.

    Raise Conflict if `target` has changes that `source` does not have, and Unavailable if one of
    the documents is damaged.
    """
    (ours, _), (known, version) = _rules(source), _rules(target)
    if ours == known:
        return 0
    is_behind = known.revision < ours.revision
    if not is_behind or (known.commit and _commit(source, ours, known.revision) != known.commit):
        raise _changed()
    for number in range(known.revision + 1, ours.revision + 1):
        key, body = keys.access_commit(number), _COMMITS.encode(_commit(source, ours, number))
        try:
            target.put(key, body, ABSENT)
        except Conflict as fault:
            entry = target.get(key)
            if not isinstance(entry, Stored) or entry.body != body:
                raise _changed() from fault
    target.put(keys.ACCESS, _RULES.encode(ours), version)
    return ours.revision - known.revision + 1


def _rules(store: Store) -> tuple[AccessRules, ObjectVersion]:
    found = store.get(keys.ACCESS)
    if not isinstance(found, Stored):
        return AccessRules(), ABSENT
    return _RULES.decode(keys.ACCESS, found.body), found.version


def _commit(store: Store, rules: AccessRules, number: int) -> AccessCommit:
    """Return a change of a store; the last one may not be in the journal yet."""
    if rules.commit is not None and number == rules.revision:
        return rules.commit
    key = keys.access_commit(number)
    found = store.get(key)
    if not isinstance(found, Stored):
        raise damaged(f"The journal has no {key}. Run 'wheelyard check' on this store.", "lost")
    return _COMMITS.decode(key, found.body)


def _changed() -> Conflict:
    return Conflict(
        "the grants and groups of TO were changed there. Make the same changes in FROM, and remove "
        f"{keys.ACCESS} and {keys.ACCESS_JOURNAL} of TO."
    )
