"""A cluster that has a bad time (tests/chaos), for as long as a test may take."""
import random

import pytest

from chaos.run import Chaos
from harness.libraries import LIBRARIES


@pytest.mark.long
def test_everything_at_once_for_minutes(tmp_path):
    """Everything that `cargo xtask chaos` does, for four minutes."""
    seed = random.randrange(1 << 32)
    print(f"cargo xtask chaos --minutes 4 --seed {seed}")
    Chaos(tmp_path, seed, 4, print, LIBRARIES).run()
