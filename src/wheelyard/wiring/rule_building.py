"""
Builds the rules that hide files in an index.

This module is only imported if an index has rules.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wheelyard.catalog.files import Files
from wheelyard.catalog.licence_finder import LicenceFinder
from wheelyard.catalog.removed import describe_removed_filter
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.index_definition import IndexDefinition
from wheelyard.model.rule_keys import licence_rule, parse_exceptions
from wheelyard.model.rule_rows import rules_of_index, rules_of_removed_filter
from wheelyard.model.rules import Rules
from wheelyard.repository.index_rules import IndexRules
from wheelyard.repository.rule_facts import Advisories, FactFinder
from wheelyard.settings.sections import Settings

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamIndex
    from wheelyard.upstream.policy.first_uses import FirstUses


def build_rules(
    definition: IndexDefinition,
    files: Files,
    upstream: "UpstreamIndex | None",
    settings: Settings,
    runtime: Runtime,
) -> IndexRules:
    """
    Return the rules of an index, with the finder of the facts that they need.

    `upstream` are the upstream indexes among its layers, or None without any. Raises Invalid (code
    `bad_setting`) for a wrong rule.
    """
    keys = definition.rules
    # without upstream indexes, licences are those of metadata in the store
    licence_finder = LicenceFinder()
    advisories: Advisories | None = None
    first_uses: FirstUses | None = None
    if upstream is not None:
        # shared with the policy of `[upstream]`, as it caches the licences of public files
        licence_finder = upstream.policy.sidecar_facts.licences.finder
        advisories = _advisories(upstream, keys.min_cvss, settings, runtime)
        exceptions = parse_exceptions(keys.cooldown_allow)
        first_uses = replace(
            upstream.policy.first_uses, exceptions=exceptions, index=definition.name
        )
    rules = _rules(definition)
    fact_finder = FactFinder(rules, files, licence_finder, keys, advisories, first_uses)
    return IndexRules(rules, fact_finder, licence_rule(keys, needs_known=True), runtime)


def _rules(definition: IndexDefinition) -> Rules:
    """Return the rules of an index, by its keys or by the filter of an earlier version."""
    # no keys have replaced the filter yet, so it hides all files
    if definition.removed_filter:
        why = describe_removed_filter(definition.name, definition.removed_filter)
        return rules_of_removed_filter(definition.name, why)
    return rules_of_index(definition.rules, definition.name)


def _advisories(
    upstream: "UpstreamIndex", min_cvss: float, settings: Settings, runtime: Runtime
) -> Advisories | None:
    """
    Return all vulnerabilities with at least a score.

    None means that the index has no rule about vulnerabilities, or that there is no database.
    """
    osv = upstream.policy.osv
    upstream_min_cvss = settings.upstream.min_cvss
    if osv is None or not min_cvss:
        return None
    # The loaded database has no vulnerabilities below the score of `[upstream]`. That is enough for
    # an index that asks for this score or a higher one.
    if 0 < upstream_min_cvss <= min_cvss:
        return Advisories(osv)
    # no second database is loaded while no index asks for a lower score
    from wheelyard.upstream.policy.osv_source import OsvSource

    osv_of_index = OsvSource(Path(settings.upstream.osv), min_cvss, runtime.monotonic)
    return Advisories(osv, osv_of_index)
