"""A TurboGears configuration: what the manual's own gives, each finding and its absence, and hostile files."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from conftest import missing

from eggcache import accounts, application
from eggcache.accounts import Account
from eggcache.application import Unreadable, literal, parse
from eggcache.errors import UsageError

# As the manual prints it, but for its indentation.
MANUAL = """\
[global]
sqlalchemy.dburi="mysql://tg:tg@localhost:3306/tg"
sqlalchemy.echo = 0

server.environment="production"
#server.environment="development"
autoreload.on = False

server.thread_pool = 30

server.webpath="/myapp"
tg.strict_parameters = False

# Set the following to True if you are deploying your app using mod_proxy,
# mod_rewrite or any other mechanism that forwards requests to your app.
base_url_filter.on = True
#base_url_filter.use_x_forwarded_host = False

[logging]

[[handlers]]

[[[access_out]]]
# set the filename as the first argument below
args="('/usr/local/apache2/logs/myapp.log',)"
class='FileHandler'
level='INFO'
formatter='message_only'

[[[debug_out]]]
class='StreamHandler'
level='DEBUG'
args='(sys.stdout,)'
formatter='full_content'

[[[error_out]]]
class='StreamHandler'
level='ERROR'
args='(sys.stdout,)'

[[loggers]]
[[[psfeed]]]
level='ERROR'
qualname='psfeed'
handlers=['error_out']

[[[access]]]
level='INFO'
qualname='turbogears.access'
handlers=['access_out']
propagate=0

[[formatters]]
[[[message_only]]]
format='*(message)s'

[[[full_content]]]
format='*(asctime)s *(name)s *(levelname)s *(message)s'
"""
SETTINGS = '[global]\nserver.environment = "production"\nautoreload.on = False\n'


class Site:
    """A directory that the runtime user can search, and a configuration in it that this user alone can read."""

    def __init__(self, root: Path, account: Account) -> None:
        self.root = root
        self.account = account
        self.config = root / "myapp.cfg"
        self.logs = root / "logs"
        self.logs.mkdir()
        self.logs.chmod(0o755)

    def write(self, text: str | bytes, mode: int = 0o640) -> None:
        self.config.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.chown(self.config, 0, self.account.gid)
        self.config.chmod(mode)

    def handler(self, kind: str, args: str, more: str = "") -> None:
        """A configuration without fault, but for this handler."""
        self.write(f"{SETTINGS}{more}\n[logging]\n[[handlers]]\n[[[out]]]\nclass={kind!r}\nargs={args!r}\n")

    def findings(self, location: str | None = None) -> list[tuple[str, str, str]]:
        found = application.findings(str(self.config), account=self.account, location=location)
        assert all(finding.status == 3 and finding.remedy and "\n" not in str(finding) for finding in found)
        return [(finding.code, finding.thing, finding.cause) for finding in found]

    def codes(self, location: str | None = None) -> list[str]:
        return [code for code, _, _ in self.findings(location)]


@pytest.fixture
def site(shared_tmp: Path) -> Site:
    """A site of the user nobody."""
    if os.geteuid() != 0:
        missing("only root can give files to others and try them as another user")
    return Site(shared_tmp, accounts.lookup("nobody"))


# ------------------------------------------------------------------------------------------- the manual's own


def test_manual(site: Site) -> None:
    """The manual's configuration gives nothing but its log file, as long as that cannot be written."""
    site.write(MANUAL)
    if os.path.exists("/usr/local/apache2"):
        missing("there is a self-compiled Apache in the place that the manual speaks of")
    ((code, thing, cause),) = site.findings("/myapp")
    assert (code, thing) == ("log-file-unwritable", "/usr/local/apache2/logs/myapp.log")
    assert cause == "nobody cannot write it: /usr/local/apache2: No such file or directory"
    os.chown(site.logs, site.account.uid, -1)
    site.write(MANUAL.replace("/usr/local/apache2/logs", str(site.logs)))
    assert site.findings("/myapp") == []
    assert list(site.logs.iterdir()) == []


def test_manual_is_read_whole() -> None:
    """Sections nest by their brackets, and values are what Python takes them for."""
    config = parse(MANUAL.encode())
    assert list(config) == ["global", "logging"]
    assert config["global"]["server.thread_pool"] == 30
    assert config["global"]["base_url_filter.on"] is True
    assert list(config["logging"]) == ["handlers", "loggers", "formatters"]
    assert config["logging"]["loggers"]["access"]["handlers"] == ["access_out"]
    assert config["logging"]["handlers"]["access_out"]["args"] == "('/usr/local/apache2/logs/myapp.log',)"


