"""How the peers of an overlay meet: introductions, punctures, address translators, and packets carried for others."""
