"""An image with a cache, by a real buildah: what `wrapper --for docker` prints is built, and so is the Dockerfile that
the page has for an old distribution; what keeps a cache current on its way into an image, and what outdates it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import ROOT, deployment, images
from support.archives import tree
from support.images import Builder
from support.judge import eggcache
from support.parts import built
from support.sites import write_egg

PAGE = (ROOT / "docs" / "howto" / "docker.rst").read_text()
CACHE = "/var/cache/eggcache"
EPOCH = "1300000000"  # of 2011; the eggs are of 2009
PROOF = next(line.strip() for line in PAGE.splitlines() if line.startswith("    RUN su -s "))
NUMBER = "1000620000"  # as OpenShift gives them
PROVEN = (0, "4 files of 1 egg, as apache: all current, nothing to write")


@pytest.fixture
def builder(checkout: Path, python: Path, where: Path, shared_tmp: Path, tmp_path: Path) -> Builder:
    """Images with eggcache, with Python 2.7 and with busybox's su; an egg for 2.7 lies beside the Dockerfile."""
    images.require()
    old = built(lambda: deployment.target("2.7", "44.1.1", where))
    made = Builder(
        shared_tmp / "context", tmp_path / "storage", [where],
        {
            "eggcache": f'PYTHONPATH={checkout} exec {python} -m eggcache "$@"',
            "python2.7": f'exec {old.python} "$@"',
            "su": 'exec /bin/busybox su "$@"',
        },
    )  # fmt: skip
    eggs = made.context / "eggs"
    eggs.mkdir()
    write_egg(eggs / "Shop-1.0-py2.7.egg", {"shop/__init__.py": "", "shop/a.css": "a", "shop/b.css": "b"})
    return made


def dockerfile(end: str = "") -> str:
    """The page's for an old distribution, from nothing in place of what a registry has, and what comes at its end."""
    block = next(part for part in re.split(r"\.\. code-block:: docker\n", PAGE) if part.startswith("\n    FROM "))
    lines = [line.strip() for line in re.match(r"(?:\n|    .*\n)+", block)[0].splitlines()]
    left = [line for line in lines if line and not re.match("COPY eggcache |RUN pip |RUN yum ", line)]
    text = "\n".join(re.sub(r"^FROM \S+(.*)", r"FROM scratch\1\nCOPY etc /etc", line) for line in left)
    assert text.count("FROM scratch") == 2
    return f"{text}\n{end}\n"


def proven(builder: Builder, text: str, *options: str, env: Mapping[str, str] = {}) -> tuple[int, str]:
    """What the archive's verifier says in a container of the image that is built of this text: its status, its line."""
    image = builder.build("shop", text, *options, env=env)
    assert image.returncode == 0, image.stdout + image.stderr
    result = builder.run("shop", "/bin/sh", "-c", PROOF.removeprefix("RUN "))
    return result.returncode, (result.stdout or result.stderr).strip().partition("\n")[0]


def archived(builder: Builder) -> None:
    """Put the archive of the page beside the Dockerfile, and in `extracted` what root makes of it."""
    archive = builder.context / "cache.tar"
    words = re.findall(r"RUN eggcache archive \S+ --eggs-in \S+ (.*)", PAGE)[0].split()
    result = eggcache("archive", archive, "--eggs-in", builder.context / "eggs", *words)
    assert result.returncode == 0, result.stderr
    (builder.context / "extracted").mkdir()
    subprocess.run(["tar", "-xpf", archive, "-C", builder.context / "extracted"], check=True)


def after(instruction: str) -> str:
    """A Dockerfile that gets the cache by this instruction."""
    before = "FROM scratch\nCOPY etc /etc\nCOPY eggs /srv/app/eggs\n"
    return f"{before}{instruction}\nENV PYTHON_EGG_CACHE={CACHE} TZ=UTC0\n"


@pytest.mark.parametrize("epoch", ["", EPOCH])
def test_the_page_for_an_old_distribution(builder: Builder, epoch: str) -> None:
    """Its Dockerfile builds an image whose own Python 2.7 proves the cache, in a container of it as well;
    SOURCE_DATE_EPOCH alone changes nothing about that."""
    assert proven(builder, dockerfile(PROOF), env={"SOURCE_DATE_EPOCH": epoch} if epoch else {}) == PROVEN


