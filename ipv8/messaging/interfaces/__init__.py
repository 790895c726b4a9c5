"""Where packets leave and arrive: sockets, their statistics, and the addresses of this machine."""
