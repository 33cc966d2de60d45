"""HTTP sessions of Google's library: their connections, proxies and certificates."""

from requests import Session
from requests.adapters import HTTPAdapter


def set_up_session(session: Session, url: str, max_connections: int) -> None:
    """
    Set up a session for the host of `url`, with at most `max_connections` idle connections.

    Proxies and certificates are those of the environment now: to look them up for each request
    takes a quarter of its processor time. `~/.netrc` is not read, as a password for every host in
    it would replace Google's token.
    """
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=max_connections))
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify, session.trust_env = found["proxies"], found["verify"], False
