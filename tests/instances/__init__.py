"""Several processes on one bucket: servers, commands, and those that are killed in between."""
