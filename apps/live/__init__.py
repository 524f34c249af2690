"""What is running: leases, orders to end them, and how WCS is told."""
