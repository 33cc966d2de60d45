"""Settings that count for nothing beside others: a sentence each, for whoever has set them."""

from collections.abc import Callable, Iterator
from typing import Final

from wheelyard.model.identity import EVERYBODY
from wheelyard.settings.doors import is_open
from wheelyard.settings.names import Place, every_setting
from wheelyard.settings.sections import Settings
from wheelyard.storage.cloud.location import is_bucket


def unused(settings: Settings) -> Iterator[str]:
    """Yield, for each setting that is not the default and counts for nothing, why it does."""
    known = every_setting()
    said = [place for place, each in known.items() if each.value_in(settings) != each.default]
    for place in said:
        needed = known.get(_NEEDS.get(place, ()))
        if needed and needed.value_in(settings) == needed.default:
            yield f"{known[place]} counts for nothing: {needed} is not set"
            continue
        for where, is_so, why in _WHY:
            if where == place and is_so(settings):
                yield f"{known[place]} counts for nothing: {why}"
                break


def _has_no_bucket(settings: Settings) -> bool:
    places = (settings.store.location, settings.access.credentials_store)
    return not any(map(is_bucket, places))


def _is_closed(settings: Settings) -> bool:
    is_shared = any(EVERYBODY in each.who for each in settings.grants.every)
    return not (is_open(settings) or is_shared)


def _is_without_google(settings: Settings) -> bool:
    google = settings.google
    return not (google.id_token.audience or google.access_token.resource or settings.iap.audience)


_NEEDS: Final[dict[Place, Place]] = {
    ("access", "htpasswd_may_manage"): ("access", "htpasswd_file"),
    ("access", "anonymous_uploads_anywhere"): ("access", "anonymous_uploads"),
    ("google", "access_token", "cache_seconds"): ("google", "access_token", "resource"),
    ("trusted_publishing", "token_seconds"): ("trusted_publishing", "audience"),
}
"""Settings that count only where another one is set."""

_WHY: Final[tuple[tuple[Place, Callable[[Settings], bool], str], ...]] = (
    (
        ("store", "signed_url_minutes"),
        lambda it: not is_bucket(it.store.location),
        "[store] location is no bucket",
    ),
    (
        ("store", "signed_url_minutes"),
        lambda it: it.store.downloads in ("proxy", "public"),
        "no URL is signed where [store] downloads is proxy or public",
    ),
    (("store", "freshness"), _has_no_bucket, "nothing is kept in a bucket"),
    (("store", "stale_if_error"), _has_no_bucket, "nothing is kept in a bucket"),
    (("access", "private_names"), is_open, "everybody may read every name"),
    (
        ("access", "htpasswd_may_manage"),
        lambda it: bool(it.grant),
        "there is a [[grant]]; name the users there, as htpasswd:NAME",
    ),
    (("http", "public_max_age"), _is_closed, "there is no page that anyone may read"),
    (("google", "allow_private"), _is_without_google, "no credential of Google's is taken"),
)
"""Settings that count for nothing where something is so; the first that fits is told."""
