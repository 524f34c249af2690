"""That the record is whole and untouched: its chain and seals, and each answer decided again."""
