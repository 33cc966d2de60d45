"""Settings that count for nothing beside others: a sentence each, for whoever has set them."""

from collections.abc import Callable, Iterator
from typing import Final

from wheelyard.model.identity import EVERYBODY
from wheelyard.settings.doors import is_open
from wheelyard.settings.names import Place, every_setting
from wheelyard.settings.sections import Settings
from wheelyard.storage.cloud.location import is_bucket

Why = Callable[[Settings], str]
"""Returns why a setting counts for nothing, or nothing if it counts."""


def unused(settings: Settings) -> Iterator[str]:
    """Yield, for each setting that is not the default and counts for nothing, why it does."""
    known = every_setting()
    for place, why in _WHY.items():
        setting = known[place]
        if setting.value_in(settings) != setting.default and (reason := why(settings)):
            yield f"{setting} counts for nothing: {reason}"


def _without_a_bucket(settings: Settings) -> str:
    places = (settings.store.location, settings.access.credentials_store)
    return "" if any(map(is_bucket, places)) else "nothing is kept in a bucket"


def _without_signed_urls(settings: Settings) -> str:
    if not is_bucket(settings.store.location):
        return "[store] location is no bucket"
    how = settings.store.downloads
    return (
        f'no URL is signed where [store] downloads = "{how}"' if how in ("proxy", "public") else ""
    )


def _where_all_is_open(settings: Settings) -> str:
    return "everybody may read every name" if is_open(settings) else ""


def _where_all_is_closed(settings: Settings) -> str:
    is_shared = any(EVERYBODY in each.who for each in settings.grants.every)
    return "" if is_open(settings) or is_shared else "there is no page that anyone may read"


def _without_passwords(settings: Settings) -> str:
    if not settings.access.htpasswd_file:
        return "there is no [access] htpasswd_file"
    return "there is a [[grant]]; name the users there, as htpasswd:NAME" if settings.grant else ""


def _without_anonymous_uploads(settings: Settings) -> str:
    return "" if settings.access.anonymous_uploads else "[access] anonymous_uploads is not set"


def _without_id_tokens(settings: Settings) -> str:
    audience = settings.google.id_token.audience
    return "" if audience else "[google.id_token] audience is not set, so ID tokens are off"


def _without_access_tokens(settings: Settings) -> str:
    resource = settings.google.access_token.resource
    return "" if resource else "[google.access_token] resource is not set, so access tokens are off"


def _without_iap(settings: Settings) -> str:
    return "" if settings.iap.audience else "[iap] audience is not set, so it is off"


def _without_google(settings: Settings) -> str:
    ways = (_without_id_tokens, _without_access_tokens, _without_iap)
    return "no credential of Google's is taken" if all(way(settings) for way in ways) else ""


def _without_publishing(settings: Settings) -> str:
    audience = settings.trusted_publishing.audience
    return "" if audience else "[trusted_publishing] audience is not set, so it is off"


_WHY: Final[dict[Place, Why]] = {
    ("store", "signed_url_minutes"): _without_signed_urls,
    ("store", "freshness"): _without_a_bucket,
    ("store", "stale_if_error"): _without_a_bucket,
    ("access", "private_names"): _where_all_is_open,
    ("access", "htpasswd_may_manage"): _without_passwords,
    ("access", "anonymous_uploads_anywhere"): _without_anonymous_uploads,
    ("http", "public_max_age"): _where_all_is_closed,
    ("google", "allow_private"): _without_google,
    ("google", "access_token", "cache_seconds"): _without_access_tokens,
    ("trusted_publishing", "token_seconds"): _without_publishing,
}
