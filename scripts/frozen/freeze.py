"""Writes parts.bin and parts.h for program.c: all modules that eggcache imports, and what else it reads.

    python freeze.py EGGCACHE LIBRARIES STDLIB

Run by the Python that will be in the program: the code of the modules is for that release alone. EGGCACHE is the
directory of the source, LIBRARIES that of what zipapp.txt names, STDLIB that of the Python's own modules.
"""

import importlib
import marshal
import sys
from modulefinder import ModuleFinder
from pathlib import Path

BEFORE = ("encodings", "encodings.aliases", "encodings.utf_8")  # imported before start.py can find anything
# What modules name that eggcache uses, for a part of theirs that it does not use
WITHOUT = (
    "IPython", "_ctypes", "_ssl", "attr", "bdb", "bz2", "cmd", "code", "curses", "doctest",
    "distutils", "ftplib", "getpass", "http", "ipywidgets", "lzma", "markdown_it", "multiprocessing", "optparse", "pdb",
    "pip", "pkg_resources", "pydoc", "pydoc_data", "pygments", "setuptools", "socketserver", "sqlite3", "ssl", "test",
    "tkinter", "tty", "unittest", "webbrowser", "xmlrpc", "zlib_ng",
)  # fmt: skip


def main(eggcache: Path, libraries: Path, stdlib: Path) -> None:
    here = Path(__file__).parent
    path = [str(here), str(eggcache), str(libraries), str(stdlib)]
    finder = ModuleFinder(path, excludes=[*WITHOUT])
    finder.run_script(str(here / "start.py"))
    sys.modules.update(dict.fromkeys(WITHOUT))  # none of these can be imported
    sys.modules["_program"] = type(sys)("_program")  # program.c has it
    sys.path[:] = path
    sys.dont_write_bytecode = True
    for file in sorted((eggcache / "eggcache").rglob("*.py")):  # some are imported by a name that is put together
        name = ".".join(file.relative_to(eggcache).with_suffix("").parts).replace(".__init__", "")
        if "inside" not in file.parts:
            finder.import_hook(name)
        if "inside" not in file.parts and file.name != "__main__.py":
            importlib.import_module(name)  # fails where it needs what is left out
    for encoding in (stdlib / "encodings").glob("*.py"):
        finder.import_hook(f"encodings.{encoding.stem}")
    files = {name: Path(found.__file__) for name, found in finder.modules.items() if found.__file__}
    start = compiled(here / "start.py", "start.py")
    del files["__main__"]

    parts = Parts()
    frozen = [
        (name, *parts.add(compiled(files[name], inside(name, files[name]))), is_package(files[name])) for name in BEFORE
    ]
    frozen.append(("_start", *parts.add(start), False))
    index = {inside(name, path): parts.add(compiled(path, inside(name, path))) for name, path in sorted(files.items())}
    for top in (eggcache / "eggcache", libraries):
        for path in sorted(top.rglob("*")):
            name = path.relative_to(top.parent if top.name == "eggcache" else top).as_posix()
            wanted = path.is_file() and "__pycache__" not in path.parts and name not in index
            if top is libraries:
                wanted = wanted and (path.name == "METADATA" or "LICEN" in name.upper()) and ".dist-info/" in name
            if wanted:
                index[f"data:{name}"] = parts.add(path.read_bytes())
    offset, size = parts.add(marshal.dumps(index))
    Path("parts.bin").write_bytes(parts.data)
    with open("parts.h", "w", encoding="ascii") as header:
        header.write(f"#define PARTS_SIZE {len(parts.data)}\n#define INDEX {offset}\n#define INDEX_SIZE {size}\n")
        header.write("#define FROZEN \\\n")
        for name, start_at, length, package in frozen:
            header.write(f'    {{"{name}", parts + {start_at}, {length}, {int(package)}, NULL}}, \\\n')
        header.write("\n")


class Parts:
    """What is put together, one after the other."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, data: bytes) -> "tuple[int, int]":
        """Add something, and say where it is."""
        self.data += data
        return len(self.data) - len(data), len(data)


def compiled(path: Path, name: str) -> bytes:
    return marshal.dumps(compile(path.read_bytes(), name, "exec", dont_inherit=True, optimize=0))


def inside(name: str, path: Path) -> str:
    """The path of a module in the program."""
    return name.replace(".", "/") + ("/__init__.py" if is_package(path) else ".py")


def is_package(path: Path) -> bool:
    return path.name == "__init__.py"


main(*(Path(word).resolve() for word in sys.argv[1:]))
