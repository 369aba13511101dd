"""Eggs with everything that bdist_egg knows, as a deployment's own setuptools builds them; rounds of uploaded ones."""

from __future__ import annotations

import re
import subprocess
import zipfile
from collections import defaultdict
from pathlib import Path

from support.deployment import Deployment
from support.judge import environment


def rounds(eggs: dict[str, Path], python: str) -> list[list[Path]]:
    """The eggs of that Python's generation, so that no two of one project, which would hide each other, meet."""
    seen: dict[str, list[Path]] = defaultdict(list)
    for name, path in sorted(eggs.items()):
        tag = re.search(r"-py([23])\.\d", name)
        if (tag[1] if tag else "2") == python[0]:
            seen[re.split(r"-\d", name)[0].lower()].append(path)
    return [
        [paths[turn] for paths in seen.values() if turn < len(paths)] for turn in range(max(map(len, seen.values())))
    ]


SETUP = """
from setuptools import setup, Extension
setup(
    name="Probe", version="1.0", packages=["probe", "probe.ns", "probe.ns.deep"], namespace_packages=["probe"],
    package_data={"probe.ns": ["data/*.txt", "data/empty", "data/sub/*", "eager/*"]},
    eager_resources=["probe/ns/eager/one.txt", "probe/ns/eager/two.txt"],
    ext_modules=[Extension("probe.ns._native", ["native.c"])], zip_safe=True,
)
"""


NATIVE = """
#include <Python.h>
static PyMethodDef methods[] = {{NULL, NULL, 0, NULL}};
#if PY_MAJOR_VERSION < 3
PyMODINIT_FUNC init_native(void) { PyModule_AddIntConstant(Py_InitModule("_native", methods), "answer", 42); }
#elif defined(MULTI)
static int fill(PyObject *module) { return PyModule_AddIntConstant(module, "answer", 42); }
static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, 0, methods, slots};
PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
#else
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, methods};
PyMODINIT_FUNC PyInit__native(void) {
    PyObject *made = PyModule_Create(&module);
    PyModule_AddIntConstant(made, "answer", 42);
    return made;
}
#endif
"""


STABLE = ', py_limited_api=True, define_macros=[("Py_LIMITED_API", "0x03050000")]'
NAMESPACE = "__import__('pkg_resources').declare_namespace(__name__)\n"


def build(deployment: Deployment, where: Path, *, multi: bool = False, stable: bool = False) -> Path:
    """The Probe egg as the deployment's own setuptools builds it: data, eager resources, an empty file, a namespace
    package and a native module. That initialises in phases, or has the stable ABI, where it is said."""
    source = where / "source"
    for name, text in {
        "setup.py": SETUP.replace('"native.c"]', f'"native.c"]{STABLE if stable else ""}'),
        "native.c": ("#define MULTI 1\n" if multi else "") + NATIVE,
        "probe/__init__.py": NAMESPACE,
        "probe/ns/__init__.py": "",
        "probe/ns/deep/__init__.py": "value = 1\n",
        "probe/ns/data/text.txt": "text\n",
        "probe/ns/data/empty": "",
        "probe/ns/data/sub/more.txt": "more\n" * 10000,
        "probe/ns/eager/one.txt": "one\n",
        "probe/ns/eager/two.txt": "two\n",
    }.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    subprocess.run(
        [str(deployment.python), "-W", "ignore", "setup.py", "-q", "bdist_egg"],
        cwd=source,
        env=environment({"PYTHONPATH": ""}),
        check=True,
        capture_output=True,
        timeout=300,
    )
    (egg,) = (source / "dist").glob("*.egg")
    assert zipfile.is_zipfile(egg)
    return egg
