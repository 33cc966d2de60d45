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
_CLAIM_OID: Final = "1.3.6.1.4.1.57264.1."
_REASON_LIMIT_CHARS: Final = 200


_LISTS: Final = Decoder(list[Raw])
_OBJECTS: Final = Decoder(dict[str, Any])


def is_installed() -> bool:
    """Return whether the extra `attestations` is there. It is not imported for that."""
    return all(find_spec(name) is not None for name in ("pypi_attestations", "sigstore"))


class _AnySigner:
    """A policy of `sigstore` for which the certificate may name anybody: who counts comes later."""

    def verify(self, certificate: "Certificate") -> None:
        """Compare nothing."""


class AttestationVerifier:
    """
    Verifies attestations of files. Threads may share it: it opens no connection and writes no file.

    Args:
        trusted_root: The path of a `trusted_root.json`, or an empty text for the one of the public
            Sigstore that the package `sigstore` has.
        needed_by: What does not work without the extra, for the message that says so.
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
        The file of the trusted root, which is not looked for here.

        Raises Invalid (code `bad_setting`) if it is that of the extra, which is not installed.
        """
        if self._trusted_root:
            return Path(self._trusted_root)
        try:
            return Path(str(files("sigstore") / _SHIPPED_ROOT))
        except ModuleNotFoundError as error:
            raise self._missing_extra() from error

    def require_usable(self) -> None:
        """
        Do nothing if the extra is there, and a root of one's own can be used.

        Without such a root, the extra is not imported.

        Raises Invalid (code `bad_setting`) otherwise.
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
        Return since when the newest key of the trusted root is valid.

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
        Return the attestations in the JSON of a form field, each of which holds for a file.

        Raises Invalid (code `invalid_attestations`) with the reason if there are none or too many,
        two are of one type, or one does not hold. Raises Invalid (code `unknown_authority`) if the
        trusted root does not know who has confirmed the signer of one. Raises Invalid (code
        `bad_setting`) if the extra is missing, or the trusted root cannot be used.
        """
        # counted first: half a million empty objects would take 186 MiB when parsed
        try:
            documents = _LISTS.decode(text)
        except (DecodeError, RecursionError) as error:
            raise _invalid("they are no list of objects.") from error
        limit = attestations.MAX_ATTESTATIONS
        if not 1 <= len(documents) <= limit:
            raise _invalid(f"there are {len(documents)}, and 1 to {limit} are taken.")
        verified = tuple(self._verify_json(document, filename, sha256) for document in documents)
        predicate_types = {attestation.predicate_type for attestation in verified}
        if len(predicate_types) < len(verified):
            raise _invalid("two of them are of one predicate type.")
        return verified

    def _verify_json(self, text: Raw, filename: str, sha256: str) -> Attestation:
        try:
            return self.verify(_OBJECTS.decode(text), filename, sha256)
        except (DecodeError, RecursionError) as error:
            raise _invalid("one of them is no object.") from error

    def verify(self, raw: Mapping[str, Any], filename: str, sha256: str) -> Attestation:
        """
        Return one attestation as it is kept, if it holds for a file.

        Raises Invalid (code `invalid_attestations`) with the reason if it does not, or (code
        `unknown_authority`) if the trusted root does not know who has confirmed its signer. Raises
        Invalid (code `bad_setting`) if the extra is missing, or the trusted root cannot be used.
        """
        verifier = self._verifier()

        # imported above, so they are there
        from pydantic import ValidationError  # noqa: PLC0415
        from pypi_attestations import Attestation as Parsed  # noqa: PLC0415
        from pypi_attestations import AttestationType  # noqa: PLC0415

        try:
            parsed = Parsed.model_validate(raw)
            _require_one_entry(parsed)
            bundle = parsed.to_bundle()
            self._require_known_log(bundle.log_entry._inner.log_id.key_id)  # noqa: SLF001
            payload_type, payload = verifier.verify_dsse(bundle, _AnySigner())
            signer = _signer_of(parsed)
            # what was verified: the models tolerate noise in base64 and unknown keys
            canonical = Parsed.from_bundle(bundle).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors()[0]
            raise _invalid(f"one is no attestation: {first['msg']}.") from error
        except WheelyardError:
            raise
        # A stranger's bytes go through four libraries, of which some raise what they do not
        # document, as for a certificate of X.509 version 4. Ours, verifier and root, were made
        # before.
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise _invalid(
                f"one does not hold: {escaped(reason)[:_REASON_LIMIT_CHARS]}."
            ) from error
        predicate_type = _checked_statement(payload_type, payload, filename, sha256)
        if predicate_type not in {kind.value for kind in AttestationType}:
            raise _invalid(f"the predicate type {quoted(predicate_type)} is unknown.")
        return Attestation(signer, predicate_type, canonical)

    def verify_provenance(self, body: bytes, filename: str, sha256: str) -> None:
        """
        Do nothing if a provenance holds for a file, signed by the publishers that it names.

        Raises Invalid (code `invalid_attestations`) with the reason otherwise, or (code
        `unknown_authority`) if the trusted root does not know who has confirmed a signer. Raises
        Invalid (code `bad_setting`) if the extra is missing, or the trusted root cannot be used.
        """
        try:
            bundles = attestations.read_provenance(body).attestation_bundles
        except (ValueError, RecursionError) as error:
            raise _invalid("they are no provenance.") from error
        count = sum(len(bundle.attestations) for bundle in bundles)
        if not 1 <= count <= MAX_IN_PROVENANCE:
            raise _invalid(f"there are {count}, and 1 to {MAX_IN_PROVENANCE} are verified.")
        for bundle in bundles:
            for attestation in bundle.attestations:
                signer = self.verify(attestation, filename, sha256).signer
                # the publisher of a bundle is what its index says, and nobody has signed it
                if not signer.is_named_by(bundle.publisher):
                    raise _invalid(
                        f"one is said to be of {quoted(bundle.publisher.title)}, and was signed by "
                        f"{escaped(signer.description)}."
                    )

    def _verifier(self) -> "Verifier":
        # two uploads at once must not import and read it twice
        with self._lock:
            if self._verifier_of_root is None:
                root = self._root
                from sigstore.models import TrustedRoot  # noqa: PLC0415 - the extra
                from sigstore.verify import Verifier  # noqa: PLC0415

                try:
                    self._verifier_of_root = Verifier(trusted_root=TrustedRoot(root))
                # its keys and certificates are parsed by several libraries
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
            why = getattr(error, "strerror", None) or "it is no trusted root of Sigstore"
            raise self._unreadable_root(why) from error

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
                why = f"the key of the log {quoted(log.base_url)} is damaged"
                raise self._unreadable_root(why) from error

    def _missing_extra(self) -> Invalid:
        return errors.missing_extra(self._needed_by, "Sigstore", "attestations", errors.ALL_EXTRAS)

    def _unreadable_root(self, why: str) -> Invalid:
        return Invalid(
            f"attestations.trusted_root: {escaped(str(self.root_file))} cannot be read: {why}. "
            "Name the trusted_root.json of a Sigstore, or leave it out.",
            code="bad_setting",
        )

    def _require_known_log(self, key_id: bytes) -> None:
        """
        Do nothing if the trusted root knows the key of a log.

        Raises Invalid (code `unknown_authority`) otherwise.
        """
        # asked before the signature: an operator can help against this, and the sender cannot
        logs = self._root.tlogs
        if key_id not in {log.log_id.key_id for log in logs if log.log_id is not None}:
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
        raise _invalid("one of them has more than one log entry.")


