"""The settings of a site that a wrapper must not take away: its time zone, and mod_python's PythonPath."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace

from eggcache.cache import groups_and_time_zones, receipt
from eggcache.cli import arguments, console, next_command
from eggcache.errors import Remedy, UsageError
from eggcache.servers import apache, apache_configuration, declared_environments, environment_variables, python_path
from eggcache.target.command_lines import Prepare
from eggcache.wrappers import destination, emission, modpython


def keep_zone(prepare: Prepare, kind: str, host: apache.Apache, options: argparse.Namespace) -> None:
    """Refuse to have Apache in another time zone than it is in now, which nobody has said by --tz.

    :param prepare: what the wrapper is going to run
    :param kind: a name of KINDS
    :param host: the Apache that is meant
    :param options: of the command line
    :raises UsageError: the wrapper is for another zone
    """
    environment = declared_environments.naming(_declared(kind, host, options), "TZ")
    zone = environment.values.get("TZ") if environment else None
    replaced = destination.ours(options.output).values() if options.output else ()
    if environment is None or zone is None or any("TZ=" in line and zone in line for line in replaced):
        return
    now = [(year, month, 1, 12, 0, 0) for year in range(2020, 2038) for month in range(1, 13)]
    if not environment_variables.agree(now, zone, prepare.target.timezone):
        there = replace(prepare, target=prepare.target._replace(timezone=zone))
        if receipt.of_safe_directory(prepare.directory).entries:  # whose dates are right for the other zone
            there = groups_and_time_zones.directory_of_zone(there)
        again = next_command.repeated(options, "--tz", zone, there.directory, without=options.directory)
        ours = environment_variables.zone_words(prepare.target.timezone)
        cause = f"TZ is {zone!r} there, by which the application tells the time, and with this wrapper {ours}"
        remedy = Remedy(f"say by --tz which is meant; for {zone}", f"{there.line('--lenient')} && {again}")
        raise UsageError(environment.thing, cause, remedy)


def _declared(
    kind: str, host: apache.Apache, options: argparse.Namespace
) -> Iterator[environment_variables.Environment]:
    """What starts the Apache that is meant, and says in which time zone."""
    unit, control = host.unit if kind == "systemd" else host.starter, host.apachectl or ""
    envvars = os.path.join(os.path.dirname(control), "envvars")
    if not control or emission.takes_envvars(control):
        envvars = apache.envvars_of(control)
    for environment in declared_environments.declared(unit, envvars):
        name = os.path.basename(environment.thing)
        # An instance (apache2@x.service) has an envvars of its own
        if name == (unit and unit.name) or (name == "envvars" and not options.unit) or kind == "sysconfig":
            yield environment


def has_python_path(modules: str, host: apache.Apache, options: argparse.Namespace) -> bool:
    """Whether the site's own PythonPath has what the text needs. One that lacks something would be none beside that of
    the text, or take its place.

    :param modules: the directory of the wrapper's modules
    :param host: the Apache that is meant
    :param options: of the command line
    :raises UsageError: it lacks something
    """
    configuration = apache_configuration.read(host)
    if configuration.problem:
        cause = "whether it has a PythonPath already, beside which that of the text does not count, cannot be told"
        console.warn(f"{configuration.program}: {cause}: {configuration.problem}", options)
    ours = destination.ours(options.output) if options.output else {}
    line = python_path.last(configuration, options.output or "", ours)
    if line is None:
        return False
    missing = [
        path for path in (modules, *arguments.paths(options)) if os.path.normpath(path) not in python_path.named(line)
    ]
    if missing:
        cause = "of this PythonPath and the one of the text the last counts alone"
        whole = modpython.python_path_of(missing, f"({line.words[0]})")
        raise UsageError(line.place, cause, f"write it as {whole} and run this again")
    return not python_path.of_wrapper(configuration, line)
