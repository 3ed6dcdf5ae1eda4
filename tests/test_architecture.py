"""The house rules that a test can hold: import arrows, sizes, and a command line that starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "speech"

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"config"}),
    frozenset({"kernels"}),
    frozenset({"streaming"}),
    frozenset({"audio"}),
    frozenset({"asr", "flow", "vocoder"}),
    frozenset({"content"}),
    frozenset({"tts", "vc"}),
    frozenset({"hub"}),
    frozenset({"__init__"}),
    frozenset({"serve", "cli"}),
)
"""Rooms from the ground up, as in docs/architecture.md; `__init__` is the public API."""

FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
GROUND = ("torch", "triton")
HEAVY = {"torch", "numpy", "soundfile", "sounddevice", "soxr", "safetensors", "sentencepiece", "huggingface_hub"}
MAX_LINES, MAX_FUNCTION, MAX_NAMES = 400, 80, 20


def sources(*folders: str) -> list[Path]:
    """All Python files of the project below `folders`."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def room(path: Path) -> str:
    """The room of a file of the package: its top folder, or its own name on the top floor."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, late imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: expected an absolute import"
            assert node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def target(name: str) -> str:
    """The room that the import of `speech...` enters; a name of the public API enters `__init__`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else "__init__"


def test_the_floors_are_those_of_the_plan() -> None:
    plan = " ".join((ROOT / "docs/architecture.md").read_text().split())
    assert (
        "kernels < streaming < audio < asr, flow, vocoder < content < tts, vc < hub < API < serve, cli, recipes" in plan
    )
    assert {room(path) for path in sources("speech")} <= FLOOR.keys()


def test_rooms_import_from_below_only() -> None:
    wrong = []
    for path in sources("speech"):
        for line, name in imports(path):
            if name.split(".")[0] in {"recipes", "benchmarks", "tests"}:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
            if name.split(".")[0] != "speech" or target(name) == room(path):
                continue
            if FLOOR[target(name)] >= FLOOR[room(path)]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} ({room(path)}) imports {name}")
    assert not wrong, "\n".join(wrong)


def test_kernels_import_torch_and_triton_only() -> None:
    wrong = []
    for path in sources("speech/kernels"):
        for line, name in imports(path):
            top = name.split(".")[0]
            own = name.startswith("speech.kernels")
            if not own and top not in GROUND and top not in sys.stdlib_module_names:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_files_and_functions_are_short() -> None:
    wrong = []
    for path in sources("speech", "recipes", "benchmarks", "tests"):
        text = path.read_text()
        if len(text.splitlines()) > MAX_LINES:
            wrong.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_environment_is_read_in_one_place() -> None:
    wrong = []
    for path in sources("speech", "recipes", "benchmarks"):
        if path == PACKAGE / "config.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if named in {"environ", "environb", "getenv", "getenvb"}:
                wrong.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")
    assert not wrong, "\n".join(wrong)


def test_public_names_are_few_and_real() -> None:
    import speech

    assert 0 < len(speech.__all__) <= MAX_NAMES
    assert all(getattr(speech, name) is not None for name in speech.__all__)


@pytest.mark.parametrize("verb", ["", "transcribe", "align", "listen", "say", "synthesize", "models", "train", "bench"])
def test_help_starts_without_heavy_libraries(verb: str) -> None:
    code = (
        "import sys\nfrom speech.cli.main import main\n"
        f"try: main({[*verb.split(), '--help']!r})\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
