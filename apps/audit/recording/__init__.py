"""What the web process does to record a hook with its answer, whatever happens to it or to Postgres."""
