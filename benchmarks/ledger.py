"""Tables of results, and the file that keeps them with the machine they were measured on."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.table import Table

from benchmarks.measure import Result

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "benchmarks" / "ledger.csv"


@dataclass(frozen=True)
class Context:
    """When, of what and on what a number was measured."""

    date: str
    commit: str
    cpu: str
    cores: int
    gpu: str
    torch: str

    @classmethod
    def here(cls) -> Context:
        """This moment, this checkout and this machine.

        A `+` after the commit: with changes that are not committed. No commit where there is no git.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        return cls(now, _commit(), _cpu(), os.cpu_count() or 1, _gpu(), version("torch"))


FIELDS = (
    *Context.__dataclass_fields__,
    *("threads", "benchmark", "case", "metric", "value", "unit", "repeats"),
)


def rows(benchmark: str, results: Iterable[Result], context: Context) -> list[dict[str, object]]:
    """The results as plain data with the fields of the ledger."""
    flat = ({**asdict(context), "benchmark": benchmark, **asdict(r), "value": float(f"{r.value:.5g}")} for r in results)
    return [{field: row[field] for field in FIELDS} for row in flat]


def record(new: list[dict[str, object]], path: Path = LEDGER) -> None:
    """Append rows to the ledger."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerows(new)


def table(title: str, results: list[Result]) -> Table:
    """One line a case, one column a metric."""
    out = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    metrics = list(dict.fromkeys((r.metric, r.unit) for r in results))
    out.add_column("case", no_wrap=True)
    out.add_column("threads", justify="right")
    for metric, unit in metrics:
        out.add_column(f"{metric}\n{unit}", justify="right")
    cells = {(r.case, r.threads, r.metric, r.unit): f"{r.value:.4g}" for r in results}
    for case, threads in dict.fromkeys((r.case, r.threads) for r in results):
        out.add_row(case, str(threads), *(cells.get((case, threads, *metric), "") for metric in metrics))
    return out


def _commit() -> str:
    if shutil.which("git") is None:
        return ""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
