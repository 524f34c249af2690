"""Questions about what happened and would happen: ask, again, preview. Asking changes nothing."""
