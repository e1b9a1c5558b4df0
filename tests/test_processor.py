"""Which kernels are asked for on which processor, from what Linux says of real ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vexarrow.processor import VARIABLE, wide_kernels

BEFORE_ZEN4 = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht syscall nx "
    "mmxext fxsr_opt pdpe1gb rdtscp lm constant_tsc rep_good nopl cpuid extd_apicid pni pclmulqdq ssse3 fma cx16 pcid "
    "sse4_1 sse4_2 movbe popcnt aes xsave avx f16c rdrand lahf_lm cmp_legacy cr8_legacy abm sse4a misalignsse "
    "3dnowprefetch osvw topoext fsgsbase bmi1 avx2 smep bmi2 erms invpcid rdseed adx smap clflushopt clwb sha_ni "
    "xsaveopt xsavec xgetbv1 xsaves clzero umip pku ospke vaes vpclmulqdq rdpid"
)
AVX512 = "avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl"
ZEN4 = f"{BEFORE_ZEN4} {AVX512} avx512_bf16 avx512vbmi avx512_vbmi2 gfni avx512_vnni avx512_bitalg avx512_vpopcntdq"
ZEN5 = f"{ZEN4} avx_vnni avx512_vp2intersect movdiri movdir64b"
XEON = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ss ht nx "
    "pdpe1gb rdtscp lm constant_tsc arch_perfmon rep_good nopl cpuid pni pclmulqdq ssse3 fma cx16 pcid sse4_1 "
    "sse4_2 x2apic movbe popcnt aes xsave avx f16c rdrand lahf_lm abm 3dnowprefetch fsgsbase tsc_adjust bmi1 "
    "avx2 smep bmi2 erms invpcid mpx avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd avx512bw avx512vl"
)
PHI = "fpu sse sse2 ssse3 fma sse4_1 sse4_2 movbe avx f16c bmi1 avx2 bmi2 avx512f rdseed adx avx512pf avx512er avx512cd"


def x86(vendor: str, family: int, model: int, name: str, flags: str) -> str:
    """Two processors as Linux lists them."""
    one = (
        "processor\t: {}\n"
        f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {name}\n"
        f"fpu\t\t: yes\nflags\t\t: {flags}\nbugs\t\t: sysret_ss_attrs spectre_v1\npower management:\n\n"
    )
    return one.format(0) + one.format(1)


ARM = (
    "processor\t: 0\nBogoMIPS\t: 243.75\n"
    "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n\n"
)
GENOA = x86("AuthenticAMD", 25, 17, "AMD EPYC 9654P 96-Core Processor", ZEN4)
TURIN = x86("AuthenticAMD", 26, 2, "AMD EPYC 9655 96-Core Processor", ZEN5)
MILAN = x86("AuthenticAMD", 25, 1, "AMD EPYC 7763 64-Core Processor", BEFORE_ZEN4)
MASKED = x86("AuthenticAMD", 25, 17, "AMD EPYC 9654P 96-Core Processor", ZEN4.replace(" avx512vl", ""))
SKYLAKE = x86("GenuineIntel", 6, 85, "Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", XEON)
KNIGHTS = x86("GenuineIntel", 6, 87, "Intel(R) Xeon Phi(TM) CPU 7250 @ 1.40GHz", PHI)


@pytest.mark.parametrize("cpuinfo", [GENOA, TURIN], ids=["Zen 4", "Zen 5"])
def test_amd_with_avx512(cpuinfo: str) -> None:
    """The processors of which OpenBLAS should know, and sometimes does not."""
    assert wide_kernels("x86_64", cpuinfo, {}) == "SKYLAKEX"


@pytest.mark.parametrize(
    ("machine", "cpuinfo"),
    [
        ("x86_64", MILAN),
        ("x86_64", MASKED),
        ("x86_64", SKYLAKE),
        ("x86_64", KNIGHTS),
        ("aarch64", ARM),
        ("aarch64", GENOA),
        ("x86_64", ""),
        ("x86_64", "no colon\n: no name\nflags\t:"),
        ("x86_64", GENOA[: GENOA.index("avx512f")]),
    ],
    ids=["Zen 3", "a part masked", "Intel", "Xeon Phi", "ARM", "x86 emulated", "nothing", "nonsense", "cut off"],
)
def test_all_others_are_left_to_openblas(machine: str, cpuinfo: str) -> None:
    """Kernels are taken by name without a look at the processor: where they would not run, nothing is said."""
    assert wide_kernels(machine, cpuinfo, {}) is None


@pytest.mark.parametrize("said", ["HASWELL", ""])
def test_the_users_choice_stays(said: str) -> None:
    """What is set already is right, whatever it is."""
    assert wide_kernels("x86_64", GENOA, {VARIABLE: said}) is None


@pytest.mark.parametrize(("before", "said"), [("import numpy", "None"), ("pass", "'SKYLAKEX'")])
def test_only_before_numpy(before: str, said: str) -> None:
    """OpenBLAS reads the name once. Where numpy is there already, the environment stays as it is."""
    script = (
        "import builtins, io, os\n"
        f"{before}\n"
        "from vexarrow import processor\n"
        "processor.open = lambda *_, **__: io.StringIO(os.environ['CPUINFO'])\n"
        "processor.take_wide_kernels()\n"
        "print(repr(os.environ.get(processor.VARIABLE)))"
    )
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("Linux on x86-64")
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | {"CPUINFO": TURIN}
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == said


@pytest.mark.parametrize("command", ["train", "evaluate", "sample", "detect", "info"])
def test_commands_that_compute_take_them(command: str) -> None:
    """Before numpy is there; what the user set stays."""
    script = (
        "import atexit, io, os, sys\n"
        "from vexarrow import processor\n"
        "processor.open = lambda *_, **__: io.StringIO(os.environ['CPUINFO'])\n"
        "atexit.register(lambda: print('kernels', os.environ.get(processor.VARIABLE)))\n"
        "from vexarrow.cli import adapt_main\n"
        "assert 'numpy' not in sys.modules\n"
        "adapt_main()"
    )
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("Linux on x86-64")
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | {"CPUINFO": TURIN}
    for said, chosen in ((environment, "SKYLAKEX"), (environment | {VARIABLE: "HASWELL"}, "HASWELL")):
        run = [sys.executable, "-c", script, command, "--help"]
        found = subprocess.run(run, env=said, capture_output=True, text=True, check=True)
        assert f"kernels {chosen}" in found.stdout
