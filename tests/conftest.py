"""What all tests of the engine share."""

import torch

# Tensors here are tiny, and `-n 2` has two processes on what may be two cores: more threads only wait for each other.
torch.set_num_threads(1)
