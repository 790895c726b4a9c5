"""Classes of private keys, at the import paths of the IPv8 ecosystem."""
