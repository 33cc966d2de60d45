"""
The folders of indexes with a name in the site of the index without one.

A process knows the indexes of the store, and those of its own settings. The site may have more,
from an export with other settings. So a folder is deleted only if a command has removed its index,
and of its content only what an export has made.
"""

import os
from collections.abc import Iterator
from hashlib import sha256

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.exporting.project_export import pages_in
from wheelyard.exporting.site_folder import (
    COMMON_PATHS,
    EXPORT_PREFIX,
    Manifest,
    SiteStore,
    read_manifest,
)
from wheelyard.model.stored_indexes import IndexRemoved
from wheelyard.operations.index_definitions import IndexDefinitions
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Key
from wheelyard.storage.location import is_bucket, parse_location


class IndexFolders(Struct, frozen=True):
    """Which folders of indexes a site has after an export."""

    names: tuple[str, ...] = ()
    """The names of their indexes, sorted."""
    configured: tuple[str, ...] = ()
    """Those of them that are in settings."""
    removed: tuple[str, ...] = ()
    """The names of indexes whose folders are to be deleted."""
    warnings: tuple[str, ...] = ()
    """Which folders stay though this export does not write them, and why, in sentences."""


def index_folders(
    in_force: IndexDefinitions, before: Manifest, *, everything: bool
) -> IndexFolders:
    """
    Return the folders of a site that has those of the manifest `before`.

    With `everything`, those of all indexes that do not exist are removed. Raises Unavailable if the
    definitions in the store cannot be read.
    """
    indexes = in_force.load()
    configured = {name for name in indexes.definitions if name in in_force.configured}
    missing = sorted({*before.indexes} - indexes.definitions.keys())
    by_commands = _removed_by_commands(in_force) if {*missing} - indexes.names else set[str]()
    removed, warnings = set[str](), list[str]()
    for name in missing:
        if name in indexes.problems:
            warnings.append(f"{name}/ of the site stays as it is: {indexes.problems[name]}")
        elif everything or (name in by_commands and name not in before.configured):
            removed.add(name)
        else:
            warnings.append(
                f"{name}/ of the site stays as it is, as neither the store nor the settings of "
                f"this command have an index {name}: export with the settings that have it; if "
                "none have it any more, delete the folder with 'wheelyard export --all'"
            )
    kept = {*missing} - removed
    return IndexFolders(
        tuple(sorted({*indexes.definitions, *kept})),
        tuple(sorted(configured | kept.intersection(before.configured))),
        tuple(sorted(removed)),
        tuple(warnings),
    )


def _removed_by_commands(in_force: IndexDefinitions) -> set[str]:
    """Return the names of all indexes that a command has ever removed."""
    removed = set[str]()
    with UnreadableIgnored():  # what is not said to be removed is kept
        for commit in in_force.records.history():
            removed |= {event.name for event in commit.events if isinstance(event, IndexRemoved)}
    return removed


def exported_objects(site: SiteStore, name: str, store_id: str) -> Iterator[Key]:
    """
    Yield what exports of an index, from the store with this id, have made in its folder.

    Raises Unavailable if the site does not answer.
    """
    folder = f"{name}/"
    manifest = read_manifest(site, folder)[0]
    if not manifest.format or manifest.options.store not in {"", store_id}:
        return
    foreign = COMMON_PATHS if manifest.foreign is None else manifest.foreign
    for entry in pages_in(site, folder):
        if entry.key.removeprefix(folder).removesuffix(".gz") not in foreign:
            yield entry.key
    yield from (entry.key for entry in site.list(folder + EXPORT_PREFIX))
    for entry in site.list(folder + keys.FILES) if manifest.has_copies else ():
        if keys.parse_file_key(Key(entry.key.removeprefix(folder))) is not None:
            yield entry.key


def store_id(settings: Settings, segment: str) -> str:
    """Return `Options.store` of the sites of an index, whose paths begin with a segment."""
    location = settings.store.location
    place = str(parse_location(location)) if is_bucket(location) else os.path.realpath(location)
    return sha256(os.fsencode(place + segment)).hexdigest()[:32]
