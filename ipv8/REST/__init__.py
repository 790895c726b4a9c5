"""The HTTP interface of a node (doc/rest_api.md). It needs the extra ``rest``."""
