"""What a node tells of itself while it runs: counts, histories, tables, logs and events (doc/rest_api.md)."""
