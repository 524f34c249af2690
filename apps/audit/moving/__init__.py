"""How what was recorded gets into the audit log: once, in order, and with what is known of it."""
