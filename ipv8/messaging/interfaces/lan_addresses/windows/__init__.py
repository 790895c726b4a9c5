"""Address providers for Windows."""
