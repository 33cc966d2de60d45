"""The public site of docs/."""
