"""Tests of `wheelyard.http.handlers`."""
