"""Checks of requests: authentication, read authorization, CSRF and host policy."""
