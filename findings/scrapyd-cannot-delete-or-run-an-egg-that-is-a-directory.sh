#!/usr/bin/env bash
# Scrapyd takes an unzipped egg for a version of a project, lists it, and can neither run a spider of it nor delete it:
# both end with IsADirectoryError.
#
# FilesystemEggStorage lists whatever is called *.egg. Its get() opens the egg as a file, and its delete() calls os.remove.
# So delversion.json answers with an error, and a spider that is scheduled ends before its first line. delproject.json
# deletes it, with all versions of the project. pkg_resources itself takes an egg that is a directory.
#
# Beside it: a spider has the PYTHON_EGG_CACHE that Scrapyd was started with. Where that cannot be written,
# pkg_resources.resource_filename ends with ExtractionError, and pkgutil.get_data reads the same file out of the zip.
# Up to Scrapyd 1.4.2 each spider runs from a copy of the egg in /tmp with a new name, shop-1-RANDOM.egg, and so has a
# new place in the egg cache. From 1.4.3 on it runs from eggs/shop/1.egg itself.
#
# For whom: administrators of Scrapyd who unzip eggs, or who set an egg cache for its spiders.
# Versions: Scrapyd 1.6.0, the storage and the runner of 1.4.2 and 1.4.3, and the storage of 1.2.1. With Scrapy 2.11.2,
# Twisted 24.3.0 and setuptools 80.9.0 on CPython 3.11.
# Seen: the lines of EXPECTED, at the end of this script, and no other.
# Source: scrapyd/eggstorage.py, scrapyd/environ.py and scrapyd/runner.py.
# Exit status: 0 it is so, 1 that has changed, 2 something is missing here.
set -eu
python=${PYTHON:-python3.11}
PYENV_VERSION=${PYENV_VERSION:-$(pyenv latest 3.11 2>/dev/null || true)}
export PYENV_VERSION
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHON_EGG_CACHE

