"""Public data by kind: one module a set or a source, its spec light, its readers beside it."""
