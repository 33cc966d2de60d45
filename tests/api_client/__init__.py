"""Tests of the client of `/api/v1/`."""
