"""The cluster's metadata: a state machine behind a consensus seam."""
