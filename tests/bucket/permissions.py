"""What the caller may do: everything, until a test takes it away."""

from tests.bucket.errors import ApiError

SIGN_BLOB = "iam.serviceAccounts.signBlob"


class Permissions:
    """
    The rights of the one account that there is.

    Args:
        email: Its name in refusals.

    Attributes:
        expired: Whether its credentials have expired: then everything is answered with 401.
        token_required: Whether a request needs an access token that this server has handed out;
            without, any caller will do, as in other emulators.
    """

    def __init__(self, email: str) -> None:
        self._email = email
        self._denied: set[str] = set()
        self.expired = False
        self.token_required = False

    def deny(self, *names: str) -> None:
        """Take away rights, such as `storage.objects.create`."""
        self._denied |= set(names)

    def allow(self, *names: str) -> None:
        """Give rights back; all of them if none is named."""
        self._denied -= set(names or self._denied)

    def held(self, name: str) -> bool:
        """Return whether the account has a right."""
        return name not in self._denied

    def require(self, name: str, resource: str = "object") -> None:
        """
        Return if the account has a right.

        Raises:
            ApiError: 403, in the service's words.
        """
        if name in self._denied:
            raise denied(self._email, name, resource)


def denied(who: str, name: str, resource: str = "object") -> ApiError:
    """Return the refusal of a right."""
    return ApiError(
        403,
        f"{who} does not have {name} access to the Google Cloud Storage {resource}. "
        f"Permission '{name}' denied on resource (or it may not exist).",
    )


def unauthenticated() -> ApiError:
    """Return the refusal of credentials that have expired, or that nobody knows."""
    header = ("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/"')
    return ApiError(401, "Invalid Credentials", headers=(header,))