lacking() { echo "this needs $1" >&2; exit 2; }
changed() { echo "changed: $1"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    lacking "CPython 3.11 with venv (PYTHON names it)"
"$python" -m venv "$work/site"
site=$work/site/bin/python
"$site" -m pip --disable-pip-version-check install -qq --no-deps --only-binary :all: setuptools==80.9.0 \
    six==1.17.0 scrapyd==1.6.0 Scrapy==2.11.2 Twisted==24.3.0 \
    attrs==26.1.0 Automat==25.4.16 certifi==2026.10.19.post1 cffi==2.1.1 \
    charset-normalizer==3.5.3 constantly==23.10.4 cryptography==50.0.2 cssselect==1.6.0 defusedxml==0.7.1 \
    filelock==4.3.1 hyperlink==21.0.0 idna==3.20 Incremental==24.11.0 itemadapter==0.13.1 itemloaders==1.5.0 \
    jmespath==1.1.0 lxml==6.1.3 packaging==26.4 parsel==1.12.1 Protego==0.7.0 pycparser==3.12 PyDispatcher==2.0.7 \
    pyOpenSSL==26.4.0 queuelib==1.10.0 requests==2.34.2 requests-file==3.0.1 service-identity==26.1.0 \
    tldextract==5.4.0 typing_extensions==4.16.0 urllib3==2.8.0 w3lib==2.2.1 zope.interface==8.7 ||
    lacking "a package index"
for release in 1.2.1 1.4.2 1.4.3; do
    "$site" -m pip --disable-pip-version-check install -qq --no-deps --only-binary :all: --target "$work/$release" \
        "scrapyd==$release" || lacking "a package index"
done

# the project: a spider that asks for nothing, and says in its log what it has and reads
mkdir -p "$work/project/shop"
touch "$work/no-directory"
cat >"$work/project/setup.py" <<'PYTHON'
from setuptools import setup
setup(name="shop", version="1", packages=["shop"], package_data={"shop": ["*.txt"]}, zip_safe=True,
      entry_points={"scrapy": ["settings = shop.settings"]})
PYTHON
echo "a page" >"$work/project/shop/page.txt"
touch "$work/project/shop/__init__.py"
printf '%s = %s\n' BOT_NAME '"shop"' SPIDER_MODULES '["shop.spider"]' TELNETCONSOLE_ENABLED False \
    >"$work/project/shop/settings.py"
cat >"$work/project/shop/spider.py" <<'PYTHON'
import os, pkgutil
import pkg_resources, scrapy


class Demo(scrapy.Spider):
    name = "demo"

    def start_requests(self):
        try:
            got = pkg_resources.resource_filename("shop", "page.txt")
        except Exception as error:
            got = type(error).__name__
        self.logger.info("SEEN PYTHON_EGG_CACHE is %s", os.environ.get("PYTHON_EGG_CACHE"))
        self.logger.info("SEEN resource_filename: %s", got)
        self.logger.info("SEEN get_data: %s", pkgutil.get_data("shop", "page.txt").decode().strip())
        return []
PYTHON
(cd "$work/project" && "$site" -W ignore setup.py -q bdist_egg --dist-dir "$work/dist") >"$work/log" 2>&1 ||
    { cat "$work/log"; changed "no egg is built"; }

cat >"$work/look.py" <<'PYTHON'
import glob, json, os, re, shutil, socket, subprocess, sys, time, urllib.parse, urllib.request, zipfile

import scrapyd
from scrapyd.eggstorage import FilesystemEggStorage

work = sys.argv[1]
(egg,) = glob.glob(os.path.join(work, "dist", "*.egg"))


def place(kind, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if kind == "directory":
        with zipfile.ZipFile(egg) as archive:
            archive.extractall(path)
    else:
        shutil.copy(egg, path)


def outcome(call):
    try:
        answer = call()
    except Exception as error:
        return type(error).__name__
    return "the egg" if answer and answer[1].read() == open(egg, "rb").read() else answer


def storage():
    for kind in "file", "directory":
        base = os.path.join(work, release, kind, "eggs")
        place(kind, os.path.join(base, "shop", "1.egg"))
        storage = FilesystemEggStorage({"eggs_dir": base})
        print(kind + ": get", outcome(lambda: storage.get("shop", "1")))
        print(kind + ": delete", outcome(lambda: storage.delete("shop", "1")), storage.list("shop"))


def runner():
    """Two spiders as this release would run them, from the same egg."""
    home = os.path.join(work, release + "-runner")
    place("file", os.path.join(home, "eggs", "shop", "1.egg"))
    names = set()
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "scrapyd.runner", "crawl", "demo"], cwd=home, text=True,
            env=dict(os.environ, SCRAPY_PROJECT="shop", PYTHON_EGG_CACHE=os.path.join(home, "cache")), stderr=subprocess.PIPE
        )
        seen = re.findall("SEEN resource_filename: .*/cache/(.*)/shop/page.txt", result.stderr)
        if not seen:
            sys.exit("changed: no spider runs:\n" + result.stderr)
        names.update(seen)
    print("spiders of one egg:", *sorted({re.sub(r"(-1-)\w+", r"\1RANDOM", name) for name in names}), len(names))


