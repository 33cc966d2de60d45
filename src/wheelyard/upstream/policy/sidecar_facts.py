"""Finds facts about a public file for which its sidecars may have to be fetched."""

from collections.abc import Collection

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.model.rule_keys import LicenceRule
from wheelyard.model.rule_reasons import Code
from wheelyard.model.rules import Facts
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy.page_licences import PageLicences
from wheelyard.upstream.policy.page_provenances import PageProvenances


class SidecarFacts(Struct, frozen=True):
    """Finds facts in the core metadata and the provenance of public files."""

    licences: PageLicences
    provenances: PageProvenances

    def complete(
        self,
        facts: Facts,
        page: UpstreamPage,
        file: UpstreamFile,
        codes: Collection[Code],
        licence_rule: LicenceRule | None,
    ) -> Facts:
        """
        Return the facts about a file, completed by those that the rules of `codes` ask for.

        Metadata and provenance may be fetched. A licence that `licence_rule` hides is noted in the
        store. Without that rule, no licence is looked up. Raises Unavailable if metadata or
        provenance cannot be had now.
        """
        if Code.LICENCE in codes and licence_rule is not None:
            licence = self.licences.find_and_note(page, file, licence_rule.hides)
            facts = replace(facts, licence=licence)
        # a file without attestations is hidden already
        if Code.NOT_VERIFIED in codes and file.is_attested:
            facts = replace(facts, attestation_fault=self.provenances.fault(page, file))
        return facts
