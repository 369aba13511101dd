"""A TurboGears configuration: what the manual's own gives, each finding and its absence, and hostile files.

What depends on how it is read is tested twice: by the ConfigObj 4.7.2 of a TurboGears 1.1.3, and by eggcache's own.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import configobj
import pytest
from support.deployment import Deployment
from support.judge import as_json, eggcache
from support.parts import missing

from eggcache.errors import UsageError
from eggcache.proof import application
from eggcache.proof.application import Application
from eggcache.system import accounts
from eggcache.system.accounts import Account
from eggcache.target.interpreter import Target

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


class Configured:
    """A directory that the runtime user can search, and a configuration in it that this user alone can read."""

    def __init__(self, root: Path, account: Account, python: Path) -> None:
        self.root = root
        self.account = account
        self.target = Target(str(python), account=account)
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
        findings = application.findings(Application(str(self.config), location), self.target)
        assert all(finding.status == 3 and finding.remedy.text and "\n" not in str(finding) for finding in findings)
        return [(finding.code, finding.thing, finding.cause) for finding in findings]

    def parse(self, text: str | bytes) -> object:
        data = text if isinstance(text, bytes) else text.encode()
        return application.parse(data, self.target)

    def codes(self, location: str | None = None) -> list[str]:
        return [code for code, _, _ in self.findings(location)]


@pytest.fixture
def site(shared_tmp: Path, pythons: tuple[Path, Path]) -> Configured:
    """A site of the user nobody, with a target that has no ConfigObj: eggcache's own reads."""
    return _site(shared_tmp, pythons[1])


@pytest.fixture
def turbogears(shared_tmp: Path, turbogears1_complete: Deployment) -> Configured:
    """The same with TurboGears 1.1.3, whose ConfigObj 4.7.2 reads, in Python 2.7."""
    return _site(shared_tmp, turbogears1_complete.python)


@pytest.fixture(params=["turbogears", "site"])
def either(request: pytest.FixtureRequest, where: Path) -> Configured:
    """For what depends on how it is read: both."""
    reader = request.getfixturevalue(request.param)
    assert isinstance(reader, Configured)
    return reader


def _site(root: Path, python: Path) -> Configured:
    if os.geteuid() != 0:
        missing("only root can give files to others and try them as another user")
    return Configured(root, accounts.lookup("nobody"), python)


# ------------------------------------------------------------------------------------------- the manual's own


def test_configuration_of_the_manual(either: Configured) -> None:
    """The manual's configuration has its redirects lead to localhost, and its log file cannot be written: with a
    base_url and a directory of the runtime user's there is nothing else."""
    either.write(MANUAL)
    if os.path.exists("/usr/local/apache2"):
        missing("there is a self-compiled Apache in the place that the manual speaks of")
    (url, _, _), (code, thing, cause) = either.findings("/myapp")
    assert url == "base-url-missing"
    assert (code, thing) == ("log-file-unwritable", "/usr/local/apache2/logs/myapp.log")
    assert cause == "user nobody cannot write it: /usr/local/apache2: No such file or directory"
    os.chown(either.logs, either.account.uid, -1)
    text = MANUAL.replace("/usr/local/apache2/logs", str(either.logs))
    either.write(
        text.replace("#base_url_filter.use_x_forwarded_host = False", "base_url_filter.base_url = 'http://a.example'")
    )
    assert either.findings("/myapp") == []
    assert list(either.logs.iterdir()) == []


def test_manual_is_read_whole(either: Configured, turbogears1_complete: Deployment) -> None:
    """A configuration is read as TurboGears itself reads it."""
    either.write(MANUAL, 0o644)
    code = "import json, sys\nfrom turbogears import config\nprint(json.dumps(config.config_obj(sys.argv[1]).dict()))"
    expected = json.loads(turbogears1_complete.run(code, str(either.config)).stdout)
    config = either.parse(MANUAL)
    assert isinstance(config, dict)
    config.pop("DEFAULT")  # which it has where it is told the application's package
    assert config == expected
    assert config["global"]["server.thread_pool"] == 30
    assert config["logging"]["loggers"]["access"]["handlers"] == ["access_out"]


QUICKSTART = """
import sys, pkg_resources
pkg_resources.require("TurboGears", "Cheetah")
from Cheetah.Template import Template
source = pkg_resources.resource_string("turbogears", "qstemplates/quickstart/" + sys.argv[1])
names = {"package": "shop", "project": "Shop", "sqlalchemy": "True", "identity": "sqlalchemy"}
sys.stdout.write(str(Template(source=source, searchList=[names])))
"""


