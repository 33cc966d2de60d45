"""What is known of the files of a page of an upstream index, as rules ask for it."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from wheelyard.model.licences import LOOKED_UP_LATER
from wheelyard.model.project import Status
from wheelyard.model.public_packages import UNDECIDED, Decision, ProjectDecisions
from wheelyard.model.rules import Facts, Vulnerabilities, decided_about
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy.advisories import Hit


class PageFacts(Struct, frozen=True, kw_only=True):
    """What is known of the files of a page at one moment."""

    page: UpstreamPage
    decisions: ProjectDecisions = UNDECIDED
    hits: Mapping[str, Hit] | None = {}
    """The advisories about each affected version, or None if there is no database."""
    licences: Mapping[str, str] = {}
    """Licences by filename. A licence that is missing is looked up later."""
    attestation_faults: Mapping[str, str] = {}
    """Why attestations do not hold, by filename. A file that is missing is verified later."""
    first_uses: Mapping[str, datetime] = {}
    """When an exception from the cooldown for a version was first used, by version."""
    _described_hits: dict[str, tuple[tuple[str, ...], Vulnerabilities | None]] = {}
    """The malware and the vulnerabilities of `hits`, by version, as far as they were asked for."""
    _candidates: dict[str, tuple[Decision, ...]] = {}
    """The decisions that may count for files, by version."""

    def of(self, file: UpstreamFile) -> Facts:
        """Return what is known of a file."""
        page = self.page
        malware, vulnerabilities = self._threats_of(file.version)
        candidates = self._candidates_for(file.version)

        # the digest decides: a file that was added to an approved version is not approved with it
        decision, other_approval = decided_about(candidates, file.sha256)
        return Facts(
            name=page.name,
            version=file.version,
            uploaded_at=file.uploaded_at,
            first_seen=file.first_seen,
            licence=self.licences.get(file.filename, LOOKED_UP_LATER),
            malware=malware,
            vulnerabilities=vulnerabilities,
            has_advisories=self.hits is not None,
            decision=decision,
            other_approval=other_approval,
            quarantine=self._quarantine,
            is_exempt=self._is_exempt(file),
            is_attested=file.is_attested,
            attestation_fault=self.attestation_faults.get(file.filename, ""),
            is_yanked=file.yanked is not None,
        )

    def of_version(self, version: str) -> Facts:
        """Return what is known of a version without files."""
        malware, vulnerabilities = self._threats_of(version)
        return Facts(
            name=self.page.name,
            version=version,
            # only rules about whole versions are asked, which need nothing of a file
            uploaded_at=None,
            licence=LOOKED_UP_LATER,
            malware=malware,
            vulnerabilities=vulnerabilities,
            has_advisories=self.hits is not None,
            decision=self.decisions.for_version(version),
            quarantine=self._quarantine,
        )

    @property
    def _quarantine(self) -> str | None:
        """Why the index has quarantined the project (PEP 792), perhaps empty, or None."""
        if self.page.status is not Status.QUARANTINED:
            return None
        return self.page.reason

    def _threats_of(self, version: str) -> tuple[tuple[str, ...], Vulnerabilities | None]:
        """Return the ids of malware, and the vulnerabilities, by the advisories about a version."""
        hit: Hit | None = None
        if self.hits is not None:
            hit = self.hits.get(version)
        if hit is None:
            return (), None
        # a version has many files, one for each platform
        if version not in self._described_hits:
            self._described_hits[version] = _describe_hit(hit)
        return self._described_hits[version]

    def _candidates_for(self, version: str) -> tuple[Decision, ...]:
        """Return the decisions that may count for files of a version, by their digests."""
        if self.decisions is UNDECIDED:
            return ()
        candidates = self._candidates.get(version)
        if candidates is None:
            candidates = tuple(self.decisions.candidates(version))
            self._candidates[version] = candidates
        return candidates

    def _is_exempt(self, file: UpstreamFile) -> bool:
        """Return whether a file was there when an exception for its version was first used."""
        # whoever made the exception has looked at the files of that day, and at no later file
        first_use = self.first_uses.get(file.version)
        listed_since = file.uploaded_at or file.first_seen
        if first_use is None or listed_since is None:
            return False
        return listed_since <= first_use


def _describe_hit(hit: Hit) -> tuple[tuple[str, ...], Vulnerabilities | None]:
    """Return the ids of malware, and the vulnerabilities, that advisories say of a version."""
    malware = list[str]()
    vulnerabilities = list[str]()
    score = 0.0
    for advisory in hit.advisories:
        if advisory.is_malicious:
            malware.append(advisory.id)
        else:
            vulnerabilities.append(advisory.id)
            score = max(score, advisory.score)
    if not vulnerabilities:
        return tuple(malware), None
    return tuple(malware), Vulnerabilities(tuple(vulnerabilities), score, hit.clean_after)
