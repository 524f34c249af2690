"""What: streams by name."""
