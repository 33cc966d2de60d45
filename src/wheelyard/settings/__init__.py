"""What an operator decides: sections with their defaults, read from file, environment and flags."""
