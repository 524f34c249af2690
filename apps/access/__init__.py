"""May they? Rules, and deciding on them."""