def _signer_of(parsed: "ParsedAttestation") -> Signer:
    """Return whom the certificate of an attestation names."""
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
    numbers = {f"{_CLAIM_OID}{number}": number for number in attestations.CLAIM_NUMBERS}
    for oid, claim in parsed.certificate_claims.items():
        if oid in numbers:
            claims[numbers[oid]] = claim
    return Signer(claims, subject)


def _checked_statement(kind: str, payload: bytes, filename: str, sha256: str) -> str:
    """Return the predicate type of a signed statement about a file. Raises Invalid otherwise."""
    try:
        statement = attestations.read_statement(payload)
    except (ValueError, RecursionError) as error:
        raise _invalid("one is no statement of in-toto.") from error
    if kind != PAYLOAD_TYPE or statement.kind != STATEMENT_TYPE:
        raise _invalid("one is no statement of in-toto.")
    if len(statement.subject) != 1:
        raise _invalid(f"one is about {len(statement.subject)} files.")
    subject = statement.subject[0]
    # spellings differ: build tools escape a name in more than one way
    if _parsed(subject.name) is None or _parsed(subject.name) != _parsed(filename):
        raise _invalid(f"one is about {quoted(subject.name)}, and not about {quoted(filename)}.")
    if subject.digest.get("sha256") != sha256:
        raise _invalid("one is about a file of this name with another SHA-256.")
    return statement.predicate_type


def _parsed(filename: str) -> object:
    """Return what a filename says, in one spelling, or None if it is none of a distribution."""
    try:
        if filename.endswith(".whl"):
            return label_of(filename), packaging_utils.parse_wheel_filename(without_label(filename))
        return packaging_utils.parse_sdist_filename(filename)
    except (packaging_utils.InvalidWheelFilename, packaging_utils.InvalidSdistFilename):
        return None


def _invalid(why: str) -> Invalid:
    return Invalid(f"The attestations do not hold: {why}", code=errors.INVALID_ATTESTATIONS)
