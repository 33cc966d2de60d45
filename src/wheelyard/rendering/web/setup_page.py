"""The set-up page: the settings of each client for this index."""

from wheelyard.rendering.client_settings import CLIENTS, INSTALLERS
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer


def setup_page(environment: PageEnvironment, viewer: Viewer, *, can_publish: bool) -> bytes:
    """Return the bytes of the HTML page with the settings of each client for this index."""
    settings = environment.client_settings
    url = settings.upload_url.removesuffix("/legacy/")
    shown = CLIENTS if can_publish else INSTALLERS
    texts = {
        client: environment.with_links(make(settings), url, "../") for client, make in shown.items()
    }
    return environment.render("setup.html", viewer, "../", texts=texts)
