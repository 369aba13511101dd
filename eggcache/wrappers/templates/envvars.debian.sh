# shellcheck shell=sh disable=SC1003,SC2012,SC2016,SC2089,SC2090,SC2288,SC2289,SC2317,SC2329
# The environment of Debian's Apache with an egg cache for its Python. Written by `eggcache wrapper`.
#
# Where:  /etc/apache2/envvars-eggcache (no conffile is changed; no space in its path: apache2ctl does not quote it)
# After:  APACHE_ENVVARS=/etc/apache2/envvars-eggcache; export APACHE_ENVVARS
#         apache2ctl ready && apache2ctl stop && apache2ctl start
#
# apache2ctl and /etc/init.d/apache2 read the file that APACHE_ENVVARS names, `service` and systemd do not pass the name
# on: `--for init.d` and `--for systemd` are for them, and where apache2ctl has systemd start Apache, this refuses.
@if PREPARE@
# Whoever reads this prepares, and ends before it starts Apache where that fails; stop, status and configtest are not
# touched. `apache2ctl ready` prepares, tests the configuration, and fails where `start` would, while Apache goes on.
@else@
# Whoever reads this ends before it starts Apache where the cache, which came in an archive, is not there; stop, status
# and configtest are not touched. `apache2ctl ready` tests the configuration, and fails where `start` would, while
# Apache goes on.
@end@

# shellcheck source=/dev/null
. "${APACHE_CONFDIR:-/etc/apache2}/envvars"

@SOURCED@