# ------------------------------------------------------------------------------------------------ its settings


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('server.environment = "production"\nautoreload.on = False', []),
        ('server.environment = "production"', []),  # CherryPy's default for production
        ('server.environment = "production"\nautoreload.on = True', ["autoreload-on"]),
        ('server.environment = "development"\nautoreload.on = False', ["not-production"]),
        ('server.environment = "development"', ["not-production", "autoreload-on"]),
        ('server.environment = "staging"', ["not-production"]),
        ("autoreload.on = False", ["not-production"]),
        ("", ["not-production", "autoreload-on"]),
        ('#server.environment = "production"\nautoreload.on = 0', ["not-production"]),
    ],
)
def test_environment_and_autoreload(site: Site, text: str, codes: list[str]) -> None:
    """server.environment has to be production, and autoreload off, as CherryPy reckons what is not set."""
    site.write(f"[global]\n{text}\n")
    assert site.codes() == codes
    site.write(f"{text}\n")  # outside of all sections is global too
    assert site.codes() == codes


@pytest.mark.parametrize(
    ("text", "location", "codes"),
    [
        ("base_url_filter.on = True", "/myapp", []),
        ("baseUrlFilter.on = True", "/myapp", []),
        ("", "/myapp", ["base-url-filter-off"]),
        ("base_url_filter.on = False", "/myapp", ["base-url-filter-off"]),
        ("baseUrlFilter.on = False", "/my/app/", ["base-url-filter-off"]),
        ("base_url_filter.on = True\nbaseUrlFilter.on = False", "/myapp", ["base-url-filter-off"]),
        ("base_url_filter.on = False\n[/]\nbase_url_filter.on = True", "/myapp", []),
        ("", "/", []),
        ("", None, []),
        ("", "", []),
    ],
)
def test_base_url_filter(site: Site, text: str, location: str | None, codes: list[str]) -> None:
    """Under a location the filter has to be on, in either spelling; the older one counts first, as in CherryPy."""
    site.write(f"{SETTINGS}{text}\n")
    assert site.codes(location) == codes


# ------------------------------------------------------------------------------------------------- who reads it


def test_everybody_can_read_it(site: Site) -> None:
    """A configuration that others can read is a finding, unless a directory on the way keeps them out."""
    site.write(SETTINGS, 0o644)
    assert site.codes() == ["app-config-exposed"]
    (where := site.root / "etc").mkdir()
    moved = where / site.config.name
    site.config.rename(moved)
    site.config = moved
    assert site.codes() == ["app-config-exposed"]
    os.chown(where, 0, site.account.gid)
    where.chmod(0o750)
    assert site.codes() == []
    where.chmod(0o755)
    moved.chmod(0o640)
    assert site.codes() == []


def test_a_link_hides_nothing(site: Site) -> None:
    """What counts is where the file is: a link in a closed directory does not close it."""
    site.write(SETTINGS, 0o644)
    (where := site.root / "closed").mkdir()
    os.chown(where, 0, site.account.gid)
    where.chmod(0o750)
    (where / "link").symlink_to(site.config)
    site.config = where / "link"
    assert site.codes() == ["app-config-exposed"]


def test_the_runtime_user_cannot_read_it(site: Site) -> None:
    """A configuration that the runtime user cannot read is a finding, which names what is in the way."""
    site.write(SETTINGS, 0o600)
    ((code, thing, cause),) = site.findings()
    assert (code, thing) == ("app-config-unreadable", str(site.config))
    assert cause == f"nobody cannot use it: {site.config} is root's, mode 0600"
    site.write(SETTINGS)
    site.root.chmod(0o700)
    ((code, _, cause),) = site.findings()
    assert code == "app-config-unreadable"
    assert f"{site.root} is root's, mode 0700" in cause
    site.root.chmod(0o755)
    assert site.findings() == []


def test_root_is_not_made_to_read_for_others(site: Site) -> None:
    """A link to what only root can read is not followed with root's rights: nothing of it is told."""
    secret = site.root / "secret"
    secret.write_text("root:$6$secret\n")
    secret.chmod(0o600)
    site.config.symlink_to(secret)
    found = application.findings(str(site.config), account=site.account, location=None)
    assert [finding.code for finding in found] == ["app-config-unreadable"]
    assert "$6$" not in str(found)


def test_what_is_no_file(site: Site) -> None:
    """A configuration that is not there, a directory or a FIFO is a usage error, at once."""
    os.mkfifo(site.root / "fifo")
    (site.root / "fifo").chmod(0o644)
    for name in ("none", "logs", "fifo", "myapp.cfg/none", "a\0b"):
        with pytest.raises(UsageError, match="--app-config"):
            application.findings(f"{site.root}/{name}", account=site.account)


# ---------------------------------------------------------------------------------------------------- log files


