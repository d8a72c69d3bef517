"""The command `ottla`; one module a noun."""
