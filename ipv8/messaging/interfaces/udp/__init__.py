"""UDP sockets as endpoints."""
