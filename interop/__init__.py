"""Real nodes of the existing ecosystem and of this library, in processes of their own, talk to each other."""
