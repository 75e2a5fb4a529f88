"""What all tests of the engine share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors here are tiny, and `-n 2` has two processes on what may be two cores: more threads only wait for each other."""
    # Not at the top: pytest reads this file in every run, and in the process that only hands out work torch is a second lost.
    import torch

    torch.set_num_threads(1)