def test_an_archive_beside_the_dockerfile(builder: Builder) -> None:
    """ADD of the archive makes what tar makes of it, owners and times too; COPY of what somebody extracted makes all of
    it root's with root's group, which nobody else can read."""
    archived(builder)
    extracted = tree(builder.context / "extracted" / CACHE[1:])
    assert {entry[2] for name, entry in extracted.items() if name != ".eggcache.lock"} == {48}
    assert proven(builder, after("ADD cache.tar /")) == PROVEN
    assert tree(builder.root("shop") / CACHE[1:]) == extracted
    status, line = proven(builder, after("COPY extracted /"))
    assert (status, "Permission denied" in line) == (2, True)
    copied = tree(builder.root("shop") / CACHE[1:])
    assert copied == {name: (mode, 0, 0, *rest) for name, (mode, _, _, *rest) in extracted.items()}


def test_times_that_are_changed_when_an_image_is_written(builder: Builder) -> None:
    """--timestamp makes each file outdated after the last line of the build, whose proof passes; a container tells it.
    With --layers that line fails."""
    status, line = proven(builder, dockerfile(PROOF), "--timestamp", EPOCH)
    assert (status, line.startswith(f"member-outdated: {CACHE}/")) == (3, True)
    assert "it is of 2011-03-13 07:06:40, the egg's is of 2009-06-15 12:00:00 (and 3 more of " in line
    result = builder.build("shop", dockerfile(PROOF), "--timestamp", EPOCH, "--layers")
    assert (result.returncode, "\nmember-outdated: " in result.stdout) == (3, True)


def test_what_wrapper_prints_for_docker(builder: Builder, python: Path, checkout: Path) -> None:
    """Built, it prepares; in a container all is current, locked down, and found by nothing but the image's environment.
    Without its RUN there is no cache."""
    egg = write_egg(builder.context / "eggs" / "Shop-1.0-py3.11.egg", {"shop/__init__.py": "", "shop/a.css": "a"})
    words = ["--python", python, "--path", f"/srv/app/eggs/{egg.name}", "--user", "48", "--group", "48", "--tz", "UTC0"]
    code = {"PYTHONPATH": str(checkout)}
    emitted = eggcache("wrapper", CACHE, *words, "--for", "docker", env=code, python=str(python))
    assert emitted.returncode == 0, emitted.stderr
    before = after(f"ENV PYTHONPATH={checkout}\nRUN mkdir -p /var/cache").partition("ENV PYTHON_EGG_CACHE")[0]
    for text, status in ((re.sub("(?m)^RUN .*", "", emitted.stdout), 3), (emitted.stdout, 0)):
        image = builder.build("shop", before + text)
        assert image.returncode == 0, image.stdout + image.stderr
        result = builder.run("shop", "/bin/sh", "-c", shlex.join(["eggcache", "check", *map(str, words)]))
        assert result.returncode == status, result.stdout + result.stderr
    assert result.stdout == "3 files of 1 egg, as apache: all current, nothing to write\n"
    entries = tree(builder.root("shop") / CACHE[1:])
    assert {entry[:3] for name, entry in entries.items() if name[0] != "."} == {(0o040750, 0, 48), (0o100640, 0, 48)}


def test_number_without_an_account(builder: Builder, python: Path, checkout: Path) -> None:
    """A container that runs as a number which no /etc/passwd has runs with group 0: a cache that was built for that
    number is read by it, and one for another user is not."""
    egg = write_egg(builder.context / "eggs" / "Shop-1.0-py3.11.egg", {"shop/__init__.py": "", "shop/a.css": "a"})
    words = ["--python", python, "--path", f"/srv/app/eggs/{egg.name}", "--tz", "UTC0", "--for", "docker"]
    read = f"{CACHE}/{egg.name}-tmp/shop/a.css"
    for who in (["--user", NUMBER], ["--user", "48", "--group", "48"]):
        emitted = eggcache("wrapper", CACHE, *words, *who, env={"PYTHONPATH": str(checkout)}, python=str(python))
        assert emitted.returncode == 0, emitted.stderr
        before = after(f"ENV PYTHONPATH={checkout}\nRUN mkdir -p /var/cache").partition("ENV PYTHON_EGG_CACHE")[0]
        image = builder.build("shop", before + emitted.stdout)
        assert image.returncode == 0, image.stdout + image.stderr
        # buildah may lose what a command has printed that ends with another status than 0
        result = builder.run("shop", "/bin/sh", "-c", f"id -g; cat {read}; echo $?", user=NUMBER)
        assert result.stdout == ("0\na0\n" if NUMBER in who else "0\n1\n"), result.stderr
