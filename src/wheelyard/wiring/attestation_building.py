"""Builds the verifiers of attestations, as the settings say."""

from typing import TYPE_CHECKING

from wheelyard.settings.sections import Settings

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier


def build_verifier(settings: Settings) -> "AttestationVerifier | None":
    """Return the verifier of uploaded attestations, or None if the settings accept none."""
    if not settings.attestations.accept:
        return None
    # no library of attestations is loaded while they are off
    from wheelyard.archive.attestation_verifier import AttestationVerifier  # noqa: PLC0415

    return AttestationVerifier(settings.attestations.trusted_root)


def build_public_verifiers(settings: Settings) -> "tuple[AttestationVerifier, ...]":
    """
    Return the verifiers of attestations of public files, for the rule `verified`.

    There is one for the trusted root of the settings, as an upstream index may be private, and one
    for the public Sigstore.
    """
    # no library of attestations is loaded before a rule asks
    from wheelyard.archive.attestation_verifier import AttestationVerifier  # noqa: PLC0415

    # an empty text is the public Sigstore, which the settings may name, too
    public_root = ""
    roots = [settings.attestations.trusted_root]
    if public_root not in roots:
        roots.append(public_root)
    return tuple(AttestationVerifier(root, "The rule verified") for root in roots)


def require_attestations(settings: Settings) -> None:
    """
    Raise Invalid (code `bad_setting`) unless the attestations of the settings can be verified.

    These are those of uploads, and those of public files for the rule `verified` of `[upstream]`.
    """
    verifier = build_verifier(settings)
    if verifier is not None:
        verifier.require_usable()
    if settings.upstream.is_on and settings.upstream.verified:
        for public_verifier in build_public_verifiers(settings):
            public_verifier.require_usable()
