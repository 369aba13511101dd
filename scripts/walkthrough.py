"""What the quickstart shows, step by step, on a real deployment: the error, the cache that cures it, the wrapper.

    walkthrough.py DIRECTORY [CACHE]

It runs in the environment that scripts/quickstart has made in DIRECTORY. Lines that begin with "$ " are what an
administrator would type.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # where what builds real sites lies

from support import deployment
from support.deployment import Deployment, DeploymentError

ROOTS = Path("/var/cache/eggcache-quickstart")  # a place that nobody but root can change, and others can read
OWNER = "clone"  # the file in it that says for which clone it was made
MISSING = 5  # eggcache's exit status where a required distribution is missing

RESOURCES = '''\
"""Ask pkg_resources for every file of the distributions named, as an application asks for its resources."""
import os, sys
import pkg_resources

count = 0
for name in sys.argv[1:]:
    top = pkg_resources.resource_filename(pkg_resources.Requirement.parse(name), "")
    for directory, _, files in os.walk(top):
        for file in files:
            open(os.path.join(directory, file), "rb").close()
            count += 1
print("%d files of %d eggs, from %s" % (count, len(sys.argv) - 1, os.path.dirname(top)))
'''


def say(text: str = "") -> None:
    print(text, flush=True)


@contextmanager
def patiently(text: str) -> Iterator[None]:
    """Say what is done, with a dot for each two seconds of it."""
    print(text, end=" ", flush=True)
    ended = threading.Event()

    def dots() -> None:
        while not ended.wait(2):
            print(".", end="", flush=True)

    ticking = threading.Thread(target=dots, daemon=True)
    try:
        ticking.start()
        yield
    finally:
        ended.set()
        if ticking.is_alive():  # not where Ctrl-C came before it began
            ticking.join()
        say()


def step(text: str) -> None:
    say(f"\n== {text}")


def type_in(*command: str | os.PathLike[str], expected: Sequence[int] = (0,)) -> int:
    """Show a command and run it. Raises DeploymentError where it ends with a status that is not expected."""
    words = [os.fspath(word) for word in command]
    say(f"$ {shlex.join([os.path.basename(words[0]), *words[1:]])}")
    status = subprocess.run(words, check=False).returncode
    if status not in expected:
        raise DeploymentError(f"{shlex.join(words)} ended with exit status {status}")
    return status


def place(own: Path) -> Path:
    """Where the deployment is built: in our own directory, or as root in one that others can search.

    Raises DeploymentError where that one is somebody else's.
    """
    if os.geteuid() != 0 or deployment.others_can_use(own):
        return own / "deployment"
    directory = roots(own)
    say(f"Other users cannot search {own}: the deployment is built in {directory}.")
    return directory


def roots(own: Path) -> Path:
    """Root's own directory outside of the clone, one for each clone: eggs of two clones have the same names and other
    dates, and no cache can serve both. Raises DeploymentError where none can be made."""
    made = outside(own)
    if made:
        return made[0]
    for number in itertools.count(1):
        directory = ROOTS.with_name(f"{ROOTS.name}-{number}") if number > 1 else ROOTS
        try:
            directory.mkdir(mode=0o755)
        except FileExistsError:
            continue
        except OSError as error:
            raise DeploymentError(f"{directory}: cannot be made: {error.strerror}") from None
        break
    directory.chmod(0o755)
    (directory / OWNER).write_text(f"{own}\n")
    return directory


def outside(own: Path) -> list[Path]:
    """What roots() has made for this clone, and nobody else."""
    directories = []
    for directory in sorted(ROOTS.parent.glob(f"{ROOTS.name}*")):
        info = directory.lstat()
        if stat.S_ISDIR(info.st_mode) and info.st_uid == 0 and not info.st_mode & 0o022:
            record = directory / OWNER
            if record.is_file() and record.read_text() == f"{own}\n":
                directories.append(directory)
    return directories


def undoing(own: Path, asked: str | None) -> str:
    """The command that removes what there is of this clone's. A cache in a directory that somebody named is removed by
    eggcache, which takes away no more than it has made."""
    made = [own, *(outside(own) if os.geteuid() == 0 else [])]
    command = shlex.join(["rm", "-r", *map(str, made)])
    if asked and os.path.lexists(asked) and not set(Path(asked).parents) & set(made):
        command = f"{shlex.join([str(own / 'venv/bin/eggcache'), 'remove', asked])}; {command}"
    return command


def build(where: Path) -> tuple[Deployment, str, list[str]]:
    """The deployment, its root requirement, and some of the distributions that it pulls in."""
    if deployment.installed("2.7"):
        names = ["TurboGears", "CherryPy", "FormEncode", "Genshi", "kid", "simplejson", "tgMochiKit"]
        with patiently(f"Building TurboGears 1.1.3 for CPython 2.7 as zipped eggs in {where} ..."):
            return deployment.turbogears1(where), "TurboGears", names
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    setuptools = "65.7.0" if sys.version_info < (3, 12) else "75.8.0"
    names = ["TurboGears2", "WebOb", "MarkupSafe", "crank", "repoze.lru"]
    with patiently(f"There is no python2.7: building TurboGears2 for Python {version} as zipped eggs in {where} ..."):
        return deployment.turbogears2(version, where, setuptools), "TurboGears2", names


def demonstrate(script: Path, made: Deployment, user: str | None, env: Mapping[str, str], names: Sequence[str]) -> int:
    """Run the script as `user`, show its result or the error itself without the way to it, and return its status."""
    command = [str(made.python), "-W", "ignore", str(script), *names]
    words = [*(["sudo", "-u", user] if user else []), *(f"{name}={value}" for name, value in env.items()), *command]
    say(f"$ {shlex.join(words)}")
    result = deployment.run(command, user=user, env={**zone(), **env}, check=False)
    error = re.search(r"^\S*ExtractionError.*", result.stderr, re.DOTALL | re.MULTILINE)
    say((error.group() if error else result.stdout + result.stderr).strip())
    return result.returncode


def zone() -> dict[str, str]:
    """The caller's time zone, which the cache is prepared for."""
    return {"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}


def listing(top: str) -> dict[str, tuple[int, ...]]:
    """Everything below `top`, with what would change if anybody wrote there."""
    paths = [top]
    for directory, below, names in os.walk(top):
        paths += [os.path.join(directory, name) for name in below + names]
    infos = {path: os.lstat(path) for path in paths}
    return {p: (i.st_ino, i.st_mode, i.st_uid, i.st_size, i.st_mtime_ns, i.st_ctime_ns) for p, i in infos.items()}


def attempts(
    script: Path, made: Deployment, user: str | None, cache: str, names: Sequence[str], trace: Path
) -> list[str] | None:
    """The system calls that try to write anything, seen by strace; None where it is not here, or not allowed."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    calls = (
        "open openat creat mkdir mkdirat rename renameat renameat2 chmod fchmod fchmodat chown fchown lchown fchownat "
        "unlink unlinkat rmdir link linkat symlink symlinkat truncate ftruncate utimensat"
    )
    watching: list[str | os.PathLike[str]] = [strace, "-f", "-o", trace]
    watching += ["-e", "trace=" + ",".join(f"?{call}" for call in calls.split())]
    if deployment.run([*watching, "true"], check=False).returncode != 0:
        return None
    as_user = ["-u", user] if user else []
    with patiently("Once more, with strace looking on ..."):
        deployment.run(
            [*watching, *as_user, made.python, "-W", "ignore", script, *names],
            env={**zone(), "PYTHON_EGG_CACHE": cache},
        )
    lines = [line for line in trace.read_text(errors="replace").splitlines() if "(" in line and '"/dev/' not in line]
    trace.unlink()
    reading = re.compile(r"^\d+ +open(at)?\(")
    return [line for line in lines if not reading.match(line) or re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", line)]


def walk(own: Path, asked: str | None = None) -> None:
    """All of it, with the egg cache in `asked`, or in a directory of its own. Raises DeploymentError where a step
    fails."""
    from eggcache.servers import apache
    from eggcache.system import accounts

    eggcache = own / "venv" / "bin" / "eggcache"
    where = place(own)
    cache = asked or str((own if os.geteuid() else roots(own)) / "egg-cache")
    made, root, names = build(where)
    lacking = root == "TurboGears"
    target = ["--python", str(made.python)]
    requirement = [] if root == "TurboGears" else [root]
    host = apache.read()
    user, runtime = None, []
    if os.geteuid() == 0:
        user = accounts.lookup(host.user or "nobody").name
        runtime = [] if host.user else ["--user", user]
    script = where / "resources.py"
    script.write_text(RESOURCES)
    script.chmod(0o644)

    step("The tree, as the target's own pkg_resources resolves it")
    say(f"$ PATH={shlex.quote(str(eggcache.parent))}:$PATH")
    type_in(eggcache, "tree", *requirement, *target, expected=(0, MISSING))
    if lacking:
        say("(PEAK-Rules is on no index today: eggcache names it, does all the rest, and ends with exit status 5.)")

    reader = f"the user {user}" if user else "this user"  # who may be called nobody
    step(f"The error: {reader} asks for resources, and may write nowhere")
    unwritable = where / "unwritable"
    denied = {} if user else {"PYTHON_EGG_CACHE": str(unwritable)}
    if not user:
        unwritable.mkdir(mode=0o555, exist_ok=True)
    status = demonstrate(script, made, user, denied, names)
    if status == 0:
        raise DeploymentError("there should have been an ExtractionError")
    if not user:
        unwritable.rmdir()  # rm -r would ask about it

    if user:
        step(f"The cure: everything extracted once, where {reader} can read it and only root can write")
    else:
        step("The cure: everything extracted once, so that nothing is left to write")
    status = type_in(eggcache, "prepare", cache, *requirement, *target, *runtime, expected=(0, MISSING))
    if status == MISSING:
        say("(Exit status 5, by design: what is missing was said, what is there is prepared.)")

    step("The same user again")
    before = listing(cache)
    if demonstrate(script, made, user, {"PYTHON_EGG_CACHE": cache}, names) != 0:
        raise DeploymentError(f"{cache} does not serve {reader}")
    if listing(cache) != before:
        raise DeploymentError(f"something was written to {cache}")
    say(f"Nothing was written: {len(before)} files and directories, every time and inode as before.")
    tried = attempts(script, made, user, cache, names, where / "trace")
    if tried:
        raise DeploymentError("strace saw attempts to write:\n" + "\n".join(tried))
    if tried is not None:
        say("strace saw no attempt to create, write, rename, chmod or remove anything.")

    step("Next: the same for your own site, whose Python --python names")
    site, apache_cache = "--python /srv/mysite/bin/python", "/var/cache/eggcache"
    for words, what in (
        (f"tree {site}", "what is zipped, and what is missing"),
        (f"prepare {apache_cache} {site}", "as root: extract it once"),
        (f"check --cache {apache_cache}", "does Apache's user get all of it?"),
        (f"wrapper {apache_cache}", "what starts Apache with it, on this host"),
    ):
        say(f"$ eggcache {words}".ljust(71) + f" # {what}")

    say(f"\nTo undo it: {undoing(own, asked)}")
    packages = own / "packages"  # what scripts/quickstart had to install, in this run or an earlier one
    if packages.exists():
        say(f"and: {shlex.join(['apt-get', 'remove', *dict.fromkeys(packages.read_text().split())])}")
    downloads = deployment.download_cache()
    if not downloads.exists():  # what was built before needs none
        return
    if os.environ.get("EGGCACHE_DOWNLOADS"):  # somebody's own place, who may have more in it
        say(f"What it downloaded is in {downloads}, and stays.")
    else:
        remove_downloads = shlex.join(["rm", "-r", str(downloads)])
        say(f"and what it downloaded, which the tests of eggcache use as well: {remove_downloads}")


def main() -> int:
    own, asked = Path(sys.argv[1]), os.path.abspath(sys.argv[2]) if sys.argv[2:] else None
    try:
        walk(own, asked)
    except DeploymentError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        remedy = f"run it again and it goes on, or undo it: {undoing(own, asked)}"
        print(f"\nquickstart: interrupted: {remedy}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
