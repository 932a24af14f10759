"""Execute docs/notebook.ipynb and keep what it shows: `python docs/run_notebook.py`, in the repository's environment.

The plots and the numbers of the notebook are those of such a run. Lines that name folders of this machine are left out.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
CELL_TIMEOUT_S = 1800


def execute(folder: Path, variables: dict[str, str] | None = None) -> nbformat.NotebookNode:
    """The notebook, run in `folder` by a kernel of this Python; a cell that raises ends it with CellExecutionError."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": path} | (variables or {})
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3")
    client.execute(cwd=str(folder), env=env)
    return notebook


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Keep what a reader looks at: no stderr, no lines with folders of this machine, no times."""
    for cell in notebook.cells:
        cell.get("metadata", {}).clear()
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if output.output_type == "stream":
                lines = output.text.splitlines(keepends=True)
                output.text = "".join(line for line in lines if not any(word in line for word in (" /", "(/", "built")))
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(Path(folder))
    tidy(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    sys.exit(main())
