"""Pages of the examples: each script and notebook of `examples/` as a page with its code."""

from __future__ import annotations

import ast
import json
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example_pages() -> dict[str, tuple[str, str]]:
    """The pages: place in the site and text, by the file in the repository."""
    pages = {"*.py": _script_page, "*.ipynb": _notebook_page}
    return {
        f"examples/{path.name}": (f"examples/{path.stem}.md", page(path))
        for pattern, page in pages.items()
        for path in sorted(EXAMPLES.glob(pattern))
    }


def _script_page(path: Path) -> str:
    code = path.read_text(encoding="utf-8")
    title = (ast.get_docstring(ast.parse(code)) or path.stem).splitlines()[0].rstrip(".")
    return f"# {title}\n\n`examples/{path.name}`\n\n```python\n{code}```\n"


def _notebook_page(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [("".join(cell["source"]), cell["cell_type"] == "code") for cell in cells]
    first, *others = [f"```python\n{text}\n```" if is_code else text for text, is_code in texts]
    return "\n\n".join([first, f"`examples/{path.name}`", *others]) + "\n"