@pytest.mark.parametrize(
    ("template", "codes"),
    [
        ("sample-prod.cfg_tmpl", ["log-file-unwritable"]),
        ("dev.cfg_tmpl", ["not-production", "autoreload-on"]),
        ("+package+/config/app.cfg_tmpl", ["not-production", "autoreload-on"]),
        ("+package+/config/log.cfg_tmpl", ["not-production", "autoreload-on"]),
    ],
)
def test_configuration_of_tg_admin_quickstart_is_read(
    either: Configured, turbogears1_complete: Deployment, template: str, codes: list[str]
) -> None:
    """What `tg-admin quickstart` of TurboGears 1.1.3 writes is read, with the directories of a package in it."""
    either.write(turbogears1_complete.run(QUICKSTART, template).stdout)
    assert either.codes("/shop") == codes


# ------------------------------------------------------------------------------------------------ its settings


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('server.environment = "production"\nautoreload.on = False', []),
        ('server.environment = "production"', []),  # CherryPy's default for production
        ('server.environment = "production"\nautoreload.on = True', ["autoreload-on"]),
        ('server.environment = "development"\nautoreload.on = False', ["not-production"]),
        ('server.environment = "development"', ["not-production", "autoreload-on"]),
        ('server.environment = "staging"', []),
        ("server.environment = ['production']", ["environment-unknown"]),
        ("autoreload.on = False", ["not-production"]),
        ("", ["not-production", "autoreload-on"]),
        ('#server.environment = "production"\nautoreload.on = 0', ["not-production"]),
    ],
)
def test_environment_and_autoreload(site: Configured, text: str, codes: list[str]) -> None:
    """What environment and autoreloader do is reckoned as CherryPy does, from what is set and what is not."""
    site.write(f"[global]\n{text}\n")
    assert site.codes() == codes
    site.write(f"{text}\n")  # outside of all sections is global too
    assert site.codes() == codes


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("base_url_filter.on = True", ["base-url-missing"]),
        ("baseUrlFilter.on = True", ["base-url-missing"]),
        ("base_url_filter.on = True\nbase_url_filter.base_url = ''", ["base-url-missing"]),
        ("base_url_filter.on = True\nbaseUrlFilter.useXForwardedHost = False", ["base-url-missing"]),
        ("base_url_filter.on = False\n[/]\nbase_url_filter.on = True", ["base-url-missing"]),
        ("base_url_filter.on = True\nbase_url_filter.base_url = 'http://a'", []),
        ("baseUrlFilter.on = True\nbaseUrlFilter.baseUrl = 'http://a'", []),
        ("base_url_filter.on = True\nbaseUrlFilter.on = False", []),
        ("base_url_filter.on = True\n[/]\nbase_url_filter.on = False", []),
        ("base_url_filter.on = False", []),
        ("", []),
    ],
)
def test_base_url_filter(site: Configured, text: str, codes: list[str]) -> None:
    """The filter has to have its URL, in either spelling; the older one counts first, and the root, as in CherryPy."""
    site.write(f"{SETTINGS}{text}\n")
    for location in (None, "/", "/myapp"):
        assert site.codes(location) == codes


# ------------------------------------------------------------------------------------------------- who reads it


def test_everybody_can_read_it(site: Configured) -> None:
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


def test_a_link_hides_nothing(site: Configured) -> None:
    """What counts is where the file is: a link in a closed directory does not close it."""
    site.write(SETTINGS, 0o644)
    (where := site.root / "closed").mkdir()
    os.chown(where, 0, site.account.gid)
    where.chmod(0o750)
    (where / "link").symlink_to(site.config)
    site.config = where / "link"
    assert site.codes() == ["app-config-exposed"]


def test_the_runtime_user_cannot_read_it(site: Configured) -> None:
    """A configuration that the runtime user cannot read is a finding, which names what is in the way."""
    site.write(SETTINGS, 0o600)
    ((code, thing, cause),) = site.findings()
    assert (code, thing) == ("app-config-unreadable", str(site.config))
    assert cause == f"user nobody cannot use it: {site.config} is root's, mode 0600"
    site.write(SETTINGS)
    site.root.chmod(0o700)
    ((code, _, cause),) = site.findings()
    assert code == "app-config-unreadable"
    assert f"{site.root} is root's, mode 0700" in cause
    site.root.chmod(0o755)
    assert site.findings() == []


