"""Who: the people and devices that connect, and their tokens."""
