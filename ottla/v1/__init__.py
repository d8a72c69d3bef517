"""Generated from proto/ottla/v1; never edited."""
