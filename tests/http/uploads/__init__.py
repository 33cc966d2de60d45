"""Tests of `wheelyard.http.uploads`."""
