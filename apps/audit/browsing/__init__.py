"""The audit log page by page: what staff type, and what is found."""
