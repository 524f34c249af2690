"""A WCS to try WCS Gate on."""
