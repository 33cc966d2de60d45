"""Authentication of credentials, and authorization of the callers that they identify."""
