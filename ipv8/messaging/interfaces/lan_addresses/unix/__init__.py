"""Address providers for Linux."""
