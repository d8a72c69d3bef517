"""Nouns: identifiers, errors, limits, the image of the cluster. No behaviour beyond arithmetic."""
