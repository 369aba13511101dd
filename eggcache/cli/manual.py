"""The examples of each command, which its help and the manual page end with.

Imported where somebody asks for help, and by what makes the documentation; never by a command that works.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("eggcache tree", "what is zipped, and what is missing"),
        ("eggcache prepare /var/cache/eggcache", "extract the eggs, locked down"),
        ("eggcache check --cache /var/cache/eggcache", "prove it, as Apache's user"),
        ("eggcache wrapper /var/cache/eggcache", "what this host starts Apache with"),
        ("eggcache COMMAND --help", "the options of one of them"),
        ("eggcache explain no-cache", "what a message with [no-cache] means, and what to do"),
    ),
    "tree": (
        ("eggcache tree", "the tree of TurboGears, or else all that is on the path"),
        ("eggcache tree myapp --python /srv/myapp/bin/python", "of an application, for Apache's Python"),
        ("eggcache tree --all --path /srv/eggs", "all that is on the path, and in /srv/eggs"),
        ("eggcache tree --reverse kid", "who needs kid?"),
        ("eggcache tree --cache /var/cache/eggcache", "what is prepared, and what is not"),
        ("eggcache tree --format dot | dot -Tsvg > tree.svg", "a picture, by graphviz"),
        ("eggcache tree --json", "for a script"),
    ),
    "unzip-all": (
        ("eggcache unzip-all -n", "what would be done"),
        ("eggcache unzip-all --backup /var/backups/eggs", "do it, and keep the zips"),
        ("eggcache unzip-all --undo --backup /var/backups/eggs", "put the zips that were kept back"),
        ("eggcache unzip-all kid Genshi", "these two, and what they require"),
    ),
    "prepare": (
        ("eggcache prepare -n /var/cache/eggcache", "what would be done"),
        ("eggcache prepare /var/cache/eggcache", "everything that the server can import"),
        ("eggcache prepare /var/cache/eggcache myapp --user www-data", "of an application, for that user"),
        ("eggcache prepare --path-from /srv/shop/bin/instance /var/cache/eggcache", "of a zc.buildout"),
        ("eggcache prepare --trac-env /srv/trac/env /var/cache/eggcache", "with the plugins of a Trac"),
        ("eggcache prepare --reset /tmp/turbogears-eggcache", "where anybody could have been first"),
        ("eggcache prepare --prune /var/cache/eggcache", "and remove what no egg needs any more"),
    ),
    "check": (
        ("eggcache check --cache /var/cache/eggcache", "will Apache's user get all of it?"),
        ("eggcache check myapp --cache /var/cache/eggcache --import myapp", "and does the application import?"),
        ("eggcache check myapp --script /srv/myapp/app.wsgi", "and does its script set another cache?"),
        ("eggcache check --app-config /srv/myapp/prod.cfg --location /myapp", "and is its configuration right?"),
        (
            "eggcache check -q --cache /var/cache/eggcache",
            "for a mail: nothing but findings, of each tree that it is for",
        ),
        ("eggcache check --json --ignore other-python", "for a monitor: exit status 3 is a finding of another code"),
    ),
    "status": (
        ("eggcache status /var/cache/eggcache", "what is in it, and is it current?"),
        ("eggcache status -v /var/cache/eggcache", "and all that changed"),
        ("eggcache status --json /var/cache/eggcache", "for a monitor: exit status 3 is stale"),
    ),
    "remove": (
        ("eggcache remove -n /var/cache/eggcache", "what would be removed"),
        ("eggcache remove /var/cache/eggcache", "all of it"),
    ),
    "wheels": (
        ("eggcache wheels -n /srv/wheels", "what would be written"),
        ("eggcache wheels /srv/wheels TurboGears2", "a tree, for pip install --no-index --find-links /srv/wheels"),
        ("eggcache wheels /srv/wheels", "every egg on the path"),
    ),
    "archive": (
        ("eggcache archive -n cache.tar", "what would be in it"),
        ("eggcache archive cache.tar --group 48 --tz UTC0", "for a host that has no eggcache, and its group 48"),
        ("eggcache archive - --group 48 --tz UTC0 | ssh host tar -xpf - -C /", "put in its place there"),
        (
            "eggcache archive cache.tar --eggs-in ./eggs --for-python 2.4 --for-setuptools 0.6c11",
            "of a copy of the eggs, without their Python",
        ),
        (
            "eggcache archive eggs.tar --unzipped --eggs-in ./eggs --site-packages /usr/lib/python2.6/site-packages",
            "no cache: directories for the zips that lie there on the host",
        ),
    ),
    "report": (
        ("eggcache report -o site.html --cache /var/cache/eggcache", "a page to look at, to print or to send"),
        ("eggcache report -o fleet.html web1.json web2.json", "of what check --json said on each host: a table"),
    ),
    "explain": (
        ("eggcache explain member-outdated", "what a message with [member-outdated] means"),
        ("eggcache explain", "every code that there is"),
    ),
    "wrapper": (
        ("eggcache wrapper /var/cache/eggcache", "what is right on this host, and why"),
        ("eggcache wrapper /var/cache/eggcache --for init.d -o /etc/init.d/apache-eggs", "an init script, installed"),
        ("eggcache wrapper /var/cache/eggcache --for systemd", "a drop-in for Apache's unit"),
        ('eval "$(eggcache wrapper /var/cache/eggcache --for shell)"', "in a script of your own"),
        ("eggcache wrapper /var/cache/eggcache --for shell --prepared-elsewhere", "for a host without eggcache"),
    ),
}
"""Of each command (and of eggcache itself, under ""): what to type, and what for."""


def epilog(command: str) -> str:
    """What stands below the options in the help of `command` ("": of eggcache itself)."""
    lines = ["examples:"]
    for words, purpose in EXAMPLES.get(command, ()):
        lines += [f"  {words}", f"      {purpose}"]
    if command not in ("", "explain"):
        lines += ["", "eggcache explain CODE tells what the code in brackets in a message means"]
    return "\n".join(lines)
