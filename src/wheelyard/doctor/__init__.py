"""Why an install or a publish does not work on a client's machine: settings, network, server."""
