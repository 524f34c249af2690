"""Whether every answered hook is in the record, and what staff are told where one is not."""
