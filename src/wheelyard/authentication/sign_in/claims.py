"""
The rules that make a confirmation of a person from the claims of a provider.

A name that cannot stand in a principal is refused, and such a group is left out: a principal has to
mean one person or group wherever it is written.
"""

from collections.abc import Iterator
from typing import Final

from wheelyard.authentication.sign_in.provider import (
    EMAIL,
    EMAIL_VERIFIED,
    Confirmation,
    ProviderConfig,
    refused,
)
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.errors import quoted
from wheelyard.model.claim_matchers import Claims
from wheelyard.model.person import is_group_name, is_person_name, normalized_person_name

MAX_SUBJECT_CHARS: Final = 255
"""The longest `sub` (OpenID Connect Core 2)."""
MAX_GROUPS: Final = 2000
"""The most groups of one person, each of which is a principal at each request."""
_ADDRESS_CLAIMS: Final = frozenset({EMAIL, EMAIL_VERIFIED})


def needed_claims(config: ProviderConfig) -> frozenset[str]:
    """Return the claims, besides `sub`, from which a confirmation of a person is made."""
    names = {config.name_claim, *config.require}
    if config.name_claim == EMAIL:
        names.add(EMAIL_VERIFIED)
    if config.groups_claim is not None:
        names.add(config.groups_claim)
    return frozenset(names)


def merge_claims(claims: Claims, userinfo: Claims) -> Claims:
    """
    Return the claims of an ID token, and further claims from userinfo.

    Of a claim that is in both, that of the ID token counts. An e-mail address, and whether it is
    verified, come from one source. That is userinfo if userinfo has an address and the ID token
    lacks one of the two claims, and else the ID token.
    """
    # the ID token is signed, so its claims count before those of userinfo
    merged = {**userinfo, **claims}
    # an address from one source and its verification from the other would verify another address
    address_source = userinfo
    if claims.keys() >= _ADDRESS_CLAIMS or EMAIL not in userinfo:
        address_source = claims
    for name in _ADDRESS_CLAIMS:
        merged.pop(name, None)
        if name in address_source:
            merged[name] = address_source[name]
    return merged


def confirmation_of(
    claims: Claims, config: ProviderConfig, refresh_token: str = ""
) -> Confirmation:
    """
    Return the confirmation of a person by verified claims of a provider.

    `refresh_token` is what the provider has given for renewals, or an empty text. Raises Forbidden
    (code `sign_in_refused`) if the claims name no person who may sign in.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _is_valid_subject(subject):
        reason = CredentialRejected("subject_unfit")
        raise refused(f"{config.title} does not say who you are.") from reason
    for claim, values in config.require.items():
        if set(values).isdisjoint(_texts_in(claims.get(claim))):
            raise refused(
                f"Your account at {config.title} is none that may sign in here. Ask the operator "
                "of this index, or use another account."
            ) from CredentialRejected(f"claim_{claim}")
    return Confirmation(
        subject=subject,
        name=_require_name(claims, config),
        groups=_grantable_groups(claims, config),
        refresh_token=refresh_token,
    )


def groups_problem(claims: Claims, config: ProviderConfig) -> str:
    """
    Return why the groups that a provider sends cannot all be used, or an empty text if they can.

    The text begins with a code, and is for the log.
    """
    claim = config.groups_claim
    if claim is None:
        return ""
    if _points_elsewhere(claims, claim):
        return (
            "groups_elsewhere: it does not say the groups of a person, as they are too many. Let "
            "it send only those that matter here"
        )
    value = claims.get(claim)
    names = tuple(_texts_in(value))
    if not names and value != []:
        return (
            "groups_missing: of a person it has sent no list of names as the claim "
            f"{quoted(claim)}, so they are in no group. If it is so of all, let it send one, or "
            "correct groups_claim, which cannot name a nested claim"
        )
    if not all(map(is_group_name, names)):
        return (
            "groups_unfit: it has sent groups whose names cannot stand in a grant: they are empty, "
            "longer than 255 characters, or have a comma, something invisible, or a blank at an end"
        )
    return ""


def _is_valid_subject(subject: str) -> bool:
    """Return whether a text can be a `sub` (OpenID Connect Core 2)."""
    return subject.isascii() and 0 < len(subject) <= MAX_SUBJECT_CHARS


def _require_name(claims: Claims, config: ProviderConfig) -> str:
    """Return the name of a person in claims, or raise Forbidden if it cannot be a name here."""
    value = claims.get(config.name_claim)
    title = config.title
    if not isinstance(value, str) or not value.strip():
        raise refused(
            f"{title} does not tell this index your {config.name_claim}. Ask the operator of this "
            "index, who says in name_claim what it is told."
        ) from CredentialRejected("name_missing")
    # else a person who enters another person's address at the provider would get their rights
    if config.name_claim == EMAIL and not _is_true(claims.get(EMAIL_VERIFIED)):
        raise refused(
            f"{title} has not verified your e-mail address. Verify it there, and sign in again."
        ) from CredentialRejected("email_unverified")
    name = normalized_person_name(value)
    if not is_person_name(name):
        raise refused(
            f"Your {config.name_claim} at {title} cannot be a name here: it is longer than 255 "
            "characters, or has a colon, a comma, a number sign or something invisible in it."
        ) from CredentialRejected("name_unfit")
    return name


def _grantable_groups(claims: Claims, config: ProviderConfig) -> tuple[str, ...]:
    """Return the sorted groups of a person that grants can name, or raise Forbidden."""
    if config.groups_claim is None:
        return ()
    names = set(_texts_in(claims.get(config.groups_claim)))
    groups = sorted(name for name in names if is_group_name(name))
    if len(groups) > MAX_GROUPS:
        raise refused(
            f"{config.title} says that you are in more than {MAX_GROUPS} groups. Ask the operator "
            "of this index to let it send only those that matter here."
        ) from CredentialRejected("too_many_groups")
    return tuple(groups)


def _points_elsewhere(claims: Claims, claim: str) -> bool:
    """Return whether claims have, in place of a claim, the place to ask for it (Core 5.6.2)."""
    names = claims.get("_claim_names")
    return claim not in claims and isinstance(names, dict) and claim in names


def _is_true(value: object) -> bool:
    """Return whether a claim is true."""
    # some providers send a text, and 1 == True in Python
    return value is True or value == "true"


def _texts_in(value: object) -> Iterator[str]:
    """Yield the value of a claim if it is a text, or the texts in it if it is a list."""
    # providers send a list with one member as a text
    values = value if isinstance(value, list) else [value]
    for member in values:
        if isinstance(member, str):
            yield member
