"""Announcements to a multicast group."""
