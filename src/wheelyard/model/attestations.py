"""
Attestations (PEP 740) as values: who has signed, and the provenance that an index serves.

A certificate of Sigstore has the claims of the ID token for which it was made, under numbers in
place of names. So a publisher's checks of ID tokens decide about signatures, too. Claims that no
certificate has, such as the environment of a job, are not checked: the same workflow can also sign
in another environment.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.json import Decoder, encode

from wheelyard.model.claim_matchers import Claims
from wheelyard.model.publisher import Publisher
from wheelyard.model.publisher_claim_rules import AnyTable, GitHub, GitLab, Google

PROVENANCE_VERSION: Final = 1
_GITHUB_ISSUER: Final = "https://token.actions.githubusercontent.com"
_GITLAB_ISSUER: Final = "https://gitlab.com"
_CIRCLECI_ISSUER: Final = "https://oidc.circleci.com"
_CIRCLECI_PROJECTS: Final = "https://circleci.com/api/v2/projects"
_GOOGLE_ISSUER: Final = "https://accounts.google.com"
MAX_ATTESTATIONS: Final = 2
"""The most attestations of one file, as at PyPI: one of each predicate type."""
ISSUER: Final = 8
BUILD_FILE: Final = 9
"""The workflow or pipeline file that ran, with its revision."""
RUNNER: Final = 11
REPOSITORY: Final = 12
COMMIT: Final = 13
REF: Final = 14
REPOSITORY_ID: Final = 15
OWNER_ID: Final = 17
STARTED_FILE: Final = 18
"""The file that was started, with its revision."""
EVENT: Final = 20
RUN: Final = 21
"""The URL of the run."""
CLAIM_NUMBERS: Final = (
    ISSUER,
    BUILD_FILE,
    RUNNER,
    REPOSITORY,
    COMMIT,
    REF,
    REPOSITORY_ID,
    OWNER_ID,
    STARTED_FILE,
    EVENT,
    RUN,
)
"""
The numbers of claims that are read: the last ones of 1.3.6.1.4.1.57264.1.N.

