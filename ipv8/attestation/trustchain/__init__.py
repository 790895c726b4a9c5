"""TrustChain: every peer keeps a chain of signed half blocks, and a transaction is a pair of them."""
