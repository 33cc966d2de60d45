"""Tests of the operations that API, commands and forms have in common."""
