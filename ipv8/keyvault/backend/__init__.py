"""What does the arithmetic: a handle per key kind, and under each the library that it calls.

* :mod:`~ipv8.keyvault.backend.curve25519` over libsodium or ``cryptography``
  (:mod:`~ipv8.keyvault.backend.provider` chooses);
* :mod:`~ipv8.keyvault.backend.elliptic` over the interpreter's own OpenSSL.
"""
