"""Through what: WCS applications, nodes and sessions."""
