"""
The records of people, which are written when a provider confirms a person.

A provider confirms a person at a sign-in, and at renewals after that. Many providers replace the
refresh token at each renewal, and take a token for stolen if an old one is sent again. So one
process at a time renews a person: it first writes a lease into the record, by compare-and-swap, and
other processes leave the person alone until the lease ends. If the process dies before it has
written the new refresh token, the next renewal sends the old token, the provider refuses it, and
the person signs in once more.

A sign-in during a renewal writes another refresh token into the record. Then the result of the
renewal is dropped, also a refusal, as the sign-in is newer.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.authentication.sign_in.provider import Confirmation, Provider, refused
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.catalog.person_records import PeopleRecords, PersonNames
from wheelyard.catalog.sealing import Sealer
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict, Forbidden, Unavailable
from wheelyard.model.decoding import escaped
from wheelyard.model.person import Person, id_of_subject
from wheelyard.operations.audit_log import log_person

LEASE: Final = timedelta(minutes=1)
"""How long other processes leave a person alone whom a process renews, or failed to renew."""

logger = logging.getLogger("wheelyard")


class ConfirmedPeople(Struct, frozen=True, kw_only=True):
    """
    Writes the confirmations of providers into the records of people.

    Threads may share it. Every method raises Unavailable if the store does not answer.
    """

    records: PeopleRecords
    names: PersonNames
    retries: ConflictRetries
    sealers: Mapping[str, Sealer]
    """The sealer of the refresh tokens of each provider, by the name of the provider."""

    def sign_in(self, provider: Provider, confirmation: Confirmation) -> Person:
        """
        Write the record of a person who has just signed in, and return it as stored.

        The name is claimed first. If the provider sends no refresh token, the record keeps its own.
        Raises Forbidden (code `sign_in_refused`) if an administrator has ended the access of the
        person, and Conflict (code `name_taken`) if somebody else had the name first.
        """
        config = provider.config
        person_id = id_of_subject(confirmation.subject)
        now = self.retries.runtime.now()
        for _ in self.retries.attempts():
            snapshot = self.records.get_current(config.name, person_id)
            before = snapshot.value
            if before is not None and before.ended_at is not None:
                raise refused(
                    "An administrator of this index has ended your access. Ask them about it."
                ) from CredentialRejected("person_ended")
            # The name is claimed before the record is written. A crash in between leaves a name
            # that this person gets at the next sign-in, and never one name with two people.
            if before is None or before.name != confirmation.name:
                self._claim_name(config.name, confirmation.name, person_id)
            earlier_or_new = before or Person(
                provider=config.name,
                subject=confirmation.subject,
                name=confirmation.name,
                confirmed_at=now,
            )
            person = replace(
                earlier_or_new,
                name=confirmation.name,
                groups=confirmation.groups,
                confirmed_at=now,
                refused_at=None,
                refresh_token=self._sealed_token(config.name, confirmation, before),
                renewing_until=None,
            )
            # by compare-and-swap: None if another process has changed the record meanwhile
            saved = self.records.save(person, snapshot)
            if saved is not None:
                _log_new_name(before, saved)
                return saved
        raise self.retries.exhausted("the record of a person")

    def _sealed_token(
        self, provider: str, confirmation: Confirmation, before: Person | None
    ) -> str:
        """
        Return the sealed refresh token of a confirmation, or else the token of the record before.

        Some providers send a refresh token at the first sign-in alone. Empty if neither has a token
        that can be used.
        """
        if confirmation.refresh_token:
            context = _context(provider, id_of_subject(confirmation.subject))
            return self.sealers[provider].seal(confirmation.refresh_token, context)
        if before is not None and self.refresh_token_of(before):
            return before.refresh_token
        return ""

    def refresh_token_of(self, person: Person) -> str:
        """Return the refresh token of a person, or an empty text if there is none to use."""
        sealer = self.sealers.get(person.provider)
        if sealer is None or not person.refresh_token:
            return ""
        # a token that was sealed under an earlier secret of the client cannot be opened
        return sealer.open(person.refresh_token, _context(person.provider, person.id)) or ""

    def renew(self, provider: Provider, person_id: str) -> bool:
        """
        Ask a provider to confirm a person anew, and return whether the provider was asked.

        The provider is not asked if another process asks it, if no renewal is due, if there is no
        refresh token, or if the access of the person was ended. A confirmation is written into the
        record. If the provider refuses, all sessions of the person end, and tokens wait for a
        sign-in. If the provider does not answer, nothing changes, and no process asks again for a
        minute.
        """
        leased = self._lease(provider, person_id)
        if leased is None:
            return False

        # A crash after this leaves the old refresh token in the record, which the provider may
        # refuse: then the person signs in once more.
        try:
            confirmation = provider.renew(self.refresh_token_of(leased), leased.subject)
        except Forbidden as fault:
            now = self.retries.runtime.now()
            self._change_record(leased, partial(_refused_record, now=now))
            reason = fault.code
            if isinstance(fault.__cause__, CredentialRejected):
                reason = fault.__cause__.reason
            log_person("sessions_ended", provider.config.name, leased.principal, {"reason": reason})
        except Unavailable:
            # the lease stays until it ends, so that nobody asks again in the meantime
            logger.warning(
                "%s was not asked about %s, whose sessions go on for an hour at most",
                provider.config.name,
                escaped(leased.principal),
            )
        else:
            self._save_renewal(leased, confirmation)
        return True

    def _lease(self, provider: Provider, person_id: str) -> Person | None:
        """
        Write a lease into the record of a person, and return the record.

        None if this process does not renew the person now.
        """
        config = provider.config
        for _ in self.retries.attempts():
            snapshot = self.records.get_current(config.name, person_id)
            person = snapshot.value
            now = self.retries.runtime.now()
            if person is None or person.ended_at is not None:
                return None
            if not self.refresh_token_of(person):
                return None
            is_due = now - person.confirmed_at >= timedelta(seconds=config.renew_seconds)
            lease_end = person.renewing_until
            # a lease that ends too late was written by a process with a wrong clock
            is_leased = lease_end is not None and now < lease_end <= now + 2 * LEASE
            if not is_due or is_leased:
                return None
            # by compare-and-swap: one of two processes writes the lease, and the other sees it
            leased = self.records.save(replace(person, renewing_until=now + LEASE), snapshot)
            if leased is not None:
                return leased
        return None

    def _save_renewal(self, leased: Person, confirmation: Confirmation) -> None:
        """Write the confirmation of a renewal into the record of a person."""
        name = leased.name
        sealed_token = leased.refresh_token
        if confirmation.name != name:
            # a session does not end because somebody else had the new name first
            if self.names.claim(leased.provider, confirmation.name, leased.id):
                name = confirmation.name
            else:
                logger.warning(
                    "%s keeps the name, as the new one belongs to somebody else",
                    escaped(leased.principal),
                )
        if confirmation.refresh_token:
            context = _context(leased.provider, leased.id)
            sealed_token = self.sealers[leased.provider].seal(confirmation.refresh_token, context)
        now = self.retries.runtime.now()

        # changes the present record, as an administrator may have changed the record meanwhile
        def renew_record(current: Person) -> Person:
            return replace(
                current,
                name=name,
                groups=confirmation.groups,
                confirmed_at=now,
                refresh_token=sealed_token,
                renewing_until=None,
            )

        saved = self._change_record(leased, renew_record)
        if saved is not None:
            _log_new_name(leased, saved)

    def _change_record(self, leased: Person, change: Callable[[Person], Person]) -> Person | None:
        """
        Change the record that a renewal is about, and return it as stored.

        None if the person has signed in meanwhile, or if the record is gone. If the store does not
        answer, it is asked again for a while, as only this process has the new refresh token.
        """
        for _ in self.retries.attempts():
            try:
                snapshot = self.records.get_current(leased.provider, leased.id)
                current = snapshot.value
                # another refresh token is from a sign-in, which is newer than this renewal
                if current is None or current.refresh_token != leased.refresh_token:
                    return None
                saved = self.records.save(change(current), snapshot)
            except Unavailable:
                continue
            if saved is not None:
                return saved
        raise self.retries.exhausted("the record of a person")

    def _claim_name(self, provider: str, name: str, person_id: str) -> None:
        """Claim a name for a person, or raise Conflict if it belongs to somebody else."""
        if not self.names.claim(provider, name, person_id):
            raise Conflict(
                f"The name {escaped(name)} belongs to somebody else here, who had it first. Ask an "
                "administrator of this index to release it.",
                code="name_taken",
            ) from CredentialRejected("name_taken")


def _refused_record(current: Person, now: datetime) -> Person:
    """Return the changed record of a person whom the provider has refused to confirm."""
    # a session holds only while the number of endings is the one with which the session began
    endings = current.endings + 1
    return replace(current, refused_at=now, refresh_token="", endings=endings, renewing_until=None)


def _context(provider: str, person_id: str) -> str:
    """Return the context of a sealed refresh token, which opens only in its person's record."""
    return f"{provider}\0{person_id}"


def _log_new_name(before: Person | None, after: Person) -> None:
    """Log that a person has another name now, if the person had a record before."""
    if before is not None and before.name != after.name:
        log_person("renamed", after.provider, before.principal, {"name": after.name})
