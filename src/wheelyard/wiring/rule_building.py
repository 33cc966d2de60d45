"""
Builds what applies the rules of an index.

Only imported if an index has rules.
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
    Return what applies the rules of an index.

    `upstream` are the upstream indexes, if they are one of its layers. Raises Invalid (code
    `bad_setting`) for a wrong rule.
    """
    keys = definition.rules
    # without upstream indexes, licences are those of metadata in the store
    licences = LicenceFinder()
    advisories: Advisories | None = None
    first_uses: FirstUses | None = None
    if upstream is not None:
        # the same finder, so that what it has found of public files is not looked for twice
        licences = upstream.policy.sidecar_facts.licences.finder
        advisories = _advisories(upstream, keys.min_cvss, settings, runtime)
        exceptions = parse_exceptions(keys.cooldown_allow)
        first_uses = replace(
            upstream.policy.first_uses, exceptions=exceptions, index=definition.name
        )
    rules = _rules(definition)
    facts = FactFinder(rules, files, licences, keys, advisories, first_uses)
    return IndexRules(rules, facts, licence_rule(keys, needs_known=True), runtime)


def _rules(definition: IndexDefinition) -> Rules:
    """Return the rules of an index."""
    # nobody has said yet what takes the place of the filter, so it hides all files
    if definition.removed_filter:
        why = describe_removed_filter(definition.name, definition.removed_filter)
        return rules_of_removed_filter(definition.name, why)
    return rules_of_index(definition.rules, definition.name)


def _advisories(
    upstream: "UpstreamIndex", min_cvss: float, settings: Settings, runtime: Runtime
) -> Advisories | None:
    """Return a database that has all vulnerabilities of at least a score, or None without one."""
    osv = upstream.policy.osv
    least = settings.upstream.min_cvss
    if osv is None or not min_cvss:
        return None
    # It has no vulnerabilities below the score of [upstream]. That is enough for an index that asks
    # for the same score or a higher one.
    if 0 < least <= min_cvss:
        return Advisories(osv)
    # nothing of it is loaded while no index asks for a lower score
    from wheelyard.upstream.policy.osv_source import OsvSource

    own = OsvSource(Path(settings.upstream.osv), min_cvss, runtime.monotonic)
    return Advisories(osv, own)
