"""How long what is kept: partitions, what goes when, and what is held."""