class Daemon:
    """A Scrapyd of its own, with this PYTHON_EGG_CACHE."""

    def __init__(self, name, cache):
        self.home = os.path.join(work, name)
        os.mkdir(self.home)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with open(os.path.join(self.home, "scrapyd.conf"), "w") as conf:
            conf.write("[scrapyd]\nbind_address = 127.0.0.1\nhttp_port = %d\npoll_interval = 0.2\n" % self.port)
        self.log = os.path.join(self.home, "log")
        program = os.path.join(os.path.dirname(sys.executable), "scrapyd")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [program], cwd=self.home, env=dict(os.environ, PYTHON_EGG_CACHE=cache), stdout=log, stderr=log
            )

    def __enter__(self):
        try:
            self.wait(lambda: self.ask("daemonstatus.json"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait()

    def wait(self, what):
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if answer := what():
                    return answer
            except OSError:
                pass
            time.sleep(0.2)
        sys.exit("changed: Scrapyd does not get there:\n" + open(self.log).read())

    def ask(self, service, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen("http://127.0.0.1:%d/%s" % (self.port, service), data, timeout=120) as answer:
            return json.load(answer)

    def upload(self):
        boundary = "a-line-that-is-in-no-egg"
        body = b""
        for field, value in ("project", b"shop"), ("version", b"1"), ("egg", open(egg, "rb").read()):
            head = '--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n' % (boundary, field)
            body += head.encode() + value + b"\r\n"
        body += ("--%s--\r\n" % boundary).encode()
        kind = {"Content-Type": "multipart/form-data; boundary=" + boundary}
        request = urllib.request.Request("http://127.0.0.1:%d/addversion.json" % self.port, body, kind)
        answer = json.load(urllib.request.urlopen(request, timeout=120))
        if answer.get("spiders") != 1:
            sys.exit("changed: addversion.json answers %r" % answer)

    def crawl(self):
        """What a spider says, or how it ends."""
        answer = self.ask("schedule.json", project="shop", spider="demo")
        if "jobid" not in answer:
            sys.exit("changed: schedule.json answers %r" % answer)
        job = answer["jobid"]
        end = re.compile(r"Process (finished|died).*job='%s'" % job)
        end = self.wait(lambda: end.search(open(self.log).read()))
        path = os.path.join(self.home, "logs", "shop", "demo", job + ".log")
        seen = re.findall("SEEN (.*)", open(path).read()) if os.path.exists(path) else []
        if end[1] == "died":
            seen.append("died, " + ", ".join(sorted(set(re.findall(r"\w+Error", open(self.log).read())))))
        return [line.replace(work, "...") for line in seen]


def daemons():
    with Daemon("daemon", os.path.join(work, "cache")) as daemon:
        daemon.upload()
        print(*daemon.crawl(), sep="\n")
        path = os.path.join(daemon.home, "eggs", "shop", "1.egg")
        os.remove(path)
        place("directory", path)
        print("a directory: listversions.json", daemon.ask("listversions.json?project=shop")["versions"])
        print("a directory: spider", *daemon.crawl())
        for form in {"version": "1"}, {"_version": "1", "spider": "demo"}:
            service = "schedule.json" if "spider" in form else "delversion.json"
            answer = daemon.ask(service, project="shop", **form)
            print("a directory:", service, answer["status"], answer.get("message", "").partition(":")[0])
        print("a directory: still there", os.path.isdir(path))
        print("a directory: delproject.json", daemon.ask("delproject.json", project="shop")["status"])
    with Daemon("other", os.path.join(work, "no-directory", "cache")) as daemon:
        daemon.upload()
        print(*daemon.crawl(), sep="\n")


release = scrapyd.__version__
print("Scrapyd", release)
storage()
if release != "1.2.1":
    runner()
if release == "1.6.0":
    daemons()
PYTHON

cat >"$work/expected" <<'EXPECTED'
Scrapyd 1.2.1
file: get the egg
file: delete None []
directory: get IsADirectoryError
directory: delete IsADirectoryError ['1']
Scrapyd 1.4.2
file: get the egg
file: delete None []
directory: get IsADirectoryError
directory: delete IsADirectoryError ['1']
spiders of one egg: shop-1-RANDOM.egg-tmp 2
Scrapyd 1.4.3
file: get the egg
file: delete None []
directory: get IsADirectoryError
directory: delete IsADirectoryError ['1']
spiders of one egg: 1.egg-tmp 1
Scrapyd 1.6.0
file: get the egg
file: delete None []
directory: get IsADirectoryError
directory: delete IsADirectoryError ['1']
spiders of one egg: 1.egg-tmp 1
PYTHON_EGG_CACHE is .../cache
resource_filename: .../cache/1.egg-tmp/shop/page.txt
get_data: a page
a directory: listversions.json ['1']
a directory: spider died, IsADirectoryError
a directory: delversion.json error IsADirectoryError
a directory: schedule.json error IsADirectoryError
a directory: still there True
a directory: delproject.json ok
PYTHON_EGG_CACHE is .../no-directory/cache
resource_filename: ExtractionError
get_data: a page
EXPECTED
cd "$work"
for release in 1.2.1 1.4.2 1.4.3 1.6.0; do
    PYTHONPATH=$work/$release PYTHONDONTWRITEBYTECODE=1 "$site" -W ignore "$work/look.py" "$work" 2>"$work/log" ||
        cat "$work/log"
done | tee "$work/seen"
diff "$work/expected" "$work/seen" >"$work/log" || { cat "$work/log"; changed "the lines with < were expected"; }
