"""End-to-end runs: the suite's own data, loss, optimiser and loops; the implementation supplies the forward pass."""