def test_root_is_not_made_to_read_for_others(site: Configured) -> None:
    """A link to what only root can read is not followed with root's rights: nothing of it is told."""
    secret = site.root / "secret"
    secret.write_text("root:$6$secret\n")
    secret.chmod(0o600)
    site.config.symlink_to(secret)
    findings = application.findings(Application(str(site.config)), site.target)
    assert [finding.code for finding in findings] == ["app-config-unreadable"]
    assert "$6$" not in str(findings)


def test_what_is_no_file(site: Configured) -> None:
    """A configuration that is not there, a directory or a FIFO is a usage error, at once."""
    os.mkfifo(site.root / "fifo")
    (site.root / "fifo").chmod(0o644)
    for name in ("none", "logs", "fifo", "myapp.cfg/none", "a\0b"):
        with pytest.raises(UsageError, match="--app-config"):
            application.findings(Application(f"{site.root}/{name}"), site.target)


# ---------------------------------------------------------------------------------------------------- log files


@pytest.mark.parametrize("kind", ["FileHandler", "handlers.WatchedFileHandler"])
def test_log_file_has_to_be_writable(site: Configured, kind: str) -> None:
    """A log file has to be the runtime user's to write, or its directory where it is not there yet; no more."""
    log = site.logs / "myapp.log"
    site.handler(kind, f"({str(log)!r}, 'a')")
    ((code, thing, cause),) = site.findings()
    assert (code, thing) == ("log-file-unwritable", str(log))
    assert cause == f"user nobody cannot write it: the directory {site.logs} is root's, mode 0755"
    log.touch(0o640)
    ((_, _, cause),) = site.findings()
    assert cause == f"user nobody cannot write it: {log} is root's, mode 0640"
    os.chown(log, site.account.uid, -1)
    assert site.findings() == []  # though its directory is root's
    log.unlink()
    os.chown(site.logs, site.account.uid, -1)
    assert site.findings() == []
    assert not log.exists()


@pytest.mark.parametrize("kind", ["RotatingFileHandler", "logging.handlers.TimedRotatingFileHandler"])
def test_rotating_log_file(site: Configured, kind: str) -> None:
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


def test_log_file_by_group_and_by_acl(site: Configured) -> None:
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


def test_log_file_that_is_a_directory_or_a_link(site: Configured) -> None:
    """A directory is no log file, and a link is what it leads to."""
    os.chown(site.logs, site.account.uid, -1)
    site.handler("FileHandler", f"('{site.logs}',)")
    assert site.codes() == ["log-file-unwritable"]
    (site.logs / "link").symlink_to(site.root / "there.log")
    site.handler("FileHandler", f"('{site.logs}/link',)")
    ((_, _, cause),) = site.findings()
    assert cause == f"user nobody cannot write it: the directory {site.root} is root's, mode 0755"


def test_relative_log_file(site: Configured) -> None:
    """TurboGears' own sample names server.log: that is /server.log for Apache, and said so."""
    site.handler("FileHandler", "('server.log',)")
    ((code, thing, cause),) = site.findings()
    assert (code, thing) == ("log-file-unwritable", "/server.log")
    assert cause.startswith("it is relative, to Apache's working directory /; ")


def test_log_file_that_is_put_together(either: Configured) -> None:
    """Names of the configuration itself are filled in; what only the application knows cannot be told."""
    os.chown(either.logs, either.account.uid, -1)
    either.handler("FileHandler", "('%(logs)s/myapp.log',)", f"logs = 'x'\n[DEFAULT]\nlogs = '{either.logs}'")
    assert either.findings() == []
    for args in ("('%(top_level_dir)s/x.log',)", "(directory + '/x.log',)", "('',)", "()", "'x'", "open('x')", "(1,)"):
        either.handler("FileHandler", args)
        assert either.codes() == ["log-file-unknown"], args
    either.handler("StreamHandler", "(sys.stdout,)")
    assert either.findings() == []


