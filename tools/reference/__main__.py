"""`make reference`: write every page and README.md's sample anew."""

from __future__ import annotations

from tools.reference import FOLDER, readme
from tools.reference.pages import PAGES


def main() -> None:
    for name, render in PAGES.items():
        path = FOLDER / f"{name}.md"
        path.write_text(render())
        print(path)
    readme.README.write_text(readme.render())
    print(readme.README)


if __name__ == "__main__":
    main()
