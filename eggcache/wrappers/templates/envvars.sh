# shellcheck shell=sh disable=SC1003,SC2012,SC2016,SC2089,SC2090,SC2288,SC2289,SC2317,SC2329
# The environment of a self-compiled Apache whose Python needs an egg cache. Written by `eggcache wrapper`.
#
# Where:  at the end of the envvars file beside apachectl, such as /usr/local/apache2/bin/envvars.
# After:  apachectl ready && apachectl stop && apachectl start
#
@if PREPARE@
# apachectl reads it each time. Where the cache cannot be prepared, apachectl ends before it starts Apache; stop, status
# and configtest are not touched. `apachectl ready` prepares, tests the configuration, and fails where `start` would,
# while Apache goes on, which never gets a new environment as it runs. On a system other than Linux eggcache cannot
# prepare: there, PYTHON_EGG_CACHE and its export, the first two lines, are all that is wanted;
# stop Apache and start it.
@else@
# apachectl reads it each time. Where the cache, which came in an archive, is not there, apachectl ends before it starts
# Apache; stop, status and configtest are not touched. `apachectl ready` tests the configuration, and fails where
# `start` would, while Apache goes on, which never gets a new environment as it runs.
@end@

@SOURCED@
