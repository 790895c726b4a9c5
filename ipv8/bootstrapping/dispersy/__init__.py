"""Bootstrap servers with well-known addresses."""
