"""What lock files list."""
