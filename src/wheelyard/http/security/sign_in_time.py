"""The time at which the caller of a request has signed in."""

from datetime import UTC, datetime

from wheelyard.authentication.verifiers.verifier import decode_segment
from wheelyard.http.protocol.messages import Request
from wheelyard.http.security.request_authentication import parse_authorization
from wheelyard.model.claim_matchers import numeric_date


def signed_in_at(request: Request) -> datetime | None:
    """
    Return when the caller of a request, a person or a service account, has signed in.

    That is when its ID token was issued. None is now: Identity-Aware Proxy vouches for each request
    anew.
    """
    if request.session is not None:
        return datetime.fromtimestamp(request.session.issued_at, UTC)
    header = request.headers.get(b"authorization")
    if header is None:  # an assertion of the proxy, which expires after ten minutes
        return None
    id_token = parse_authorization(header).secret  # has been verified
    claims = decode_segment(id_token.split(".")[1])
    return datetime.fromtimestamp(numeric_date(claims.get("iat")) or 0.0, UTC)
