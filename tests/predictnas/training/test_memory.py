import os
import subprocess
import sys

import pytest

from predictnas.training.memory import large_pages

CODE = """
import resource, sys
import torch
from predictnas.training.memory import keep_freed_memory

torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
tensor = torch.zeros(2**24)
del tensor
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    tensor = torch.ones(2**24)
    del tensor
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is another one")
def test_large_tensors_do_not_come_page_by_page_again():
    def faults(how):
        command = [sys.executable, "-c", CODE, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # 64 MiB are 16,384 pages of 4 KiB, or 32 of 2 MiB.
    assert faults("kept") < 0.9 * faults("as before")


@pytest.mark.parametrize("before", [None, "glibc.malloc.check=0"])
def test_processes_that_start_inside_are_told_of_large_pages(monkeypatch, before):
    if before is None:
        monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    else:
        monkeypatch.setenv("GLIBC_TUNABLES", before)
    with large_pages():
        inside = os.environ["GLIBC_TUNABLES"].split(":")
    assert inside == [*([before] if before else []), "glibc.malloc.hugetlb=1"]
    assert os.environ.get("GLIBC_TUNABLES") == before
