"""
Verification of attestations (PEP 740), offline, against a pinned trusted root of Sigstore.

`pypi-attestations` and `sigstore`, the extra `attestations`, are imported with the first
attestation: they take half a second and 32 MiB. The `verify` of the former is not called: it knows
the public Sigstore alone, and writes below the home folder.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from msgspec import DecodeError, Raw
from msgspec.json import Decoder
from packaging import utils as packaging_utils

from wheelyard import errors
from wheelyard.errors import Invalid, WheelyardError, quoted
from wheelyard.model import attestations
from wheelyard.model.attestations import Attestation, Signer
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import label_of, without_label

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from pypi_attestations import Attestation as ParsedAttestation
    from sigstore.verify import Verifier

MAX_IN_PROVENANCE: Final = 20
"""The most attestations of a public file that are verified, of which each takes milliseconds."""
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_SHIPPED_ROOT: Final = "_store/https%3A%2F%2Ftuf-repo-cdn.sigstore.dev/trusted_root.json"
"""The production root in the package `sigstore`."""
_CLAIM_OID_PREFIX: Final = "1.3.6.1.4.1.57264.1."
"""The object identifier of a claim in a certificate of Sigstore, but for the number at its end."""
_REASON_LIMIT_CHARS: Final = 200
_LIST_DECODER: Final = Decoder(list[Raw])
_OBJECT_DECODER: Final = Decoder(dict[str, Any])


def is_installed() -> bool:
    """Return whether the extra `attestations` is installed, without an import of it."""
    return all(find_spec(name) is not None for name in ("pypi_attestations", "sigstore"))


class _AnySigner:
    """A policy of `sigstore` that accepts any signer: callers decide later which signers count."""

    def verify(self, certificate: "Certificate") -> None:
        """Accept the certificate."""


class AttestationVerifier:
    """
    Verifies attestations of files, without a connection, and without writing a file.

    Threads may share a verifier.

    Args:
        trusted_root: The path of a `trusted_root.json`, or an empty text for that of the public
            Sigstore, which the package `sigstore` has.
        needed_by: What does not work without the extra, for the message of that error.
    """

    def __init__(self, trusted_root: str, needed_by: str = "attestations.accept") -> None:
        self._trusted_root = trusted_root
        self._needed_by = needed_by
        # held while the extra is imported and the root is read, by the first of several threads
        self._lock = Lock()
        self._verifier_of_root: Verifier | None = None

    @cached_property
    def root_file(self) -> Path:
        """
        The path of the trusted root, where a file may be missing.

        Raises Invalid (code `bad_setting`) if the root is that of the extra, and the extra is not
        installed.
        """
        if self._trusted_root:
            return Path(self._trusted_root)
        try:
            return Path(str(files("sigstore") / _SHIPPED_ROOT))
        except ModuleNotFoundError as error:
            raise self._missing_extra() from error

    def require_usable(self) -> None:
        """
        Raise Invalid (code `bad_setting`) unless the extra and a given trusted root can be used.

        The root of the public Sigstore is not read, and the extra not imported for that root.
        """
        if not is_installed():
            raise self._missing_extra()
        if self._trusted_root:
            self.newest_key()
            self._verifier()
            self._require_log_keys()

    @property
    def title(self) -> str:
        """The trusted root in words."""
        return self._trusted_root or "the public Sigstore"

    def newest_key(self) -> datetime:
        """
        Return the time from which on the newest key of the trusted root is valid.

        Raises Invalid (code `bad_setting`) if the root cannot be read or has no key, or the extra
        is not installed.
        """
        root = self._root
        starts = [authority.valid_for.start for authority in root.certificate_authorities]
        keys = [log.public_key for log in root.tlogs + root.ctlogs]
        starts += [key.valid_for.start for key in keys if key.valid_for is not None]
        if not starts:
            raise self._unreadable_root("it has no key")
        newest: datetime = max(starts)
        return newest.astimezone(UTC)

    def verify_all(self, text: str, filename: str, sha256: str) -> tuple[Attestation, ...]:
        """
        Return the attestations in the JSON of a form field, if each of them holds for a file.

        Raises Invalid (code `invalid_attestations`) with the reason if there are none or too many,
        two are of one type, or one does not hold. Raises Invalid (code `unknown_authority`) if the
        trusted root does not know who has confirmed the signer of one. Raises Invalid (code
        `bad_setting`) if the extra is missing, or the trusted root cannot be used.
        """
        # counted first: half a million empty objects would take 186 MiB when parsed
        try:
            documents = _LIST_DECODER.decode(text)
        except (DecodeError, RecursionError) as error:
            raise _invalid_attestations("they are no list of objects.") from error
        limit = attestations.MAX_ATTESTATIONS
        if not 1 <= len(documents) <= limit:
            raise _invalid_attestations(f"there are {len(documents)}, and 1 to {limit} are taken.")
        verified = tuple(self._verify_json(document, filename, sha256) for document in documents)
        predicate_types = {attestation.predicate_type for attestation in verified}
        if len(predicate_types) < len(verified):
            raise _invalid_attestations("two of them are of one predicate type.")
        return verified

    def _verify_json(self, document: Raw, filename: str, sha256: str) -> Attestation:
        try:
            return self.verify(_OBJECT_DECODER.decode(document), filename, sha256)
        except (DecodeError, RecursionError) as error:
            raise _invalid_attestations("one of them is no object.") from error

    def verify(self, document: Mapping[str, Any], filename: str, sha256: str) -> Attestation:
        """
        Return an attestation in the form in which the index keeps it, if it holds for a file.

        Raises Invalid (code `invalid_attestations`) with the reason if it does not, or (code
        `unknown_authority`) if the trusted root does not know who has confirmed its signer. Raises
        Invalid (code `bad_setting`) if the extra is missing, or the trusted root cannot be used.
        """
        verifier = self._verifier()

        # installed, as the verifier was made with the same extra
        from pydantic import ValidationError  # noqa: PLC0415
        from pypi_attestations import Attestation as Parsed  # noqa: PLC0415
        from pypi_attestations import AttestationType  # noqa: PLC0415

        try:
            parsed = Parsed.model_validate(document)
            _require_one_entry(parsed)
            bundle = parsed.to_bundle()
            self._require_known_log(bundle.log_entry._inner.log_id.key_id)  # noqa: SLF001
            payload_type, payload = verifier.verify_dsse(bundle, _AnySigner())
            signer = _read_signer(parsed)
            # without what nobody has verified: noise in base64 and unknown keys
            canonical = Parsed.from_bundle(bundle).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors()[0]
            raise _invalid_attestations(f"one is no attestation: {first['msg']}.") from error
        except WheelyardError:
            raise
        # A stranger's bytes go through four libraries, and some of these raise errors that they do
        # not document, as for a certificate of X.509 version 4. A fault of the verifier or of the
        # root is not taken for one of the bytes: both were made before.
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise _invalid_attestations(
                f"one does not hold: {escaped(reason)[:_REASON_LIMIT_CHARS]}."
            ) from error
        predicate_type = _read_predicate_type(payload_type, payload, filename, sha256)
        known_types = {known_type.value for known_type in AttestationType}
        if predicate_type not in known_types:
            raise _invalid_attestations(f"the predicate type {quoted(predicate_type)} is unknown.")
        return Attestation(signer, predicate_type, canonical)

    def verify_provenance(self, body: bytes, filename: str, sha256: str) -> None:
        """
        Verify that a provenance holds for a file, and is signed by the publishers that it names.

        Raises Invalid (code `invalid_attestations`) with the reason if not, or (code
        `unknown_authority`) if the trusted root does not know who has confirmed a signer. Raises
        Invalid (code `bad_setting`) if the extra is missing, or the trusted root cannot be used.
        """
        try:
            bundles = attestations.read_provenance(body).attestation_bundles
        except (ValueError, RecursionError) as error:
            raise _invalid_attestations("they are no provenance.") from error
        count = sum(len(bundle.attestations) for bundle in bundles)
        if not 1 <= count <= MAX_IN_PROVENANCE:
            raise _invalid_attestations(
                f"there are {count}, and 1 to {MAX_IN_PROVENANCE} are verified."
            )
        for bundle in bundles:
            for attestation in bundle.attestations:
                signer = self.verify(attestation, filename, sha256).signer
                # the publisher of a bundle is what its index says, and nobody has signed it
                if not signer.is_named_by(bundle.publisher):
                    raise _invalid_attestations(
                        f"one is said to be of {quoted(bundle.publisher.title)}, and was signed by "
                        f"{escaped(signer.description)}."
                    )

    def _verifier(self) -> "Verifier":
        # two uploads at once must not import the extra and read the root twice
        with self._lock:
            if self._verifier_of_root is None:
                root = self._root
                from sigstore.models import TrustedRoot  # noqa: PLC0415 - the extra
                from sigstore.verify import Verifier  # noqa: PLC0415

                try:
                    self._verifier_of_root = Verifier(trusted_root=TrustedRoot(root))
                # several libraries parse the keys and certificates of the root
                except Exception as error:
                    raise self._unreadable_root("a key in it is none") from error
            return self._verifier_of_root

    @cached_property
    def _root(self) -> Any:  # noqa: ANN401 - a class of the extra
        path = self.root_file
        try:
            from sigstore_models.trustroot.v1 import TrustedRoot  # noqa: PLC0415 - the extra
        except ModuleNotFoundError as error:
            raise self._missing_extra() from error
        try:
            return TrustedRoot.from_json(path.read_bytes())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no trusted root of Sigstore"
            raise self._unreadable_root(reason) from error

    def _require_log_keys(self) -> None:
        """
        Raise Invalid (code `bad_setting`) if the key of a log is damaged.

        `sigstore` leaves such a key out, so that what the log has signed would seem to be forged.
        """
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - the extra
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_der_public_key,
        )

        root = self._root
        for log in root.tlogs + root.ctlogs:
            try:
                load_der_public_key(log.public_key.raw_bytes or b"")
            except (ValueError, UnsupportedAlgorithm) as error:
                reason = f"the key of the log {quoted(log.base_url)} is damaged"
                raise self._unreadable_root(reason) from error

    def _missing_extra(self) -> Invalid:
        return errors.missing_extra(self._needed_by, "Sigstore", "attestations", errors.ALL_EXTRAS)

    def _unreadable_root(self, reason: str) -> Invalid:
        return Invalid(
            f"attestations.trusted_root: {escaped(str(self.root_file))} cannot be read: {reason}. "
            "Name the trusted_root.json of a Sigstore, or leave it out.",
            code="bad_setting",
        )

    def _require_known_log(self, key_id: bytes) -> None:
        """
        Raise Invalid (code `unknown_authority`) unless the trusted root has this key of a log.

        The check comes before that of the signature: the operator can help against an unknown
        key, and the sender of the attestation cannot.
        """
        logs = self._root.tlogs
        known_key_ids = {log.log_id.key_id for log in logs if log.log_id is not None}
        if key_id not in known_key_ids:
            raise Invalid(
                "The attestations cannot be verified: one is signed with another authority, or "
                "with a key that is newer than the trusted root of this index, whose newest key is "
                f"of {self.newest_key():%Y-%m-%d}. If Sigstore has newer ones, the operator of "
                "this index has to upgrade.",
                code=errors.UNKNOWN_AUTHORITY,
            )


def _require_one_entry(parsed: "ParsedAttestation") -> None:
    """Raise Invalid unless an attestation has one log entry: only the first would be verified."""
    if len(parsed.verification_material.transparency_entries) != 1:
        raise _invalid_attestations("one of them has more than one log entry.")


def _read_signer(parsed: "ParsedAttestation") -> Signer:
    """Return the signer whom the certificate of an attestation names."""
    from cryptography.x509 import (  # noqa: PLC0415 - comes with the extra
        RFC822Name,
        SubjectAlternativeName,
        UniformResourceIdentifier,
        load_der_x509_certificate,
    )

    certificate = load_der_x509_certificate(parsed.verification_material.certificate)
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    # a workflow is named by a URI, a person or an account by an e-mail address
    subjects = names.get_values_for_type(UniformResourceIdentifier)
    subjects += names.get_values_for_type(RFC822Name)
    subject = subjects[0] if subjects else ""
    claims = {}
    numbers_by_oid = {
        f"{_CLAIM_OID_PREFIX}{number}": number for number in attestations.CLAIM_NUMBERS
    }
    for oid, claim in parsed.certificate_claims.items():
        if oid in numbers_by_oid:
            claims[numbers_by_oid[oid]] = claim
    return Signer(claims, subject)


def _read_predicate_type(payload_type: str, payload: bytes, filename: str, sha256: str) -> str:
    """Return the predicate type of a signed statement, or raise Invalid for another file."""
    try:
        statement = attestations.read_statement(payload)
    except (ValueError, RecursionError) as error:
        raise _invalid_attestations("one is no statement of in-toto.") from error
    if payload_type != PAYLOAD_TYPE or statement.kind != STATEMENT_TYPE:
        raise _invalid_attestations("one is no statement of in-toto.")
    if len(statement.subject) != 1:
        raise _invalid_attestations(f"one is about {len(statement.subject)} files.")
    subject = statement.subject[0]
    # spellings differ: build tools escape a name in more than one way
    subject_in_one_spelling = _in_one_spelling(subject.name)
    is_about_file = subject_in_one_spelling == _in_one_spelling(filename)
    if subject_in_one_spelling is None or not is_about_file:
        raise _invalid_attestations(
            f"one is about {quoted(subject.name)}, and not about {quoted(filename)}."
        )
    if subject.digest.get("sha256") != sha256:
        raise _invalid_attestations("one is about a file of this name with another SHA-256.")
    return statement.predicate_type


def _in_one_spelling(filename: str) -> object:
    """Return the parts of a distribution's filename in one spelling, or None for another file."""
    try:
        if filename.endswith(".whl"):
            return label_of(filename), packaging_utils.parse_wheel_filename(without_label(filename))
        return packaging_utils.parse_sdist_filename(filename)
    except (packaging_utils.InvalidWheelFilename, packaging_utils.InvalidSdistFilename):
        return None


def _invalid_attestations(reason: str) -> Invalid:
    return Invalid(f"The attestations do not hold: {reason}", code=errors.INVALID_ATTESTATIONS)
