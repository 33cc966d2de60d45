"""The proxy that the environment (or the system) names for a URL."""

from urllib.request import getproxies, proxy_bypass

from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import BadUrl, Url, is_url, parse_url


def proxy_for(url: Url) -> Url | None:
    """
    Return the proxy of `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY` for `url`; None if there is none.

    `NO_PROXY` has the exceptions. Raise FetchError if the proxy has no URL of http or https.
    """
    proxies = getproxies()
    text = proxies.get(url.scheme) or proxies.get("all")
    if not text or proxy_bypass(url.authority):
        return None
    try:
        return parse_url(text if is_url(text) or "://" in text else f"http://{text}")
    except BadUrl as error:
        raise FetchError("the proxy of the environment has no URL of http or https") from error
