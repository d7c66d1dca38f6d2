"""The instruction set that is forced holds for native modules that are loaded with the first document that needs them."""

import subprocess
import sys


def test_a_module_that_is_loaded_later_uses_the_default() -> None:
    program = (
        "from batchseal._native import cpu; print(cpu.set_default_instruction_set('portable'), cpu.default_instruction_set());"
        "from batchseal._native import canonicaliser; print(*[name for name, *_, used in canonicaliser.kernels() if used])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["portable"] * 3
