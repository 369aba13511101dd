"""eggcache's metadata. Everything else that tools need to know is in pyproject.toml."""

import re
import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup

from distutils.command.install_data import install_data  # isort: skip - setuptools brings its own distutils

here = Path(__file__).resolve().parent
version = re.search(r'^__version__ = "(.+)"', (here / "eggcache/__init__.py").read_text(), re.M).group(1)

MADE = here / "build" / "share"  # by scripts/share.py, from the parser of the source that is installed
SHARED = (
    "man/man1/eggcache.1",
    "bash-completion/completions/eggcache",
    "zsh/site-functions/_eggcache",
    "fish/vendor_completions.d/eggcache.fish",
)


class InstallData(install_data):
    """Makes the manual page and the completions before they are installed."""

    def run(self):
        subprocess.run([sys.executable, "-B", str(here / "scripts" / "share.py"), str(MADE)], check=True)
        super().run()


setup(
    name="eggcache",
    version=version,
    description="Zipped Python eggs behind Apache: unzip them, or pre-extract them into a locked-down egg cache",
    long_description=(here / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    author="The eggcache developers",
    license="MIT",
    keywords="egg cache PYTHON_EGG_CACHE ExtractionError pkg_resources mod_python mod_wsgi TurboGears",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: Web Environment",
        "Framework :: TurboGears",
        "Intended Audience :: System Administrators",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: System :: Software Distribution",
        "Topic :: System :: Systems Administration",
    ],
    packages=find_packages(include=["eggcache", "eggcache.*"]),
    # inside/ and templates/ are read as text: they run elsewhere, and have no __init__.py on purpose.
    package_data={"eggcache": ["target/inside/*.py", "wrappers/templates/*", "unzip/*.sh", "py.typed", "schema.json"]},
    data_files=[(f"share/{Path(name).parent}", [f"build/share/{name}"]) for name in SHARED],
    cmdclass={"install_data": InstallData},
    python_requires=">=3.9",
    # Imported when they are needed: wheel and packaging by eggcache wheels alone, configobj by check --app-config where
    # the target has none of its own.
    install_requires=["configobj>=5", "filelock>=3.12", "packaging>=22.0", "rich>=13", "wheel>=0.38.4"],
    extras_require={"fast": ["zlib-ng"]},
    entry_points={"console_scripts": ["eggcache = eggcache.cli.entry_point:program"]},
    zip_safe=True,
)
