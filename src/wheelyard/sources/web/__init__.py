"""Sources that are reached by HTTP: another index, and files below a URL."""
