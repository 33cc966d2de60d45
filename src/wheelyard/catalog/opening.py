"""The catalog of a store, wired: everything that an index knows."""

from dataclasses import dataclass, replace
from typing import Final

from wheelyard.catalog.commits import Announce, Commits
from wheelyard.catalog.credentials import Claims, Credentials
from wheelyard.catalog.documents import Belief, Codec, Documents
from wheelyard.catalog.files import Files
from wheelyard.catalog.format import ensure_format
from wheelyard.catalog.projects import NameList, Names, Projects
from wheelyard.catalog.races import Retries, far_retries
from wheelyard.model.ambient import Ambient
from wheelyard.model.project import Project
from wheelyard.model.token import TokenRecord
from wheelyard.storage.base import Store

TOKEN_FRESHNESS: Final = 14.0
"""
Seconds that a token's record is believed on a far store.

A server believes who it has recognised for one second more, so a token outlives its revocation by
15 seconds at most.
"""


@dataclass(frozen=True, slots=True)
class Catalog:
    """What an index knows."""

    is_new: bool
    """Whether its store has just been made."""
    projects: Projects
    files: Files
    credentials: Credentials
    claims: Claims


def catalog_over(
    store: Store, ambient: Ambient, belief: Belief, announce: Announce, files: str = ""
) -> Catalog:
    """
    Return the catalog that is kept in a store, which gets a format if it has none.

    Args:
        store: Where.
        ambient: The clock, and chance.
        belief: How long documents are believed.
        announce: Told of each event.
        files: Where a new store keeps its distributions, if that is a bucket of their own.
    """
    is_new = ensure_format(store, files)
    retries = Retries(ambient=ambient) if belief.near else far_retries(ambient)
    token_belief = replace(belief, freshness=max(TOKEN_FRESHNESS, belief.freshness))
    documents = Documents(store, Codec(Project), ambient, belief, is_kept=True)
    name_lists = Documents(store, Codec(NameList), ambient, belief, is_kept=True)
    records = Documents(store, Codec(TokenRecord), ambient, token_belief)
    commits = Commits(store, documents, ambient, retries, announce)
    return Catalog(
        is_new=is_new,
        projects=Projects(store, documents, Names(name_lists, retries), commits),
        files=Files(store, retries),
        credentials=Credentials(store, records, retries),
        claims=Claims(store),
    )
