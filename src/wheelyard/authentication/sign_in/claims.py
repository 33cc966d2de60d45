"""
From the claims of a provider to the person whom they name.

A value that cannot stand in a principal is refused, and for groups left out: a principal has to
mean the same wherever it is written.
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
from wheelyard.model.person import is_group_name, is_person_name, person_name

MAX_SUBJECT_CHARS: Final = 255
"""As OpenID Connect Core 2 has it."""
MAX_GROUPS: Final = 2000
"""Groups of one person, each of which is a principal at each request."""
_ADDRESS: Final = frozenset({EMAIL, EMAIL_VERIFIED})


def needed_claims(config: ProviderConfig) -> frozenset[str]:
    """Return the claims that say who a person is, without `sub`."""
    needed = {config.name_claim, *config.require}
    if config.name_claim == EMAIL:
        needed.add(EMAIL_VERIFIED)
    if config.groups_claim is not None:
        needed.add(config.groups_claim)
    return frozenset(needed)


def completed(claims: Claims, userinfo: Claims) -> Claims:
    """
    Return the claims of an ID token, with what it lacks from userinfo.

    An e-mail address, and whether it is verified, come from the same of the two.
    """
    # the ID token decides where both have a claim: it is signed
    merged = {**userinfo, **claims}
    # an address of the one with the check mark of the other would be one that nobody has verified
    source = userinfo
    if claims.keys() >= _ADDRESS or EMAIL not in userinfo:
        source = claims
    for name in _ADDRESS:
        merged.pop(name, None)
        if name in source:
            merged[name] = source[name]
    return merged


def confirmation_of(
    claims: Claims, config: ProviderConfig, refresh_token: str = ""
) -> Confirmation:
    """
    Return who a person is by claims that are known to be the provider's.

    Raises Forbidden (code `sign_in_refused`) if that is nobody who may sign in.
    """
    subject = claims.get("sub")
    is_text = isinstance(subject, str) and subject.isascii()
    if not isinstance(subject, str) or not is_text or not 0 < len(subject) <= MAX_SUBJECT_CHARS:
        reason = CredentialRejected("subject_unfit")
        raise refused(f"{config.title} does not say who you are.") from reason
    for claim, values in config.require.items():
        if set(values).isdisjoint(_texts(claims.get(claim))):
            raise refused(
                f"Your account at {config.title} is none that may sign in here. Ask the operator "
                "of this index, or use another account."
            ) from CredentialRejected(f"claim_{claim}")
    return Confirmation(
        subject=subject,
        name=_name(claims, config),
        groups=_groups(claims, config),
        refresh_token=refresh_token,
    )


def _name(claims: Claims, config: ProviderConfig) -> str:
    """Return the name of a person in claims, or raise Forbidden if it can be none here."""
    value = claims.get(config.name_claim)
    title = config.title
    if not isinstance(value, str) or not value.strip():
        raise refused(
            f"{title} does not tell this index your {config.name_claim}. Ask the operator of this "
            "index, who says in name_claim what it is told."
        ) from CredentialRejected("name_missing")
    # else whoever types the address of somebody else at the provider would get their rights here
    if config.name_claim == EMAIL and not _is_true(claims.get(EMAIL_VERIFIED)):
        raise refused(
            f"{title} has not verified your e-mail address. Verify it there, and sign in again."
        ) from CredentialRejected("email_unverified")
    name = person_name(value)
    if not is_person_name(name):
        raise refused(
            f"Your {config.name_claim} at {title} cannot be a name here: it is longer than 255 "
            "characters, or has a colon, a comma, a number sign or something invisible in it."
        ) from CredentialRejected("name_unfit")
    return name


def _groups(claims: Claims, config: ProviderConfig) -> tuple[str, ...]:
    """Return the groups of a person that grants can name, sorted, or raise Forbidden."""
    if config.groups_claim is None:
        return ()
    names = set(_texts(claims.get(config.groups_claim)))
    groups = tuple(sorted(filter(is_group_name, names)))
    if len(groups) > MAX_GROUPS:
        raise refused(
            f"{config.title} says that you are in more than {MAX_GROUPS} groups. Ask the operator "
            "of this index to let it send only those that matter here."
        ) from CredentialRejected("too_many_groups")
    return groups


def groups_problem(claims: Claims, config: ProviderConfig) -> str:
    """Return a code and what is wrong with the groups that a provider sends, or an empty text."""
    claim = config.groups_claim
    if claim is None:
        return ""
    if _is_elsewhere(claims, claim):
        return (
            "groups_elsewhere: it does not say the groups of a person, as they are too many. Let "
            "it send only those that matter here"
        )
    value = claims.get(claim)
    names = tuple(_texts(value))
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


def _is_elsewhere(claims: Claims, claim: str) -> bool:
    """Return whether a provider sends, in place of a claim, where to ask for it (Core 5.6.2)."""
    names = claims.get("_claim_names")
    return claim not in claims and isinstance(names, dict) and claim in names


def _is_true(value: object) -> bool:
    # some send a text; and in Python 1 equals True
    return value is True or value == "true"


def _texts(value: object) -> Iterator[str]:
    """Yield a text, or the texts in a list."""
    # providers send a list of one as a text
    values = value if isinstance(value, list) else [value]
    for member in values:
        if isinstance(member, str):
            yield member