# ---------------------------------------------------------------------------------------------------- the reader


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("a = 1 # one\nb = 'x # y' # z", {"a": 1, "b": "x # y"}),
        ("'a b' = [1, 'x', (None,)]\n\"c\"={'d': True}", {"a b": [1, "x", [None]], "c": {"d": True}}),
        ("a =", {"a": ""}),
        ("\t[ a ] # c\n  [['b ]']]\n x = -1", {"a": {"b ]": {"x": -1}}}),
        ("[a]\n[[b]]\n[c]\n[[b]]\nx=1", {"a": {"b": {}}, "c": {"b": {"x": 1}}}),
        ("a = ''' ['x',\n'y'] ''' # c\nb=1", {"a": ["x", "y"], "b": 1}),
        ("\ufeffa = u'\\u00e9'\r\nb = '\\d'\r\n", {"a": "\u00e9", "b": "\\d"}),
        ("a = '%(b)s/%(current_dir_uri)s'\nb = 'c'", {"a": "c//", "b": "c"}),
    ],
)
def test_what_configobj_reads(either: Configured, text: str, config: dict[str, object]) -> None:
    """Comments, quotes, nesting, triple quotes and references come out the same, by whichever ConfigObj."""
    sections = json.loads(json.dumps(either.parse(text)))
    sections.pop("DEFAULT")
    assert sections == config


def test_literals_of_python_2(turbogears: Configured) -> None:
    """TurboGears' own ConfigObj reads what is a literal for Python 2 alone, and numbers that JSON has not."""
    values = turbogears.parse("a = 0644\nb = 10L\nc = ur'x'\nd = 1e999\ne = 1" + "0" * 50)
    assert isinstance(values, dict)
    assert (values["a"], values["c"]) == (0o644, "x")
    assert all(values[name] for name in "bde")


def test_bytes_that_are_not_utf_8(either: Configured) -> None:
    """Latin-1 in a value or a comment is no fault: Python 2 takes any bytes."""
    either.write(SETTINGS.encode() + b"# caf\xe9\na = 'caf\xe9'\n")
    assert either.codes() == []


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
        "a = " + "-" * 4000 + "1",
        "a = '%(b)s'",
        "a = '%(a)s'",
        "b = 8080\na = '%(b)s'",
        "[" * 3000 + "a" + "]" * 3000,
        "a = 1\0",
    ],
)
def test_what_is_refused(either: Configured, line: str) -> None:
    """What ConfigObj would not read either is a finding that names the line and shows nothing of it."""
    either.write(f"{SETTINGS}secret.password = 'hunter2'\n[section]\n{line}\n")
    ((code, thing, cause),) = either.findings()
    assert (code, thing) == ("app-config-invalid", str(either.config))
    assert cause.split(" cannot read it: ")[0] in ("TurboGears", "ConfigObj")
    assert "hunter2" not in cause


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sqlalchemy.dburi = mysql://tg:hunter2@localhost/tg", "arse error "),
        ("mysql://tg:hunter2@localhost/tg", "Invalid line "),
        ("'mysql://tg:  hunter2\\@localhost/tg", "Invalid line "),
        ("mysql://tg:hunter2@localhost/tg\nmysql://tg:hunter2@localhost/tg", "several errors"),
    ],
)
def test_the_password_is_never_shown(either: Configured, line: str, said: str) -> None:
    """ConfigObj's words name the line, whose text, which may be the very one with the password, is in no message."""
    either.write(f"{SETTINGS}{line}\n")
    ((_, _, cause),) = either.findings()
    assert said in cause
    assert "at line" in cause
    assert cause.endswith(("4", '4"'))
    assert "hunter2" not in cause


