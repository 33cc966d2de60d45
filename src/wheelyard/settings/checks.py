"""Settings that make no sense, by themselves or together, stop the start with one clear line."""

import re
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution import parse_name
from wheelyard.settings.doors import check_doors
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.settings.words import bad_setting
from wheelyard.storage.cloud.location import BucketLocation, parse_location

FIXED_PATHS: Final = frozenset(
    {"simple", "pypi", "legacy", "files", "project", "api", "raw", "packages"}
    | {"health", "ready", "metrics"}
)
"""First segments of paths that mean something already, so no root can be called like them."""

_FOLDER_OR_BUCKET: Final = "a folder, gs://BUCKET/PREFIX, or memory:"
_PUBLIC_URL: Final = re.compile(r"https?://[^\x00-\x20\x7f/?#]+(/[^\x00-\x20\x7f?#]*)?")


def checked(settings: Settings) -> Settings:
    """
    Return the settings, tidied.

    Raises:
        Invalid: Something makes no sense (code `bad_setting`).
    """
    server = settings.server
    for root in server.roots:
        _check_root(root)
    prefix = server.path_prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise bad_setting(
            f"[server] path_prefix: {quoted(server.path_prefix)} is none. Write what a proxy puts "
            "before every path, such as /packages"
        )
    _check_public_url(server.public_url, f"/{prefix}" if prefix else "")
    if not server.host:
        raise bad_setting("[server] host: expected an address to listen on, such as 127.0.0.1")
    _check_store(settings.store)
    check_doors(settings)
    return replace(settings, server=replace(server, path_prefix=f"/{prefix}" if prefix else ""))


def _check_root(root: str) -> None:
    if root in FIXED_PATHS:
        raise bad_setting(
            f"[server] roots: {quoted(root)} is a path of the index already. Choose another"
        )
    try:
        name = parse_name(root)
    except Invalid as fault:
        raise bad_setting(
            f"[server] roots: {quoted(root)} cannot be one. Write a-z, 0-9 and -, such as acme"
        ) from fault
    if name != root:
        raise bad_setting(f"[server] roots: {quoted(root)} is to be written {quoted(name)}")


def _check_store(store: StoreSettings) -> None:
    if not store.location or "\0" in store.location:
        raise bad_setting(
            f"[store] location: expected {_FOLDER_OR_BUCKET}, and found {quoted(store.location)}"
        )
    if not store.location.lower().startswith("gs:"):
        for name in ("files", "downloads"):
            if getattr(store, name) != getattr(StoreSettings(), name):
                raise bad_setting(
                    f"[store] {name} is for a bucket, and [store] location names none. Leave it "
                    "out, or give gs://BUCKET/PREFIX as the location"
                )
        return
    kept = _bucket("location", store.location)
    files = _bucket("files", store.files) if store.files else kept
    if store.downloads == "public" and files.bucket == kept.bucket:
        raise bad_setting(
            '[store] downloads = "public" needs [store] files in a bucket of its own: allUsers '
            f"covers a whole bucket, and {kept.bucket} holds credentials and the journal as well"
        )


def _bucket(name: str, text: str) -> BucketLocation:
    try:
        return parse_location(text)
    except Invalid as error:
        raise bad_setting(f"[store] {name}: {error.message.rstrip('.')}") from error


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:  # such as half of a pair of brackets
        return False


def _check_public_url(url: str, prefix: str) -> None:
    if not url:
        return
    if not _PUBLIC_URL.fullmatch(url) or not _has_host(url):
        raise bad_setting(
            f"[server] public_url: {quoted(url)} is none. Write a URL that begins with https:// or "
            "http://, such as https://packages.example.com"
        )
    path = url.split("://", 1)[1].partition("/")[2].rstrip("/")
    if not f"/{path}".endswith(prefix):
        raise bad_setting(
            f"[server] public_url: expected it to end with the path_prefix, {quoted(prefix)}, and "
            f"found {quoted(url)}"
        )
