"""Counters, gauges and histograms, and the HTTP port that shows them."""
