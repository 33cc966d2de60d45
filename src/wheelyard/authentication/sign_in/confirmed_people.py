"""
The records of people, as providers confirm them: at a sign-in, and by renewals after it.

Many providers replace a refresh token each time, and take it for stolen if an old one comes again.
So one process at a time renews a person. It first writes into the record until when others leave it
alone, by compare-and-swap. If it dies before it has written the new refresh token, the next renewal
sends the old one, the provider refuses it, and the person signs in once more.

A sign-in gives another refresh token than the one that a renewal has sent. What that renewal brings
is dropped then, also a refusal: the sign-in is newer.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
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
"""For how long other processes leave a renewal to the one that has begun it, or that has failed."""

logger = logging.getLogger("wheelyard")


class ConfirmedPeople(Struct, frozen=True, kw_only=True):
    """
    Writes what providers say of people into their records.

    Threads may share it. Every method raises Unavailable if the store does not answer.
    """

    records: PeopleRecords
    names: PersonNames
    retries: ConflictRetries
    sealers: Mapping[str, Sealer]
    """What seals the refresh tokens of each provider."""

    def sign_in(self, provider: Provider, confirmation: Confirmation) -> Person:
        """
        Write the record of a person who has just signed in, and return it as stored.

        The name is claimed first. A refresh token that is there stays if the provider sends none.
        Raises Forbidden (code `sign_in_refused`) if an administrator has ended the person, and
        Conflict (code `name_taken`) if somebody else had the name first.
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
                self._require_name(config.name, confirmation.name, person_id)
            sealed = ""
            # some providers send a refresh token at the first sign-in alone
            if before is not None and self.refresh_token_of(before):
                sealed = before.refresh_token
            if confirmation.refresh_token:
                context = _context(config.name, person_id)
                sealed = self.sealers[config.name].seal(confirmation.refresh_token, context)
            new = before or Person(
                provider=config.name,
                subject=confirmation.subject,
                name=confirmation.name,
                confirmed_at=now,
            )
            person = replace(
                new,
                name=confirmation.name,
                groups=confirmation.groups,
                confirmed_at=now,
                refused_at=None,
                refresh_token=sealed,
                renewing_until=None,
            )
            # by compare-and-swap: None if another process has changed the record meanwhile
            saved = self.records.save(person, snapshot)
            if saved is not None:
                _log_new_name(before, saved)
                return saved
        raise self.retries.exhausted("the record of a person")

    def refresh_token_of(self, person: Person) -> str:
        """Return the refresh token of a person, or an empty text if none can be used."""
        sealer = self.sealers.get(person.provider)
        if sealer is None or not person.refresh_token:
            return ""
        # of another secret of the client, before the operator has changed it, it does not open
        return sealer.open(person.refresh_token, _context(person.provider, person.id)) or ""

    def renew(self, provider: Provider, person_id: str) -> bool:
        """
        Have a provider confirm a person anew, and return whether it was asked.

        It is not if another process asks it, if it is not due, if there is nothing to ask with, or
        if the person was ended. What it confirms is written into the record. If it refuses, all
        sessions of the person end, and tokens wait for a sign-in. If it does not answer, nothing
        changes, and nobody asks again for a minute.
        """
        leased = self._leased(provider, person_id)
        if leased is None:
            return False

        # A crash from here on leaves the old refresh token in the record, which the provider may
        # not take again: then the person signs in once more.
        try:
            confirmation = provider.renew(self.refresh_token_of(leased), leased.subject)
        except Forbidden as fault:
            now = self.retries.runtime.now()
            self._change(leased, lambda current: _refused(current, now))
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

    def _leased(self, provider: Provider, person_id: str) -> Person | None:
        """Return the record of a person whom this process renews now, or None if it does not."""
        config = provider.config
        for _ in self.retries.attempts():
            snapshot = self.records.get_current(config.name, person_id)
            person = snapshot.value
            now = self.retries.runtime.now()
            if person is None or person.ended_at is not None or not self.refresh_token_of(person):
                return None
            is_due = now - person.confirmed_at >= timedelta(seconds=config.renew_seconds)
            # a lease that ends later than any process can have written is of a wrong clock
            until = person.renewing_until
            is_leased = until is not None and now < until <= now + 2 * LEASE
            if not is_due or is_leased:
                return None
            # by compare-and-swap: of two processes one writes the lease, and the other sees it
            leased = self.records.save(replace(person, renewing_until=now + LEASE), snapshot)
            if leased is not None:
                return leased
        return None

    def _save_renewal(self, leased: Person, confirmation: Confirmation) -> None:
        """Write what a provider has confirmed into the record of a person."""
        name = leased.name
        sealed = leased.refresh_token
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
            sealed = self.sealers[leased.provider].seal(confirmation.refresh_token, context)
        now = self.retries.runtime.now()

        # made of the record of that moment: an administrator may have changed it meanwhile
        def renewed(current: Person) -> Person:
            return replace(
                current,
                name=name,
                groups=confirmation.groups,
                confirmed_at=now,
                refresh_token=sealed,
                renewing_until=None,
            )

        saved = self._change(leased, renewed)
        if saved is not None:
            _log_new_name(leased, saved)

    def _change(self, leased: Person, change: Callable[[Person], Person]) -> Person | None:
        """
        Change the record that a renewal is about, and return it as stored.

        Returns None if the person has signed in meanwhile, or was ended. A store that does not
        answer is asked again for a while: a new refresh token is nowhere else.
        """
        for _ in self.retries.attempts():
            try:
                snapshot = self.records.get_current(leased.provider, leased.id)
                current = snapshot.value
                # another refresh token is that of a sign-in, which is newer than this renewal
                if current is None or current.refresh_token != leased.refresh_token:
                    return None
                saved = self.records.save(change(current), snapshot)
            except Unavailable:
                continue
            if saved is not None:
                return saved
        raise self.retries.exhausted("the record of a person")

    def _require_name(self, provider: str, name: str, person_id: str) -> None:
        """Claim a name for a person, or raise Conflict if it belongs to somebody else."""
        if not self.names.claim(provider, name, person_id):
            raise Conflict(
                f"The name {escaped(name)} belongs to somebody else here, who had it first. Ask an "
                "administrator of this index to release it.",
                code="name_taken",
            ) from CredentialRejected("name_taken")


def _refused(current: Person, now: datetime) -> Person:
    """Return the record of a person whom the provider does not confirm any more."""
    # all sessions end, as each has the number of endings that was true when it began
    endings = current.endings + 1
    return replace(current, refused_at=now, refresh_token="", endings=endings, renewing_until=None)


def _context(provider: str, person_id: str) -> str:
    """Return the context of a sealed refresh token: it opens in the record of its person only."""
    return f"{provider}\0{person_id}"


def _log_new_name(before: Person | None, after: Person) -> None:
    """Log that a person whose record was there before has another name now."""
    if before is not None and before.name != after.name:
        log_person("renamed", after.provider, before.principal, {"name": after.name})
