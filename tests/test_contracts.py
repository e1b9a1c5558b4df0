"""The contract suites of `vexarrow.testing`, run over every format and connector of ours."""

from __future__ import annotations

from pathlib import Path

from vexarrow.testing import ConnectorContract, FormatContract, Spot


class TestJsonl(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.vmig.jsonl")


class TestJsonlGzip(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.vmig.jsonl.gz")


class TestJsonlZstd(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.vmig.jsonl.zst")


class TestParquet(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.parquet")


class TestParquetDirectory(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records/", format="parquet")


class TestParquetByNamespace(FormatContract):
    ordered = False

    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records/", target_options={"partition-by": "namespace"}, format="parquet")


class TestParquetColumns(FormatContract):
    verbatim = False

    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.parquet", target_options={"metadata": "columns"})


class TestArrow(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.arrow")


class TestArrowStream(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.arrows")


class TestFeather(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.feather")


class TestVektor(ConnectorContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/memory.db")
