"""
The destination of an export: which places are allowed, and the export to one of them.

A site is public for everyone who can reach it. So the destination may not be in a bucket that holds
the store or its credentials, and neither in, around nor equal to a folder that does.
"""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from wheelyard.errors import Invalid, quoted
from wheelyard.exporting.export import Export
from wheelyard.exporting.manifest import (
    BAD_DESTINATION,
    Options,
    RequestedOptions,
    SiteLease,
)
from wheelyard.exporting.site import SitePlace
from wheelyard.exporting.site_folder import SiteFolder
from wheelyard.model.decoding import escaped
from wheelyard.settings.sections import MEMORY_LOCATION
from wheelyard.storage.location import BUCKET_FORMS, is_bucket, parse_location
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import store_in


def open_export(
    index: Index, dest: str, requested: RequestedOptions, on_wait: Callable[[], None]
) -> Export:
    """
    Return the export of an index to a folder, which is made, or to a bucket.

    An option that is not requested is that of the site's last export. `on_wait` is called if
    another export is writing the site. Raise Invalid if the export is not allowed.
    """
    place = open_place(index, dest)
    lease = SiteLease(place.store, index.runtime, on_wait)
    settings, files = index.settings, index.traits.files
    location = settings.store.location
    store = str(parse_location(location)) if is_bucket(location) else os.path.realpath(location)
    new = Options(
        base_url=settings.server.public_url.rstrip("/"),
        store=sha256(os.fsencode(store)).hexdigest()[:32],
        brand=index.brand.fingerprint,
        remote_images=settings.web.remote_images,
        has_public=index.upstream is not None,
    )
    # the store may have a location of its own for its files
    owns_files = not files or not is_bucket(dest) or parse_location(dest) != parse_location(files)
    if not requested.merged_with(lease.options, new).files_url and not owns_files:
        raise Invalid(
            f"{escaped(dest)} has the store's own files. Leave them where they are "
            "with --files and the URL of its files/ folder, or choose another prefix.",
            code=BAD_DESTINATION,
        )
    return Export(
        index=index,
        place=place,
        lease=lease,
        requested=requested,
        new=new,
        owns_files=owns_files,
    )


def open_place(index: Index, dest: str) -> SitePlace:
    """Return the destination of an export; raise Invalid if it is not allowed."""
    _check_destination(dest, index)
    if is_bucket(dest):
        store = store_in(dest, index.traits.operation_counter)
        return SitePlace(store, index.spool, parse_location(dest))
    return SitePlace(SiteFolder(Path(dest)), index.spool)


def _check_destination(dest: str, index: Index) -> None:
    if not is_bucket(dest) and ("://" in dest or dest in ("", MEMORY_LOCATION)):
        raise Invalid(
            f"A site cannot be written to {quoted(dest)}. Give a folder, {BUCKET_FORMS}.",
            code=BAD_DESTINATION,
        )
    settings = index.settings
    # a bucket of files that everyone may read has nothing that a site beside them would show
    files = "" if settings.store.downloads == "public" else index.traits.files
    for location in (settings.store.location, settings.access.credentials_store, files):
        if not location or location == MEMORY_LOCATION or is_bucket(location) != is_bucket(dest):
            continue
        if not is_bucket(dest):
            site, store = Path(os.path.realpath(dest)), Path(os.path.realpath(location))
            if site == store or site in store.parents or store in site.parents:
                raise Invalid(
                    f"{escaped(dest)} and the store {escaped(location)} are in each other's "
                    "way: who can read the site could read credentials. Choose a folder beside the "
                    "store.",
                    code=BAD_DESTINATION,
                )
        elif parse_location(location).root == parse_location(dest).root:
            raise Invalid(
                f"{escaped(dest)} is in the bucket of {escaped(location)}, and a site's bucket "
                "is readable as a whole. Choose another bucket.",
                code=BAD_DESTINATION,
            )
