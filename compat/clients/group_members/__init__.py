"""Members of groups, for :mod:`compat.group_survival`: one program for each client."""
