import importlib

import pytest

import loop_home
from engine import attention
from engine.device import free_cores, quotas, requested, resolve
from engine.errors import SpecError
from engine.ledger import DEVICE, Ledger
from engine.spec import Compute
from engine.step import BASE, Device

CPU_MAX, V1_QUOTA, V1_PERIOD = "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"


def machine(root, cgroup, **files):
    """A root with proc/self/cgroup and files of sys/fs/cgroup ('__' in a name stands for '/')."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("CPU_MAX", CPU_MAX)
        file = file.with_name({"QUOTA": V1_QUOTA, "PERIOD": V1_PERIOD}.get(file.name, file.name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def idle(monkeypatch):
    """Sets the machine's cores, those of this process's affinity, and the load."""

    def given(cores=16, own=16, load=0.0):
        monkeypatch.setattr("os.cpu_count", lambda: cores)
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(own)), raising=False)
        monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))

    return given


@pytest.mark.parametrize(
    ("cgroup", "files", "found"),
    [
        ("0::/\n", {"CPU_MAX": "400000 100000\n"}, [4.0]),  # a container that sees its own cgroup as the root
        ("0::/a/b\n", {"a__b__CPU_MAX": "max 100000", "a__CPU_MAX": "250000 100000"}, [2.5]),
        ("0::/a/b\n", {"a__b__CPU_MAX": "300000 100000", "a__CPU_MAX": "150000 100000"}, [3.0, 1.5]),
        ("0::/host/path\n", {"CPU_MAX": "200000 100000"}, [2.0]),  # the path is the host's, the tree is the container's
        ("0::/\n", {}, []),
        ("4:memory:/x\n2:cpu,cpuacct:/x\n", {"cpu,cpuacct__x__QUOTA": "350000", "cpu,cpuacct__x__PERIOD": "100000"}, [3.5]),
        ("1:cpu:/docker/1\n0::/\n", {"cpu__QUOTA": "50000", "cpu__PERIOD": "100000"}, [0.5]),
        ("1:cpu:/\n", {"cpu__QUOTA": "-1", "cpu__PERIOD": "100000"}, []),
    ],
)
def test_quotas_of_both_versions_are_read_up_the_tree(tmp_path, cgroup, files, found):
    assert set(quotas(machine(tmp_path, cgroup, **files))) == set(found)


def test_without_proc_there_is_no_quota(tmp_path):
    assert list(quotas(tmp_path)) == []


@pytest.mark.parametrize(
    ("state", "quota", "cores"),
    [
        ({}, "max 100000", 16),
        ({"own": 6}, "max 100000", 6),
        ({"load": 13.4}, "max 100000", 3),
        ({"load": 40.0}, "max 100000", 1),
        ({}, "450000 100000", 4),
        ({}, "50000 100000", 1),
        ({"own": 3}, "450000 100000", 3),
        ({"load": 9.0}, "400000 100000", 4),  # the load is the machine's: seven cores are idle, four may be used
    ],
)
def test_free_cores_are_the_least_of_affinity_quota_and_idle_ones(tmp_path, idle, state, quota, cores):
    idle(**state)
    assert free_cores(machine(tmp_path, "0::/box\n", box__CPU_MAX=quota)) == cores


def test_free_cores_where_the_system_knows_no_affinity(tmp_path, idle, monkeypatch):
    idle(cores=8)
    monkeypatch.delattr("os.sched_getaffinity")
    assert free_cores(tmp_path) == 8


def test_a_cpu_decides_no_attention():
    assert resolve(Compute(device="cpu", threads=2)) == {"device": "cpu", "threads": 2, "dtype": "float32"}
    assert Device(**resolve(Compute(device="cpu", threads=2))).attention == "auto"
    assert resolve(Compute(device="cpu", threads=2, attention="eager"))["attention"] == "eager"


@pytest.fixture
def gpu(monkeypatch):
    """Stands in for a GPU that torch sees, with or without the package of flash attention."""
    import torch
    import transformers.utils

    def given(flash=True, capability=(8, 0)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(transformers.utils, "is_flash_attn_2_available", lambda: flash)

    return given


@pytest.mark.parametrize(
    ("given", "compute", "found"),
    [
        ({}, {}, {"dtype": "bfloat16", "attention": "auto:flash_attention_2"}),
        ({}, {"dtype": "float16"}, {"dtype": "float16", "attention": "auto:flash_attention_2"}),
        ({}, {"dtype": "float32"}, {"dtype": "float32"}),
        ({"flash": False}, {}, {"dtype": "bfloat16"}),
        ({"capability": (7, 5)}, {}, {"dtype": "bfloat16"}),
        ({}, {"attention": "sdpa"}, {"dtype": "bfloat16", "attention": "sdpa"}),
        ({}, {"attention": "flash_attention_2"}, {"dtype": "bfloat16", "attention": "flash_attention_2"}),
    ],
)
def test_a_gpu_takes_half_precision_and_flash_attention_where_it_can(gpu, given, compute, found):
    gpu(**given)
    assert resolve(Compute(threads=1, **compute)) == {"device": "cuda:0", "threads": 1} | found


@pytest.mark.parametrize(
    ("given", "compute", "words"),
    [
        ({}, {"device": "cpu"}, "needs a GPU"),
        ({}, {"dtype": "float32"}, "half precision, found compute.dtype float32"),
        ({"flash": False}, {}, "flash-attn .* is not installed"),
        ({"capability": (7, 5)}, {}, "found 7.5"),
    ],
)
def test_flash_attention_that_cannot_work_is_an_error(gpu, given, compute, words):
    gpu(**given)
    with pytest.raises(SpecError, match=words) as caught:
        resolve(Compute(threads=1, attention="flash_attention_2", **compute))
    assert "auto or sdpa" in caught.value.hint


def test_an_experiment_from_before_attention_was_a_setting_is_not_stale(tmp_path):
    assert requested(Compute()) == {"device": "auto", "threads": "auto", "dtype": "auto"}
    loop_home.write(tmp_path)
    made = loop_home.load(tmp_path)
    made.run(until=BASE)
    entry = Ledger(made.lake, "loop").get(BASE, DEVICE)
    assert entry.ingredients == {"device": "cpu", "threads": 1, "dtype": "float32"}
    assert entry.detail["requested"] == {"device": "cpu", "threads": 1, "dtype": "auto"}
    before = loop_home.attempts(made.lake, "loop")
    made.run(until=BASE)
    assert loop_home.attempts(made.lake, "loop") == before
    eager = loop_home.load(tmp_path, "compute.attention=eager")
    eager.run(first=BASE, until=BASE)
    assert Ledger(made.lake, "loop").get(BASE, DEVICE).ingredients["attention"] == "eager"
    assert loop_home.attempts(made.lake, "loop")[BASE, "checkpoint"] != before[BASE, "checkpoint"]


def test_importing_it_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, engine.device, engine.attention, engine.models, engine.adapters; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
    assert importlib.import_module("engine.attention") is attention
