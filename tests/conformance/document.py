"""The programs and configurations of docs/integrating.md, as they stand there."""

import pathlib
import re

from service import expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "integrating.md"
# A fence whose first line, a comment, begins with a file's name.
NAMED = re.compile(r"^```\w+\n(?:#|//) ([a-z_]+\.[a-z]+)\b[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks():
    """The named blocks of the page, by name."""
    return {name: text for name, text in NAMED.findall(PAGE.read_text())}


def block(name):
    found = blocks()
    expect(name in found, f"docs/integrating.md shows {name}, not only {sorted(found)}")
    return found[name]


def rust_is_shown():
    """What cargo builds is what the page shows."""
    program = (ROOT / "docs" / "examples" / "resource_server.rs").read_text()
    expect(f"```rust\n{program}```" in PAGE.read_text(), "docs/integrating.md shows the program in Rust")
