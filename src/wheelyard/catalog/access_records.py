"""
Grants and groups in the store: one document, and a journal with an entry for each change.

They lie beside the tokens, so that a process which may write packages only cannot change rights.
"""

from functools import partial
from typing import Final, TypeAlias

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.journaled_document import JournaledDocument, JournalKind
from wheelyard.model.access_rules import AccessCommit, AccessRules, AnyAccessEvent, fold, merge
from wheelyard.model.grants import Grants

AccessRecords: TypeAlias = JournaledDocument[AccessRules, AccessCommit, AnyAccessEvent]
"""The grants and groups in the store."""

ACCESS: Final[JournalKind[AccessRules, AccessCommit]] = JournalKind(
    what="the grants and groups",
    consequence="servers may refuse callers who have a grant",
    key=keys.ACCESS,
    entries=keys.ACCESS_JOURNAL,
    empty=AccessRules(),
    documents=Codec(AccessRules),
    commits=Codec(AccessCommit),
    last_commit=lambda rules: rules.commit,
    new_commit=AccessCommit,
    fold=fold,
    require_valid=partial(merge, Grants()),
)
