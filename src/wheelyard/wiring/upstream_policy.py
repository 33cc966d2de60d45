"""Builds the policy of upstream packages from the settings."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from wheelyard.catalog.document_cache import CachePolicy, DocumentCache
from wheelyard.catalog.journals import DecisionRecords
from wheelyard.errors import Invalid
from wheelyard.model.licences import LicencePatterns, parse_licence_patterns
from wheelyard.model.name_patterns import NameFilter, parse_name_patterns
from wheelyard.settings.upstream_section import UpstreamIndexSettings, UpstreamSettings
from wheelyard.storage.base import Store
from wheelyard.upstream.policy.accepted_osv import AcceptedOsvRecord
from wheelyard.upstream.policy.first_uses import FIRST_USES, FirstUses
from wheelyard.upstream.policy.known_licences import LICENCES, KnownLicences, MetadataReader
from wheelyard.upstream.policy.osv_source import OsvSource
from wheelyard.upstream.policy.policy import Policy
from wheelyard.upstream.policy.rules import PolicyRules, parse_exceptions


def policy_rules(settings: UpstreamSettings) -> PolicyRules:
    """Return the rules of the settings; raise Invalid (code `bad_setting`) for a wrong one."""
    return PolicyRules(
        names=tuple(map(name_filter, settings.indexes)),
        cooldown=timedelta(days=settings.cooldown_days),
        cooldown_exceptions=parse_exceptions(settings.cooldown_allow),
        uses_first_seen=settings.cooldown_missing == "first_seen",
        snapshot=settings.snapshot_at,
        needs_approval=settings.approval,
        blocked_licences=_licences(settings.blocked_licenses),
    )


def name_filter(index: UpstreamIndexSettings) -> NameFilter:
    """Return which names an upstream index is asked for."""
    allow = None if index.allow is None else parse_name_patterns(index.allow)
    return NameFilter(allow, parse_name_patterns(index.deny))


def _licences(texts: Iterable[str]) -> LicencePatterns:
    try:
        return parse_licence_patterns(texts)
    except Invalid as fault:
        message = f"[upstream] blocked_licenses: {fault.message}"
        raise Invalid(message, code=fault.code) from fault


def build_policy(
    settings: UpstreamSettings,
    store: Store,
    decisions: DecisionRecords,
    read_metadata: MetadataReader,
    caching: CachePolicy,
    *,
    is_read_only: bool,
) -> Policy:
    """
    Return the policy of the settings; raise Invalid for a wrong one.

    `store` has what is below `upstream/`. The database of `osv` is not read yet.
    """
    rules, runtime = policy_rules(settings), decisions.runtime
    osv = licences = first_uses = None
    if settings.osv:
        record = AcceptedOsvRecord(store)
        osv = OsvSource(Path(settings.osv), settings.min_cvss, runtime.monotonic, record)
    if rules.blocked_licences:
        documents = DocumentCache(store, LICENCES, runtime, caching)
        licences = KnownLicences(
            rules.blocked_licences, read_metadata, documents, decisions.retries
        )
    if rules.cooldown and rules.cooldown_exceptions.versions:
        uses = DocumentCache(store, FIRST_USES, runtime, caching)
        first_uses = FirstUses(
            rules.cooldown_exceptions, uses, decisions.retries, is_read_only=is_read_only
        )
    return Policy(rules, decisions, osv, licences, first_uses)
