"""Consensus: the seam, and the hardened pysyncobj engine behind it. Knows nothing of topics."""
