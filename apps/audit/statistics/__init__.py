"""What is counted ahead, and the page that shows it."""
