"""
Decisions about packages of upstream indexes: one document, and a journal with each decision.

They are the operator's own, so they lie outside of `upstream/`, whose content can be fetched again:
a backup has them.
"""

from typing import Final, TypeAlias

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.journaled_document import JournaledDocument, JournalKind
from wheelyard.model.decisions import Decision, DecisionCommit, DecisionList, fold

DecisionRecords: TypeAlias = JournaledDocument[DecisionList, DecisionCommit, Decision]
"""The decisions in the store."""

DECISIONS: Final[JournalKind[DecisionList, DecisionCommit]] = JournalKind(
    what="the decisions about upstream packages",
    consequence="servers may refuse packages of upstream indexes",
    key=keys.DECISIONS,
    entries=keys.DECISIONS_JOURNAL,
    empty=DecisionList(),
    documents=Codec(DecisionList),
    commits=Codec(DecisionCommit),
    last_commit=lambda known: known.commit,
    new_commit=DecisionCommit,
    fold=fold,
)
