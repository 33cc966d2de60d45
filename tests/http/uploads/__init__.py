"""Tests of `wheelyard.http.upload_handler`."""
