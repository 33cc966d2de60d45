"""Tests of `wheelyard.http.protocol`."""
