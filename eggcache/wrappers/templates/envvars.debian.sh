# shellcheck shell=sh disable=SC1003,SC2012,SC2016,SC2089,SC2090,SC2288,SC2289,SC2317,SC2329
# The environment of Debian's Apache with an egg cache for its Python. Written by `eggcache wrapper`.
#
# Where:  /etc/apache2/envvars-eggcache (no conffile is changed; no space in its path: apache2ctl does not quote it)
# After:  APACHE_ENVVARS=/etc/apache2/envvars-eggcache; export APACHE_ENVVARS
#         apache2ctl stop; apache2ctl start
#
# apache2ctl and /etc/init.d/apache2 read the file that APACHE_ENVVARS names, `service` and systemd do not pass the name
@if PREPARE@
# on: `--for init.d` and `--for systemd` are for them. Where the cache cannot be prepared, whoever reads this ends before
# it starts Apache; stop, status and configtest are not touched.
@else@
# on: `--for init.d` and `--for systemd` are for them. Where the cache, which came in an archive, is not there, whoever
# reads this ends before it starts Apache; stop, status and configtest are not touched.
@end@

# shellcheck source=/dev/null
. "${APACHE_CONFDIR:-/etc/apache2}/envvars"

@SOURCED@
