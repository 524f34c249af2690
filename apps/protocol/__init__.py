"""What WCS says: the hook methods, their messages, and how an answer is written. Pure, no models."""
