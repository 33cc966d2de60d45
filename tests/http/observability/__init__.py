"""Tests of `wheelyard.http.observability`."""
