"""What the command line does to its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = (
    "import os, sys\n"
    "from vexarrow.cli import main\n"
    "try:\n"
    "    main(sys.argv[1:])\n"
    "finally:\n"
    "    from threadpoolctl import threadpool_info\n"
    "    print('blas', *{one['num_threads'] for one in threadpool_info() if one['user_api'] == 'blas'})\n"
    "    print('adapt', 'vexarrow.cli.adapt' in sys.modules)\n"
)
SAMPLE = str(Path(__file__).parent / "data" / "debian.vmig.jsonl")


def said(*arguments: str, **environment: str) -> list[str]:
    """The last two lines: the threads of BLAS, and whether the commands of `adapt` were imported."""
    ours = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments], env=ours | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-2:]


@pytest.mark.parametrize("command", ["inspect", "validate"])
def test_commands_without_arithmetic_start_no_threads_for_it(command: str) -> None:
    """They would spin, on processors that others need."""
    assert said(command, SAMPLE) == ["blas 1", "adapt False"]


def test_a_copy_without_projection_starts_none_either(tmp_path: object) -> None:
    """Nor does it import the commands that project."""
    assert said("convert", SAMPLE, f"{tmp_path}/out.parquet") == ["blas 1", "adapt False"]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is but one processor")
def test_a_copy_that_embeds_keeps_its_threads(tmp_path: object) -> None:
    """Where the model runs in this process, it multiplies."""
    wish = ("--reembed", "--force-reembed", "--embed-model", "openai:text-embedding-3-small", "--dry-run")
    blas, _ = said("convert", SAMPLE, f"{tmp_path}/out.parquet", *wish)
    assert int(blas.removeprefix("blas ")) > 1


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is but one processor")
def test_the_users_choice_of_threads_stays() -> None:
    """A variable that is set is not touched."""
    assert said("validate", SAMPLE, OPENBLAS_NUM_THREADS="2")[0] == "blas 2"


@pytest.mark.parametrize("place", ["a.vmig.jsonl", "a.parquet", "a.arrow", "a.db", "qdrant://localhost/a", "s3://b/a/"])
def test_a_place_is_found_before_anything_heavy_is_imported(place: str) -> None:
    """Second processes start then, and the kernels of BLAS are chosen, which numpy loads once."""
    script = (
        "import sys; from vexarrow.places import SINK, resolve\n"
        f"resolve({place!r}, {{}}, side=SINK, overwrite=True)\n"
        "print(*{'numpy', 'pyarrow', 'fsspec', 'sqlite3'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
