"""Real processes, killed at any moment: what was answered stays."""
