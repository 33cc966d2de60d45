"""Verifiers of credentials, one module for each type, and the modules that these share."""