@pytest.mark.parametrize("kind", ["FileHandler", "handlers.WatchedFileHandler"])
def test_log_file(site: Site, kind: str) -> None:
    """A log file has to be the runtime user's to write, or its directory where it is not there yet; no more."""
    log = site.logs / "myapp.log"
    site.handler(kind, f"({str(log)!r}, 'a')")
    ((code, thing, cause),) = site.findings()
    assert (code, thing) == ("log-file-unwritable", str(log))
    assert cause == f"nobody cannot write it: the directory {site.logs} is root's, mode 0755"
    log.touch(0o640)
    ((_, _, cause),) = site.findings()
    assert cause == f"nobody cannot write it: {log} is root's, mode 0640"
    os.chown(log, site.account.uid, -1)
    assert site.findings() == []  # though its directory is root's
    log.unlink()
    os.chown(site.logs, site.account.uid, -1)
    assert site.findings() == []
    assert not log.exists()


@pytest.mark.parametrize("kind", ["RotatingFileHandler", "logging.handlers.TimedRotatingFileHandler"])
def test_rotating_log_file(site: Site, kind: str) -> None:
    """A handler that rotates renames: it needs the directory too, or its first rotation fails."""
    log = site.logs / "myapp.log"
    log.touch(0o640)
    os.chown(log, site.account.uid, -1)
    site.handler(kind, f"('{log}', 'a', 1000000, 5)")
    ((code, _, cause),) = site.findings()
    assert code == "log-file-unwritable"
    assert str(site.logs) in cause
    os.chown(site.logs, site.account.uid, -1)
    assert site.findings() == []


def test_log_file_by_group_and_by_acl(site: Site) -> None:
    """It is the kernel that is asked, as that user: a group counts, and where there are ACLs they do."""
    log = site.logs / "myapp.log"
    log.touch()
    os.chown(log, 0, site.account.gid)
    log.chmod(0o660)
    site.handler("FileHandler", f"('{log}',)")
    assert site.findings() == []
    log.chmod(0o666)
    site.logs.chmod(0o700)
    assert site.codes() == ["log-file-unwritable"]
    if not shutil.which("setfacl"):
        missing("setfacl is not installed")
    if os.system(f"setfacl -m u:nobody:x '{site.logs}' 2>/dev/null") != 0:
        missing("the file system has no ACLs")
    assert site.findings() == []


def test_log_file_that_is_a_directory_or_a_link(site: Site) -> None:
    """A directory is no log file, and a link is what it leads to."""
    os.chown(site.logs, site.account.uid, -1)
    site.handler("FileHandler", f"('{site.logs}',)")
    assert site.codes() == ["log-file-unwritable"]
    (site.logs / "link").symlink_to(site.root / "there.log")
    site.handler("FileHandler", f"('{site.logs}/link',)")
    ((_, _, cause),) = site.findings()
    assert cause == f"nobody cannot write it: the directory {site.root} is root's, mode 0755"


def test_relative_log_file(site: Site) -> None:
    """TurboGears' own sample names server.log: that is /server.log for Apache, and said so."""
    site.handler("FileHandler", "('server.log',)")
    ((code, thing, cause),) = site.findings()
    assert (code, thing) == ("log-file-unwritable", "/server.log")
    assert cause.startswith("it is relative, to Apache's working directory /; ")


def test_log_file_that_is_put_together(site: Site) -> None:
    """Names of the configuration itself are filled in; what only the application knows cannot be told."""
    os.chown(site.logs, site.account.uid, -1)
    site.handler("FileHandler", "('%(logs)s/myapp.log',)", f"logs = 'x'\n[DEFAULT]\nlogs = '{site.logs}'")
    assert site.findings() == []
    for args in ("('%(top_level_dir)s/x.log',)", "(directory + '/x.log',)", "('',)", "()", "'x'", "open('x')", "(1,)"):
        site.handler("FileHandler", args)
        assert site.codes() == ["log-file-unknown"], args
    site.handler("StreamHandler", "(sys.stdout,)")
    assert site.findings() == []


# ---------------------------------------------------------------------------------------------------- the reader


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("a = 1 # one\nb = 'x # y' # z", {"a": 1, "b": "x # y"}),
        ("'a b' = [1, 'x', (None,)]\n\"c\"={'d': True}", {"a b": [1, "x", (None,)], "c": {"d": True}}),
        ("a =", {"a": ""}),
        ("\t[ a ] # c\n  [['b ]']]\n x = -1.5", {"a": {"b ]": {"x": -1.5}}}),
        ("[a]\n[[b]]\n[c]\n[[b]]\nx=1", {"a": {"b": {}}, "c": {"b": {"x": 1}}}),
        ("a = '''\n'x'\n''' # c\nb=1", {"a": "x", "b": 1}),
        ("\ufeffa = u'\\u00e9'\r\nb = '\\d'\r\n", {"a": "\u00e9", "b": "\\d"}),
        ("a = 0644\nb = 10L\nc = ur'x'", {"a": application.OPAQUE, "b": application.OPAQUE, "c": application.OPAQUE}),
    ],
)
def test_what_configobj_reads(text: str, config: dict[str, object]) -> None:
    """Comments, quotes, nesting, triple quotes and Python 2's literals are as ConfigObj 4.7.2 with unrepr has them."""
    assert parse(text.encode()) == config


