"""`make reference`: write every page and README.md's sample anew."""

from __future__ import annotations

import sys

from local.command import interruptible, no_arguments
from tools.reference import FOLDER, readme
from tools.reference.pages import PAGES


def main() -> None:
    no_arguments("tools.reference", "Write the reference pages anew.")
    for name, render in PAGES.items():
        path = FOLDER / f"{name}.md"
        path.write_text(render())
        print(path)
    readme.README.write_text(readme.render())
    print(readme.README)


if __name__ == "__main__":
    sys.exit(interruptible(main))
