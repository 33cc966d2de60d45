"""Settings that make no sense, by themselves or together, stop the start with one clear line."""

import re
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from wheelyard.errors import Invalid
from wheelyard.model.distribution import parse_name
from wheelyard.settings.doors import TOKEN, bucket_of, check_doors
from wheelyard.settings.names import every_setting
from wheelyard.settings.sections import MEMORY, Settings, StoreSettings
from wheelyard.settings.urls import has_credentials, has_host, veiled
from wheelyard.settings.words import NUMBER_BITS, bad_setting
from wheelyard.storage.cloud.location import is_bucket

FIXED_PATHS: Final = frozenset(
    {"simple", "pypi", "legacy", "files", "project", "api", "raw", "packages"}
    | {"health", "ready", "metrics"}
)
"""First segments of paths that mean something already, so no root can be called like them."""

_FOLDER_OR_BUCKET: Final = "a folder, gs://BUCKET/PREFIX, or memory:"
_NO_PATH: Final = re.compile(r"[\s\x00-\x1f\x7f%?#\\\\]")
"""What a path of a URL has in other forms, or not at all."""
_PUBLIC_URL: Final = re.compile(r"https?://[^\x00-\x20\x7f/?#]+(/[^\x00-\x20\x7f?#]*)?")


def checked(settings: Settings) -> Settings:
    """
    Return the settings, tidied.

    Raises:
        Invalid: Something makes no sense (code `bad_setting`).
    """
    server = settings.server
    for setting in every_setting().values():
        number = setting.value_in(settings)
        if isinstance(number, int) and number.bit_length() > NUMBER_BITS:
            raise bad_setting(f"{setting}: expected a smaller number")
    for root in server.roots:
        _check_root(root)
    prefix = server.path_prefix.strip("/")
    is_odd = any(part in ("", ".", "..") for part in prefix.split("/")) or _NO_PATH.search(prefix)
    if prefix and is_odd:
        raise bad_setting(
            f"[server] path_prefix: {veiled(server.path_prefix)} is none. Write what a proxy puts "
            "before every path, such as /packages"
        )
    _check_public_url(server.public_url, f"/{prefix}" if prefix else "")
    if not server.host or "/" in server.host or "@" in server.host:
        raise bad_setting("[server] host: expected an address to listen on, such as 127.0.0.1")
    _check_store(settings.store)
    if server.workers > 1 and settings.store.location == MEMORY:
        raise bad_setting("[server] workers: a store in memory cannot be shared. Use one worker")
    check_doors(settings)
    _check_observation(settings)
    return replace(settings, server=replace(server, path_prefix=f"/{prefix}" if prefix else ""))


def _check_root(root: str) -> None:
    if root in FIXED_PATHS:
        raise bad_setting(
            f"[server] roots: {veiled(root)} is a path of the index already. Choose another"
        )
    try:
        name = parse_name(root)
    except Invalid as fault:
        raise bad_setting(
            f"[server] roots: {veiled(root)} cannot be one. Write a-z, 0-9 and -, such as acme"
        ) from fault
    if name != root:
        raise bad_setting(f"[server] roots: {veiled(root)} is to be written {veiled(name)}")


def _check_store(store: StoreSettings) -> None:
    is_other = "://" in store.location and not is_bucket(store.location)
    if not store.location or "\0" in store.location or is_other:
        raise bad_setting(
            f"[store] location: expected {_FOLDER_OR_BUCKET}, and found {veiled(store.location)}"
        )
    if not store.location.lower().startswith("gs:"):
        for name in ("files", "downloads"):
            if getattr(store, name) != getattr(StoreSettings(), name):
                raise bad_setting(
                    f"[store] {name} is for a bucket, and [store] location names none. Leave it "
                    "out, or give gs://BUCKET/PREFIX as the location"
                )
        return
    kept = bucket_of("[store] location", store.location)
    files = bucket_of("[store] files", store.files) if store.files else kept
    if store.downloads == "public" and files.bucket == kept.bucket:
        raise bad_setting(
            '[store] downloads = "public" needs [store] files in a bucket of its own: allUsers '
            f"covers a whole bucket, and {kept.bucket} holds credentials and the journal as well"
        )


def _check_observation(settings: Settings) -> None:
    """Return if log and telemetry name what could be a project and a collector."""
    if not TOKEN.fullmatch(settings.log.project):
        raise bad_setting(
            f"[log] project: {veiled(settings.log.project)} is none. Write the id of a Google "
            "Cloud project, such as acme-packages"
        )
    endpoint = settings.telemetry.otlp_endpoint
    is_one = _PUBLIC_URL.fullmatch(endpoint) and has_host(endpoint) and "@" not in endpoint
    if endpoint and not is_one:
        raise bad_setting(
            f"[telemetry] otlp_endpoint: {veiled(endpoint)} is none. Write the URL of a collector "
            "that takes OTLP over HTTP, such as http://127.0.0.1:4318"
        )
    if urlsplit(endpoint).path.rstrip("/").endswith(("/v1/traces", "/v1/metrics")):
        raise bad_setting(
            "[telemetry] otlp_endpoint: expected the URL without /v1/traces or /v1/metrics, which "
            "are put behind it. Write a URL such as http://127.0.0.1:4318"
        )


def _check_public_url(url: str, prefix: str) -> None:
    if not url:
        return
    if has_credentials(url):
        raise bad_setting(
            "[server] public_url: expected no name and no password before the host, because it is "
            "shown to everybody. Write a URL such as https://packages.example.com"
        )
    if not _PUBLIC_URL.fullmatch(url) or not has_host(url):
        raise bad_setting(
            f"[server] public_url: {veiled(url)} is none. Write a URL that begins with https:// or "
            "http://, such as https://packages.example.com"
        )
    path = url.split("://", 1)[1].partition("/")[2].rstrip("/")
    if not f"/{path}".endswith(prefix):
        raise bad_setting(
            f"[server] public_url: expected it to end with the path_prefix, {veiled(prefix)}, and "
            f"found {veiled(url)}"
        )