def test_bytes_that_are_not_utf_8() -> None:
    """A Latin-1 value is there, without a meaning, and the rest is read."""
    assert parse(b"a = 'caf\xe9'\nb = 1") == {"a": application.OPAQUE, "b": 1}


@pytest.mark.parametrize(
    "line",
    [
        "[a",
        "a]",
        "[[[a]]]",
        "[a]]",
        "[]",
        "[a] b",
        "= 1",
        "'a' 1",
        "a",
        "a = b",
        "a = b 0644",
        "a = [1,",
        "a = 1]",
        "a = 'x",
        "a = '''x",
        "a = ''' 1 ''' x",
        "a = 1\na = 2",
        "[a]\n[a]",
        "a = f(1)",
        "a = __import__('os').system('id')",
        "a = 'x' % 1",
        "a = [x for x in 'y']",
        "a = f'{1}'",
        "a = --1",
        "a = " + "(" * 50 + ")" * 50,
        "a = " + "-" * 4000 + "1",
        "a = " + "- " * 2000 + "1",
        "a = '" + "x" * 5000 + "'",
        "[" * 3000 + "a" + "]" * 3000,
        "a = 1\0",
    ],
)
def test_what_is_refused(site: Site, line: str) -> None:
    """What ConfigObj would not read either is a finding that names the line and shows nothing of it."""
    site.write(f"{SETTINGS}secret.password = 'hunter2'\n[section]\n{line}\n")
    ((code, thing, cause),) = site.findings()
    assert (code, thing) == ("app-config-invalid", str(site.config))
    assert cause.startswith("TurboGears cannot read it: line ")
    assert "hunter2" not in cause


def test_the_password_is_never_shown(site: Site) -> None:
    """A line that cannot be read may be the very one with the password: its text is in no message."""
    site.write(f"{SETTINGS}sqlalchemy.dburi = mysql://tg:hunter2@localhost/tg\n")
    ((_, _, cause),) = site.findings()
    assert cause == "TurboGears cannot read it: line 4 has a value that is no literal"


def test_a_flood_is_refused(site: Site) -> None:
    """A configuration without end is not read to its end."""
    site.write(SETTINGS.encode() + b"# a line\n" * 100_000)
    assert site.codes() == []
    site.write(SETTINGS.encode() + b"# a line\n" * 200_000)
    assert site.codes() == ["app-config-invalid"]


def test_names_of_the_file_are_fit_for_a_line(site: Site) -> None:
    """Control characters of a handler or a path reach no terminal."""
    site.write(f"{SETTINGS}\n[logging]\n[[handlers]]\n[[[a\x1b[31m]]]\nclass='FileHandler'\nargs='()'\n".encode())
    ((_, thing, _),) = site.findings()
    assert thing == f"{site.config} [[[a?[31m]]]"
    site.handler("FileHandler", "('/a\\n\\x1b[31m',)")
    ((code, thing, _),) = site.findings()
    assert (code, thing) == ("log-file-unwritable", "/a??[31m")


def test_literals_cannot_bring_the_reader_down() -> None:
    """Whatever is in a value, the answer is a value or Unreadable, soon."""
    for text in ("[" * 5000, "(" * 21 + ")" * 21, "{1:" * 30, "-" * 100000, "1," * 2000, "'a' " * 1000, "1_" * 9, "\0"):
        try:
            literal(text)
        except Unreadable:
            continue
    assert literal("1," * 2000) == (1,) * 2000


def test_nothing_is_changed(site: Site) -> None:
    """Looking leaves every file and directory as it was."""
    site.handler("RotatingFileHandler", f"('{site.logs}/x.log',)")
    os.chown(site.logs, site.account.uid, -1)
    before = {path: os.stat(path) for path in (site.root, site.config, site.logs)}
    assert site.findings() == []
    assert [(info.st_mtime_ns, info.st_ctime_ns, stat.S_IMODE(info.st_mode)) for info in before.values()] == [
        (info.st_mtime_ns, info.st_ctime_ns, stat.S_IMODE(info.st_mode)) for info in map(os.stat, before)
    ]
    assert os.geteuid() == 0
