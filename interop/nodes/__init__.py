"""Programs that run with both libraries. They use only what both have."""
