"""Classes of public keys, at the import paths of the IPv8 ecosystem."""
