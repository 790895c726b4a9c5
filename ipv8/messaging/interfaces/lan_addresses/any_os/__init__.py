"""Address providers for any operating system."""
