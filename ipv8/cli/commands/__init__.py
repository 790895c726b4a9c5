"""The commands of ``ipv8``, one in each module. They need the packages of the extra ``cli`` (doc/design/cli.md)."""