Sigstore's fulcio documents them in `oid-info.md`.
"""
_UNSIGNED: Final = frozenset(
    {
        "email_verified",
        "environment",
        "environment_protected",
        "exp",
        "google.compute_engine.project_id",
        "ref_protected",
        "sub",
    }
)
"""The claims of ID tokens that no certificate has."""
_REF_PREFIXES: Final = {"branch": "refs/heads/", "tag": "refs/tags/"}
"""How a ref of each type begins."""


class Signer(Struct, frozen=True):
    """The signer that a certificate names."""

    claims: Mapping[int, str]
    """The claims of `CLAIM_NUMBERS` that the certificate has."""
    subject: str
    """A URI, or an e-mail address."""

    @property
    def description(self) -> str:
        """The signer in words, for messages."""
        issuer = self.claims.get(ISSUER, "an unknown issuer")
        return f"{self.subject or 'nobody'}, confirmed by {issuer}"

    def signs_for(self, publisher: Publisher) -> bool:
        """Return whether a job of the publisher has signed, as far as a certificate can say."""
        return self._mismatch(publisher) is None

    def nearest_mismatch(self, publishers: Iterable[Publisher]) -> str:
        """
        Return a clause about the first wrong claim of the publisher that is the likeliest one.

        That is the publisher with most right claims before its first wrong one, and the first of
        several such. There must be a publisher, and the signer must not sign for any of
        `publishers`.
        """
        most_right = -1
        nearest = ""
        for publisher in publishers:
            mismatch = self._mismatch(publisher)
            if mismatch is None:
                continue
            passed, clause = mismatch
            if passed > most_right:
                most_right = passed
                nearest = f"for the publisher {publisher.id}, {clause}"
        return nearest

    def _mismatch(self, publisher: Publisher) -> tuple[int, str] | None:
        """Return how many claims are right before the first wrong one, and a clause, or None."""
        claims = self._claims_for(publisher.table)
        if claims is None:
            return 0, "nothing of its provider can be verified"
        passed = 0
        for check in publisher.checks(claims):
            # a certificate never has these claims, so they cannot be wrong
            if check.claim in _UNSIGNED:
                continue
            if not check.is_right:
                return passed, check.comparison
            passed += 1
        return None

    def is_named_by(self, publisher: "PublisherObject") -> bool:
        """
        Return whether the certificate names the publisher in a provenance.

        The kinds of publishers stand for the public hosts of GitHub, GitLab, Google and CircleCI,
        as in `pypi-attestations`. A publisher of another kind is never named.
        """
        issuer = self.claims.get(ISSUER)
        # GitHub and GitLab ignore the case of letters in names of repositories
        started = self._without_host(STARTED_FILE).partition("@")[0].lower()
        match publisher.kind:
            case "GitHub":
                workflow = f"{publisher.repository}/.github/workflows/{publisher.workflow}"
                return issuer == _GITHUB_ISSUER and started == workflow.lower()
            case "GitLab":
                pipeline = f"{publisher.repository}//{publisher.workflow_filepath}"
                return issuer == _GITLAB_ISSUER and started == pipeline.lower()
            case "Google":
                return issuer == _GOOGLE_ISSUER and self.subject == publisher.email
            case "CircleCI":
                path = f"{publisher.project_id}/pipeline-definitions"
                pipeline = f"{_CIRCLECI_PROJECTS}/{path}/{publisher.pipeline_definition_id}"
                return issuer == _CIRCLECI_ISSUER and self.subject == pipeline
            case _:
                return False

    def _claims_for(self, table: AnyTable) -> Claims | None:
        """
        Return the claims under the names that ID tokens of the provider of a table have.

        None if nothing of this provider can be verified.
        """
        issuer = self.claims.get(ISSUER)
        match table:
            case GitHub():
                return _without_missing(
                    {
                        "iss": issuer,
                        "repository": self._repository(),
                        "repository_id": self.claims.get(REPOSITORY_ID),
                        "repository_owner_id": self.claims.get(OWNER_ID),
                        "workflow_ref": self._without_host(STARTED_FILE),
                        "job_workflow_ref": self._without_host(BUILD_FILE),
                        "event_name": self.claims.get(EVENT),
                        "runner_environment": self.claims.get(RUNNER),
                        "ref": self.claims.get(REF),
                        "ref_type": self._ref_type(),
                    }
                )
            case GitLab():
                return _without_missing(
                    {
                        "iss": issuer,
                        "project_path": self._repository(),
                        "project_id": self.claims.get(REPOSITORY_ID),
                        "namespace_id": self.claims.get(OWNER_ID),
                        "pipeline_source": self.claims.get(EVENT),
                        "ci_config_ref_uri": _without_scheme(self.claims.get(STARTED_FILE)),
                        "ref_path": self.claims.get(REF),
                        "sha": self.claims.get(COMMIT),
                        "ref": self._ref_name(),
                        "ref_type": self._ref_type(),
                    }
                )
            case Google():
                return _without_missing({"iss": issuer, "email": self.subject})
            case _:
                return None

    def publisher_object(self, publisher: Publisher) -> dict[str, Any]:
        """
        Return the publisher of a bundle, in the form of PEP 740 and pypi-attestations.

        The signer must sign for the publisher, which is then one of GitHub, GitLab or Google. The
        repository and the workflow are taken from the certificate, as the table of the publisher
        may have earlier names. The environment is None, as no certificate has one.
        """
        claims = {
            "ref": self.claims.get(REF),
            "sha": self.claims.get(COMMIT),
            "run": self.claims.get(RUN),
            "repository_id": self.claims.get(REPOSITORY_ID),
            "owner_id": self.claims.get(OWNER_ID),
        }
        claims_of_job = {"claims": _without_missing(claims)}
        match publisher.table:
            case GitHub():
                workflow = self._without_host(STARTED_FILE).partition("@")[0]
                return {
                    "kind": "GitHub",
                    "repository": self._repository(),
                    "workflow": workflow.rpartition("/")[2],
                    "environment": None,
                    **claims_of_job,
                }
            case GitLab():
                started = self.claims.get(STARTED_FILE, "").partition("@")[0]
                return {
                    "kind": "GitLab",
                    "repository": self._repository(),
                    "workflow_filepath": started.rpartition("//")[2],
                    "environment": None,
                    **claims_of_job,
                }
            case _:
                return {"kind": "Google", "email": self.subject, **claims_of_job}

    def _repository(self) -> str:
        """Return the repository with its owner, or with all its groups: `acme/core`."""
        url = self.claims.get(REPOSITORY, "")
        return urlsplit(url).path.strip("/")

    def _without_host(self, number: int) -> str:
        """Return a claim, which is a URL, without scheme and host: `acme/core/.github/...@ref`."""
        url = self.claims.get(number)
        _, _, path = _without_scheme(url).partition("/")
        return path

    def _ref_type(self) -> str | None:
        """Return whether the job ran for a branch or a tag, or None if its ref is neither."""
        ref = self.claims.get(REF, "")
        for ref_type, prefix in _REF_PREFIXES.items():
            if ref.startswith(prefix):
                return ref_type
        return None

    def _ref_name(self) -> str | None:
        """Return the name of the branch or the tag, or None if the ref is neither."""
        ref_type = self._ref_type()
        if ref_type is None:
            return None
        return self.claims[REF].removeprefix(_REF_PREFIXES[ref_type])


class Attestation(Struct, frozen=True):
    """An attestation that holds for a file."""

    signer: Signer
    predicate_type: str
    """What the attestation says of the file: that it was published, or how it was built (SLSA)."""
    canonical: Mapping[str, Any]
    """The JSON object of the attestation, as it is served."""


class PublisherObject(Struct, frozen=True, omit_defaults=True):
    """The publisher of a bundle, of which the keys that pages show are read."""

    kind: str
    repository: str = ""
    workflow: str = ""
    workflow_filepath: str = ""
    email: str = ""
    project_id: str = ""
    pipeline_definition_id: str = ""
    vcs_origin: str = ""
    """The repository, without a scheme, of a project of CircleCI."""
    claims: Mapping[str, str] | None = None

    @property
    def file(self) -> str:
        """The workflow or pipeline file, or an empty text."""
        return self.workflow or self.workflow_filepath

    @property
    def title(self) -> str:
        """The provider, and the repository or the account: `GitHub acme/core`."""
        return f"{self.kind} {self.repository or self.vcs_origin or self.email}".rstrip()


class AttestationBundle(Struct, frozen=True):
    """The attestations of one publisher."""

    publisher: PublisherObject
    attestations: Annotated[tuple[Mapping[str, Any], ...], Meta(min_length=1)]


class Provenance(Struct, frozen=True):
    """The provenance of a file, as far as pages show it."""

    version: Literal[1]
    attestation_bundles: tuple[AttestationBundle, ...]


_PROVENANCE: Final = Decoder(Provenance)


def read_provenance(body: bytes) -> Provenance:
    """
    Return the provenance in a JSON document.

    Raises DecodeError or UnicodeDecodeError if the document is no provenance, and RecursionError if
    it is nested too deeply.
    """
    return _PROVENANCE.decode(body)


class Subject(Struct, frozen=True):
    """The file that a statement is about."""

    name: str = ""
    digest: Mapping[str, str] = {}


class SignedStatement(
    Struct, frozen=True, rename={"kind": "_type", "predicate_type": "predicateType"}
):
    """What an attestation signs: a statement of in-toto."""

    kind: str
    subject: tuple[Subject, ...]
    predicate_type: str


_STATEMENTS: Final = Decoder(SignedStatement)


def read_statement(payload: bytes) -> SignedStatement:
    """
    Return the statement that an attestation signs.

    Raises DecodeError or UnicodeDecodeError if the payload is no statement, and RecursionError if
    it is nested too deeply.
    """
    return _STATEMENTS.decode(payload)


# The classes below have only the parts that `attests` reads of a provenance, which a stranger or
# another version of wheelyard may have written.


class _Envelope(Struct, frozen=True):
    statement: bytes


class _Enveloped(Struct, frozen=True):
    envelope: _Envelope


class _EnvelopedBundle(Struct, frozen=True):
    attestations: Annotated[tuple[_Enveloped, ...], Meta(min_length=1)]


class _EnvelopedProvenance(Struct, frozen=True):
    version: Literal[1]
    attestation_bundles: tuple[_EnvelopedBundle, ...]


_ENVELOPES: Final = Decoder(_EnvelopedProvenance)


def attests(body: bytes, sha256: str) -> bool:
    """
    Return whether a provenance has attestations, each about a file of this SHA-256 alone.

    No signature is verified.
    """
    digests = set[str | None]()
    # the bytes may be a stranger's: if anything is wrong with them, they attest nothing
    try:
        for bundle in _ENVELOPES.decode(body).attestation_bundles:
            for attestation in bundle.attestations:
                statement = read_statement(attestation.envelope.statement)
                digests.update(subject.digest.get("sha256") for subject in statement.subject)
    except (ValueError, RecursionError):
        return False
    return digests == {sha256}


def provenance_document(signed: Iterable[tuple[Attestation, Publisher]]) -> bytes:
    """Return the provenance of a file (PEP 740): a bundle for each publisher that has signed."""
    bundles = dict[str, dict[str, Any]]()
    for attestation, publisher in signed:
        publisher_object = attestation.signer.publisher_object(publisher)
        # publishers of the store that differ only in facts that are not served share a bundle
        key = encode(publisher_object).decode()
        bundle = bundles.setdefault(key, {"publisher": publisher_object, "attestations": []})
        bundle["attestations"].append(attestation.canonical)
    return encode({"version": PROVENANCE_VERSION, "attestation_bundles": list(bundles.values())})


def _without_missing(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the claims that a certificate has, without those that are missing or empty."""
    return {name: value for name, value in values.items() if value}


def _without_scheme(url: str | None) -> str:
    """Return the part of a URL behind `https://`, or an empty text for any other text."""
    if url is None or not url.startswith("https://"):
        return ""
    return url.partition("//")[2]
