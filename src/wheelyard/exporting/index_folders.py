"""
The folders of other indexes in the site of main.

The site may have folders of indexes that the store does not have, as earlier versions exported
indexes of their settings. So a folder is deleted only if the store has no packages of an index of
this name, and either somebody has removed the index, or the operator wants everything made again.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.errors import UNREADABLE_CODES, Unavailable
from wheelyard.exporting import site_folder
from wheelyard.exporting.project_export import pages_in
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexRemoved
from wheelyard.operations.index_definitions import IndexDefinitions, served_definition
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Key
from wheelyard.storage.location import is_bucket, parse_location
from wheelyard.wiring.index import Index

STORE_ID_DIGITS: Final = 32
"""How many hexadecimal digits identify a store in a manifest, which anybody may read."""


class IndexFolders(Struct, frozen=True):
    """The folders of indexes that a site has after an export, and those that are deleted."""

    names: tuple[str, ...] = ()
    """The names of the indexes that have a folder, sorted."""
    removed: tuple[str, ...] = ()
    """The names of indexes whose folders have to be deleted."""
    warnings: tuple[str, ...] = ()
    """
    Sentences about indexes that this export does not write, and why. Their folders stay as they
    are.
    """


def index_folders(
    index: Index, site: site_folder.SiteStore, before: site_folder.Manifest, *, everything: bool
) -> IndexFolders:
    """
    Decide about the folders of indexes in a site with the manifest `before`, the site of main.

    Nothing is deleted here. With `everything`, the folders of all indexes that do not exist have to
    be deleted, unless the store has packages of such an index. Raises Unavailable if the
    definitions in the store cannot be read, the definition of main does not fit (code
    `wrong_index`), or the store or the site does not answer.
    """
    indexes = index.server.definitions.load()

    # raises if the definition of main does not fit
    served_definition(indexes, MAIN)
    folder_names = set(before.indexes)

    # somebody may have removed the manifest, so without a whole one, the site is searched
    if not before.is_whole:
        folder_names.update(_exported_indexes(site, index.settings))

    # the folders of indexes that are not served, or do not exist any more
    outdated_names = list[str]()
    for name in sorted(folder_names - indexes.definitions.keys()):
        # never a folder that the owner of the web server has made
        if _is_exported(site, name, index.settings):
            outdated_names.append(name)
    names_removed_by_command = set[str]()

    # the journal is read only if it decides about a folder
    if set(outdated_names) - indexes.names:
        names_removed_by_command = _removed_indexes(index.server.definitions)
    warnings = list[str]()
    for name in sorted(indexes.problems.keys() - outdated_names):
        warnings.append(f"{name} is left out of the site: {indexes.problems[name]}")
    removed_names = set[str]()
    for name in outdated_names:
        beginning = f"{name}/ of the site stays as it is"
        if name in indexes.problems:
            warnings.append(f"{beginning}: {indexes.problems[name]}")
        elif _has_packages(index, name):
            warnings.append(
                f"{beginning}, as the store has its packages, though it has no index {name}: make "
                "the index again, or delete the folder yourself"
            )
        elif everything or name in names_removed_by_command:
            removed_names.add(name)
        else:
            warnings.append(
                f"{beginning}, as the store has no index {name}, and nobody has removed one: make "
                "the index, or delete the folder by --all"
            )
    names = set(outdated_names) - removed_names
    names.update(indexes.definitions)
    return IndexFolders(tuple(sorted(names)), tuple(sorted(removed_names)), tuple(warnings))


def _exported_indexes(site: site_folder.SiteStore, settings: Settings) -> Iterator[str]:
    """Yield the names of the indexes of this store that have folders in a site."""
    for name in _folders_in(site):
        manifest, _ = site_folder.read_manifest(site, f"{name}/")
        # A manifest that is damaged, or of an earlier version, does not name its store. A folder is
        # only added by a manifest that names this store.
        if manifest.options.store == store_id(settings, f"/{name}"):
            yield name


def _folders_in(site: site_folder.SiteStore) -> Iterator[str]:
    """Yield the names of all folders of a site that may have a manifest."""
    if isinstance(site, site_folder.SiteFolder):
        yield from site.inner_sites()
        return
    entries = site.list("")
    while True:
        entry = next(entries, None)
        if entry is None:
            return
        name, slash, _ = entry.key.partition("/")
        if slash:
            yield name
            # A folder may have many objects, so the listing goes on behind the folder: the
            # character after the slash is 0.
            entries = site.list("", f"{name}0")


def _has_packages(index: Index, name: str) -> bool:
    """Return whether the store has files of an index, also if the index has no definition."""
    try:
        return any(project.files for project in index.lifecycle.removal.projects_of(name))
    except Unavailable as fault:
        if fault.code not in UNREADABLE_CODES:
            raise
        # a document that cannot be read may list files
        return True


def _removed_indexes(definitions: IndexDefinitions) -> set[str]:
    """Return the names of all indexes that somebody has ever removed."""
    names = set[str]()
    # if a commit cannot be read, the folder of an index that it may have removed is kept
    with UnreadableIgnored():
        for commit in definitions.records.history():
            for event in commit.events:
                if isinstance(event, IndexRemoved):
                    names.add(event.name)
    return names


def _is_exported(site: site_folder.SiteStore, name: str, settings: Settings) -> bool:
    """
    Return whether a folder of a site has pages of an index of this store.

    Raises Unavailable if the site does not answer.
    """
    manifest, _ = site_folder.read_manifest(site, f"{name}/")
    has_manifest = manifest.format > 0
    # earlier versions did not write the store into the manifest
    return has_manifest and manifest.options.store in {"", store_id(settings, f"/{name}")}


def exported_objects(site: site_folder.SiteStore, name: str) -> Iterator[Key]:
    """
    Yield the keys of the objects that exports of an index have made in its folder.

    `_is_exported` has to be true for the folder. Pages that the owner of the web server may have
    made are left out. Raises Unavailable if the site does not answer.
    """
    folder = f"{name}/"
    manifest, _ = site_folder.read_manifest(site, folder)
    foreign_paths = manifest.foreign
    if foreign_paths is None:
        # nobody knows who has made these pages, so they stay
        foreign_paths = site_folder.COMMON_PATHS
    for entry in pages_in(site, folder):
        path = entry.key.removeprefix(folder).removesuffix(".gz")
        if path not in foreign_paths:
            yield entry.key
    for entry in site.list(folder + site_folder.EXPORT_PREFIX):
        yield entry.key
    if not manifest.has_copies:
        return
    for entry in site.list(folder + keys.FILES):
        # only copies of distributions, and no file that somebody else has put there
        key_in_folder = Key(entry.key.removeprefix(folder))
        if keys.parse_file_key(key_in_folder) is not None:
            yield entry.key


def store_id(settings: Settings, segment: str) -> str:
    """
    Return the value of `Options.store` for the sites of an index of this store.

    `segment` is the first segment of the paths of the index, or an empty text for main.
    """
    location = settings.store.location
    place = str(parse_location(location)) if is_bucket(location) else os.path.realpath(location)
    digest = sha256(os.fsencode(place + segment))
    return digest.hexdigest()[:STORE_ID_DIGITS]
