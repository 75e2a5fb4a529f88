"""Adapters for real implementations, one file each; none of them imports transpec."""
