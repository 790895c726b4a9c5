"""The parts of a network view: plain data structures that know nothing of sockets and event loops."""
