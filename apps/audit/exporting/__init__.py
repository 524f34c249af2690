"""The audit log as files, and page by page for programs."""
