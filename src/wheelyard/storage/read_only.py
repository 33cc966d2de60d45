"""A store that can only be read, whatever its credentials or its disk allow."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NoReturn

from wheelyard.errors import Unavailable
from wheelyard.storage.base import Key, ObjectBody, ObjectVersion, WebType
from wheelyard.storage.prefixed import PrefixedStore


@dataclass(frozen=True, slots=True)
class ReadOnlyStore(PrefixedStore):
    """The objects of `inner`; each attempt to write one raises Unavailable."""

    prefix: str = ""

    def put(
        self,
        key: Key,
        body: ObjectBody,
        expect: ObjectVersion | None,
        kind: WebType | None = None,
        *,
        is_durable: bool = True,
    ) -> NoReturn:
        """Raise Unavailable."""
        del body, expect, kind, is_durable
        raise _refused(key)

    def create_all(
        self, objects: Sequence[tuple[Key, ObjectBody]], *, sync_names: bool = True
    ) -> NoReturn:
        """Raise Unavailable."""
        del sync_names
        raise _refused(objects[0][0])

    def staged(
        self, bodies: Sequence[bytes], named: Sequence[Key] = ()
    ) -> AbstractContextManager[Sequence[ObjectBody]]:
        """Raise Unavailable."""
        del bodies
        raise _refused(*named[:1])

    def delete(self, key: Key, expect: ObjectVersion | None) -> NoReturn:
        """Raise Unavailable."""
        del expect
        raise _refused(key)


def _refused(key: str = "an object") -> Unavailable:
    return Unavailable(f"{key} is not written: [server] read_only forbids it.", code="read_only")
