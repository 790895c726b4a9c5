"""The arithmetic of keys. There is a handle for each kind of key, which calls a library.

* :mod:`~ipv8.keyvault.backend.curve25519` calls libsodium or ``cryptography``
  (:mod:`~ipv8.keyvault.backend.provider` chooses).
* :mod:`~ipv8.keyvault.backend.elliptic` calls the OpenSSL library of the Python interpreter.
"""
