"""
The folders of other indexes in the site of main.

The site may have folders of more indexes than the store, which an earlier version has exported by
its settings. So a folder is deleted only if the store has no packages of an index of its name, and
somebody has removed the index, or the operator wants everything made again.
"""

import os
from collections.abc import Iterator
from hashlib import sha256

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


class IndexFolders(Struct, frozen=True):
    """Which folders of indexes a site has after an export."""

    names: tuple[str, ...] = ()
    """The names of their indexes, sorted."""
    removed: tuple[str, ...] = ()
    """The names of indexes whose folders are to be deleted."""
    warnings: tuple[str, ...] = ()
    """Which indexes this export does not write, and why, in sentences. Their folders stay."""


def index_folders(
    index: Index, site: site_folder.SiteStore, before: site_folder.Manifest, *, everything: bool
) -> IndexFolders:
    """
    Return the folders of a site with the manifest `before`, which is that of all indexes.

    Nothing is deleted here. With `everything`, those of all indexes that do not exist are to be
    deleted, unless the store has packages of theirs. Raises Unavailable if the definitions in the
    store cannot be read, that of main does not fit (code `wrong_index`), or the store or the site
    does not answer.
    """
    # `definitions` of these are served, `problems` are those that are not, and `names` are both
    stored_indexes = index.server.definitions.load()

    # raises if nobody can say what main is
    served_definition(stored_indexes, MAIN)
    folders = set(before.indexes)

    # without a whole manifest, which somebody may have removed, the folders say which there are
    if not before.is_whole:
        folders.update(_exported_indexes(site, index.settings))

    # the folders of indexes that are not served, or not there any more
    outdated = list[str]()
    for name in sorted(folders - stored_indexes.definitions.keys()):
        # never a folder that the owner of the web server has made
        if _is_exported(site, name, index.settings):
            outdated.append(name)
    removed_by_command = set[str]()

    # the journal is read only if it decides about a folder
    if set(outdated) - stored_indexes.names:
        removed_by_command = _removed_indexes(index.server.definitions)
    warnings = list[str]()
    for name in sorted(stored_indexes.problems.keys() - outdated):
        warnings.append(f"{name} is left out of the site: {stored_indexes.problems[name]}")
    removed = set[str]()
    for name in outdated:
        stays = f"{name}/ of the site stays as it is"
        if name in stored_indexes.problems:
            warnings.append(f"{stays}: {stored_indexes.problems[name]}")
        elif _has_packages(index, name):
            warnings.append(
                f"{stays}, as the store has its packages, though it has no index {name}: make the "
                "index again, or delete the folder yourself"
            )
        elif everything or name in removed_by_command:
            removed.add(name)
        else:
            warnings.append(
                f"{stays}, as the store has no index {name}, and nobody has removed one: make the "
                "index, or delete the folder by --all"
            )
    names = set(outdated) - removed
    names.update(stored_indexes.definitions)
    return IndexFolders(tuple(sorted(names)), tuple(sorted(removed)), tuple(warnings))


def _exported_indexes(site: site_folder.SiteStore, settings: Settings) -> Iterator[str]:
    """Yield the names of the indexes of the store of the settings that have folders in a site."""
    for name in _folders_in(site):
        manifest, _ = site_folder.read_manifest(site, f"{name}/")
        # a damaged manifest, or one of an earlier version, does not say of which store it is: only
        # one that names this store adds a folder that no manifest above has
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
            # on behind the folder, whose objects may be many: 0 is the character after the slash
            entries = site.list("", f"{name}0")


def _has_packages(index: Index, name: str) -> bool:
    """Return whether the store lists files in an index of this name, which may not be defined."""
    try:
        return any(project.files for project in index.lifecycle.removal.projects_of(name))
    except Unavailable as fault:
        if fault.code not in UNREADABLE_CODES:
            raise
        # a document that cannot be read may list some
        return True


def _removed_indexes(definitions: IndexDefinitions) -> set[str]:
    """Return the names of all indexes that somebody has ever removed."""
    removed = set[str]()
    # what nobody can read says of no index that it was removed, so its folder is kept
    with UnreadableIgnored():
        for commit in definitions.records.history():
            removed.update(event.name for event in commit.events if isinstance(event, IndexRemoved))
    return removed


def _is_exported(site: site_folder.SiteStore, name: str, settings: Settings) -> bool:
    """
    Return whether a folder of a site has an index of the store of these settings.

    Raises Unavailable if the site does not answer.
    """
    manifest, _ = site_folder.read_manifest(site, f"{name}/")
    # earlier versions did not write of which store a site is
    return manifest.format > 0 and manifest.options.store in {"", store_id(settings, f"/{name}")}


def exported_objects(site: site_folder.SiteStore, name: str) -> Iterator[Key]:
    """
    Yield what exports of an index have made in its folder, for which `_is_exported` is true.

    Pages that may be those of the owner of the web server are left out.

    Raises Unavailable if the site does not answer.
    """
    folder = f"{name}/"
    manifest, _ = site_folder.read_manifest(site, folder)
    foreign = manifest.foreign
    if foreign is None:
        # as nobody knows whose they are, they are left
        foreign = site_folder.COMMON_PATHS
    for entry in pages_in(site, folder):
        if entry.key.removeprefix(folder).removesuffix(".gz") not in foreign:
            yield entry.key
    for entry in site.list(folder + site_folder.EXPORT_PREFIX):
        yield entry.key
    if not manifest.has_copies:
        return
    for entry in site.list(folder + keys.FILES):
        # no other file that somebody has put there
        if keys.parse_file_key(Key(entry.key.removeprefix(folder))) is not None:
            yield entry.key


def store_id(settings: Settings, segment: str) -> str:
    """
    Return `Options.store` of the sites of an index, whose paths begin with a segment.

    An empty segment is that of main.
    """
    location = settings.store.location
    place = str(parse_location(location)) if is_bucket(location) else os.path.realpath(location)
    return sha256(os.fsencode(place + segment)).hexdigest()[:32]
