"""The first module of the program that scripts/binary makes: it finds the others in the program, and runs eggcache.

What it does is what zipimport does for an archive: a module's __file__ is a path below the program's own, and the
loader gives the bytes of what lies there.
"""

import marshal
import sys
from _frozen_importlib import ModuleSpec

import _program

_NAMES = marshal.loads(_program.part(_program.INDEX, _program.INDEX_SIZE))  # of each path: where its bytes are
_HERE = sys.executable + "/"


class Program:
    """Finds and loads the modules in the program."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # noqa: ARG004 - as the import system calls it
        """The module of that full name, or None."""
        file = name.replace(".", "/")
        package = file + "/__init__.py" in _NAMES
        file += "/__init__.py" if package else ".py"
        if file not in _NAMES:
            return None
        spec = ModuleSpec(name, Program, origin=_HERE + file, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations.append(spec.origin.rpartition("/")[0])
        return spec

    @staticmethod
    def create_module(spec):
        """None: as Python makes it."""

    @staticmethod
    def exec_module(module):
        """Run its code."""
        exec(Program.get_code(module.__name__), module.__dict__)

    @staticmethod
    def get_code(name):
        """The code of a module."""
        return marshal.loads(_program.part(*_NAMES[Program.find_spec(name).origin[len(_HERE) :]]))

    @staticmethod
    def get_source(name):
        """None: only its code is here."""

    @staticmethod
    def get_data(path):
        """The bytes of a file that is no module, by its path below the program's own."""
        name = path[len(_HERE) :] if path.startswith(_HERE) else path
        if "data:" + name not in _NAMES:
            raise FileNotFoundError(2, "not a part of the program", path)
        return bytes(_program.part(*_NAMES["data:" + name]))

    @staticmethod
    def find_distributions(context):
        """The libraries in the program, for importlib.metadata."""
        from importlib import metadata

        class Library(metadata.Distribution):
            def __init__(self, directory):
                self.directory = directory

            def read_text(self, filename):
                name = f"data:{self.directory}/{filename}"
                return bytes(_program.part(*_NAMES[name])).decode() if name in _NAMES else None

            def locate_file(self, path):
                raise FileNotFoundError(2, "not a file", path)

        wanted = context.name and metadata.Prepared(context.name).normalized
        for name in _NAMES:
            project, _, rest = name[len("data:") :].partition("-")
            if rest.endswith(".dist-info/METADATA") and wanted in (None, project.lower()):
                yield Library(name[len("data:") :].rpartition("/")[0])


sys.frozen = True  # as every packer says it
sys.argv[0] = sys.executable
sys.meta_path[2:] = [Program]  # behind what is built in and what is frozen
sys.path_hooks[:] = []

from eggcache.cli.entry_point import program  # noqa: E402

program()
