"""A made-up past, to try out how it is to have much in the record."""
