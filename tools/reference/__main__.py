"""`make reference`: write every page anew."""

from __future__ import annotations

from tools.reference import FOLDER
from tools.reference.pages import PAGES


def main() -> None:
    for name, render in PAGES.items():
        path = FOLDER / f"{name}.md"
        path.write_text(render())
        print(path)


if __name__ == "__main__":
    main()
