"""Check the pages: internal links resolve, headings they point at exist, Python blocks compile."""  # noqa: INP001 - a program

from __future__ import annotations

import ast
import doctest
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

__all__ = ["check_page", "check_pages", "pages"]

_FENCE = re.compile(r"^([ ]*)(```+|~~~+)[ ]*(\w*)[^\n]*\n(.*?)^\1\2[ ]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[(?:[^\]\\]|\\.)*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6}[ ]+(.+?)[ ]*#*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
_CODE = re.compile(r"`[^`\n]*`")


def pages(root: Path) -> list[Path]:
    """List the Markdown pages of the project."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def check_pages(root: Path) -> list[str]:
    """Give every problem in every page, as ``path:line: problem``."""
    return [problem for page in pages(root) for problem in check_page(page, root)]


def check_page(page: Path, root: Path) -> list[str]:
    """Give every problem of one page."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(root)
    found = [*_bad_code(text), *_bad_links(text, page)]
    return [f"{name}:{text.count(chr(10), 0, at) + 1}: {problem}" for at, problem in sorted(found)]


def _bad_code(text: str) -> Iterator[tuple[int, str]]:
    for block in _FENCE.finditer(text):
        if block[3] not in {"python", "py", "pycon"}:
            continue
        try:
            code = _without_prompts(textwrap.dedent(block[4]))
            compile(code, "<page>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            yield block.start(), f"Python block does not compile: {error}"


def _without_prompts(code: str) -> str:
    if not code.lstrip().startswith(">>>"):
        return code
    return "".join(example.source for example in doctest.DocTestParser().get_examples(code))


def _bad_links(text: str, page: Path) -> Iterator[tuple[int, str]]:
    # Code is blanked, not cut: what stands after it keeps its place.
    prose = _CODE.sub(_blank, _FENCE.sub(_blank, text))
    for link in _LINK.finditer(prose):
        target = link[1]
        if _ELSEWHERE.match(target):
            continue
        path, _, heading = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            yield link.start(), f"link to {target}: no such file"
        elif heading and file.suffix == ".md" and heading not in _anchors(file):
            yield link.start(), f"link to {target}: no such heading"


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _anchors(file: Path) -> set[str]:
    """Give the anchors that a Markdown page's headings get on the usual forges."""
    prose = _FENCE.sub(_blank, file.read_text(encoding="utf-8"))
    anchors: set[str] = set()
    for heading in _HEADING.findall(prose):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))
        slug = base = words.strip().lower().replace(" ", "-")
        number = 0
        while slug in anchors:
            number += 1
            slug = f"{base}-{number}"
        anchors.add(slug)
    return anchors


def main() -> int:
    """Print the problems; give the exit status."""
    root = Path(__file__).resolve().parents[1]
    problems = check_pages(root)
    for problem in problems:
        sys.stdout.write(problem + "\n")
    sys.stdout.write(f"{len(pages(root))} pages, {len(problems)} problems\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
