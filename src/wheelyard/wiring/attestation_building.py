"""What verifies attestations, as the settings say."""

from typing import TYPE_CHECKING

from wheelyard.settings.sections import Settings

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier


def build_verifier(settings: Settings) -> "AttestationVerifier | None":
    """Return what verifies attestations, or None while none are kept."""
    if not settings.attestations.accept:
        return None
    # nothing of it is loaded while it is off
    from wheelyard.archive.attestation_verifier import AttestationVerifier  # noqa: PLC0415

    return AttestationVerifier(settings.attestations.trusted_root)


def build_public_verifiers(settings: Settings) -> "tuple[AttestationVerifier, ...]":
    """
    Return what verifies attestations of public files, for the rule `verified`.

    They hold by the root of the settings, as an upstream index may be private, or by that of the
    public Sigstore.
    """
    # nothing of it is loaded before a rule asks
    from wheelyard.archive.attestation_verifier import AttestationVerifier  # noqa: PLC0415

    # an empty one is the public Sigstore, which may be the one of the settings
    roots = dict.fromkeys((settings.attestations.trusted_root, ""))
    return tuple(AttestationVerifier(root, "The rule verified") for root in roots)


def require_attestations(settings: Settings) -> None:
    """
    Do nothing if the attestations that settings ask for can be verified.

    Raises Invalid (code `bad_setting`) otherwise.
    """
    verifier = build_verifier(settings)
    if verifier is not None:
        verifier.require_usable()
    if settings.upstream.is_on and settings.upstream.verified:
        for public_verifier in build_public_verifiers(settings):
            public_verifier.require_usable()
