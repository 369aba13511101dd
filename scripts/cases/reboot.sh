# A page of Debian's apache2 is there after a reboot that emptied /tmp, and a new egg after a restart.
# boots: systemd systemd

boot_1() {
    mkdir -p /srv/site /srv/tmp
    egg /srv/site/$name old
    wsgi_page /srv /srv/site/$name
    chmod -R go+rX /srv
    judge "prepared for Debian's apache2" eggcache prepare /var/cache/eggcache --python /usr/bin/python3 --path /srv/site
    mkdir -p /etc/systemd/system/apache2.service.d
    judge "the drop-in is written" eggcache wrapper /var/cache/eggcache --for systemd \
        -o /etc/systemd/system/apache2.service.d/50-eggcache.conf
    systemctl daemon-reload
    judge "apache2 restarts" systemctl restart apache2
    judge "the page is there" says 0 old curl -sS --fail http://localhost/page
    touch /tmp/stays-not
}

boot_2() {
    judge "/tmp was emptied" test ! -e /tmp/stays-not
    judge "the page is there after the boot" says 0 old curl -sS --fail http://localhost/page
    judge "check agrees" eggcache check --cache /var/cache/eggcache
    egg /srv/site/$name new
    judge "apache2 restarts with a new egg" systemctl restart apache2
    judge "its page is there" says 0 new curl -sS --fail http://localhost/page
    judge "and Apache's account gets all of it" says 0 new asked www-data /srv/site /var/cache/eggcache
}
