"""Every setting, where it comes from, and its checks."""
