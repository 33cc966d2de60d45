"""Tests of `wheelyard.http.security`."""
