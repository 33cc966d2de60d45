"""Tests of `wheelyard.http.caching`."""
