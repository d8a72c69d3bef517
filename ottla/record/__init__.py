"""The bytes of a record batch: parse, check, re-stamp, build, iterate."""