def test_a_newer_configobj(shared_tmp: Path, site: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigObj 5 quotes the line that it refuses: what the target has on its path (--path) is heard without that."""
    shutil.copytree(Path(configobj.__file__).parent, shared_tmp / "configobj")
    monkeypatch.setitem(sys.modules, "configobj", None)
    site.target = site.target._replace(paths=(str(shared_tmp),))
    site.write(f"{SETTINGS}mysql://tg:  hunter2\\@localhost/tg\n")
    ((_, _, cause),) = site.findings()
    words = "Invalid line (...) (matched as neither section nor keyword) at line 4"
    assert cause == f"TurboGears cannot read it: {words}"


def test_what_brings_its_reader_down(turbogears: Configured) -> None:
    """Sections so deep that the target cannot answer with them, or that its answer is refused, are a finding, too."""
    for depth in (600, 1000):
        turbogears.write(SETTINGS + "".join(f"{'[' * n}a{']' * n}\n" for n in range(1, depth)))
        ((code, _, cause),) = turbogears.findings()
        assert (code, cause.partition(":")[0]) == ("app-config-invalid", "TurboGears cannot read it")


def test_values_that_grow(site: Configured) -> None:
    """References that double a value again and again are not followed in a process that runs as root."""
    names = [f"a{n} = '%(a{n - 1})s%(a{n - 1})s'" for n in range(1, 60)]
    site.write("a0 = 'xxxxxxxxxx'\n" + "\n".join(names))
    ((code, _, cause),) = site.findings()
    assert code == "app-config-invalid"
    assert cause.startswith("only TurboGears' own ConfigObj is let read more than ")


def test_without_any_configobj(
    shared_tmp: Path,
    turbogears1: Deployment,
    copy_of: Callable[[Deployment], Deployment],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where TurboGears' Python has lost its ConfigObj eggcache's own reads it; where that is missing too, a notice says
    that nothing was looked at, and what does not need it is told all the same."""
    own = copy_of(turbogears1)
    (egg,) = own.site_packages.glob("configobj-*.egg")
    egg.unlink()
    site = _site(shared_tmp, own.python)
    site.write(SETTINGS.replace("production", "development"), 0o644)
    assert site.codes() == ["app-config-exposed", "not-production"]
    monkeypatch.setitem(sys.modules, "configobj", None)
    findings = application.findings(Application(str(site.config)), site.target)
    assert [(finding.code, finding.status) for finding in findings] == [
        ("app-config-exposed", 3),
        ("app-config-unread", 0),
    ]
    assert f"neither {own.python} nor eggcache's own Python has a ConfigObj" in findings[1].cause


def test_not_active_yet(shared_tmp: Path, turbogears1: Deployment, copy_of: Callable[[Deployment], Deployment]) -> None:
    """A ConfigObj that is on no path until it is required, as easy_install -m leaves it, is TurboGears' own all the
    same; check reports what it reads."""
    own = copy_of(turbogears1)
    listed = own.site_packages / "easy-install.pth"
    listed.write_text("".join(line for line in listed.read_text().splitlines(True) if "configobj" not in line))
    assert own.run("import configobj", check=False).returncode
    site = _site(shared_tmp, own.python)
    site.write(f"{SETTINGS}a = 0644\nb = )\n")
    result = eggcache("check", "--python", own.python, "--user", "nobody", "--json", "--app-config", site.config)
    (invalid,) = [finding for finding in as_json(result)["findings"] if finding["code"] == "app-config-invalid"]
    assert invalid["cause"] == "TurboGears cannot read it: Parse error in value at line 5"


def test_a_flood_is_refused(either: Configured) -> None:
    """A configuration without end is not read to its end."""
    either.write(SETTINGS.encode() + b"# a line\n" * 100_000)
    assert either.codes() == []
    either.write(SETTINGS.encode() + b"# a line\n" * 200_000)
    assert either.codes() == ["app-config-invalid"]


def test_names_of_the_file_are_fit_for_a_line(either: Configured) -> None:
    """Control characters of a handler or a path reach no terminal."""
    either.write(f"{SETTINGS}\n[logging]\n[[handlers]]\n[[[a\x1b[31m]]]\nclass='FileHandler'\nargs='()'\n".encode())
    ((_, thing, _),) = either.findings()
    assert thing == f"{either.config} [[[a\\x1b[31m]]]"
    either.handler("FileHandler", "('/a\\n\\x1b[31m',)")
    ((code, thing, _),) = either.findings()
    assert (code, thing) == ("log-file-unwritable", "/a\\n\\x1b[31m")


def test_arguments_cannot_bring_the_reader_down(site: Configured) -> None:
    """Whatever a handler's arguments are, the answer is a path or that there is none, soon."""
    for args in (
        "(" * 3000,
        "-" * 4000 + "1",
        "{1:" * 1000,
        "1+" * 2000,
        "not " * 1000 + "1",
        "('/x'," * 500,
        "'" * 9000,
    ):
        assert application._first_argument(args) is None, args[:9]
    site.handler("FileHandler", "-" * 4000 + "1")
    assert site.codes() == ["log-file-unknown"]


def test_nothing_is_changed(site: Configured) -> None:
    """Looking leaves every file and directory as it was."""
    site.handler("RotatingFileHandler", f"('{site.logs}/x.log',)")
    os.chown(site.logs, site.account.uid, -1)
    before = {path: os.stat(path) for path in (site.root, site.config, site.logs)}
    assert site.findings() == []
    assert [(info.st_mtime_ns, info.st_ctime_ns, stat.S_IMODE(info.st_mode)) for info in before.values()] == [
        (info.st_mtime_ns, info.st_ctime_ns, stat.S_IMODE(info.st_mode)) for info in map(os.stat, before)
    ]
    assert os.geteuid() == 0
