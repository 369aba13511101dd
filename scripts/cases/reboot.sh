# A page of Debian's apache2 is there after a reboot that emptied /tmp, and a new egg after a restart.
# boots: systemd systemd

boot_1() {
    mkdir -p /srv/site /srv/tmp
    egg /srv/site/page-1.0-py3.11.egg old
    cat >/srv/page.wsgi <<'END'
import sys
sys.path.insert(0, "/srv/site/page-1.0-py3.11.egg")
import pkg_resources

def application(environ, start_response):
    with open(pkg_resources.resource_filename("page", "files/01.txt"), "rb") as stream:
        word = stream.readline()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [word]
END
    cat >/etc/apache2/conf-enabled/page.conf <<'END'
ServerName localhost
WSGIScriptAlias /page /srv/page.wsgi
<Directory /srv>
    Require all granted
</Directory>
END
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
    egg /srv/site/page-1.0-py3.11.egg new
    judge "apache2 restarts with a new egg" systemctl restart apache2
    judge "its page is there" says 0 new curl -sS --fail http://localhost/page
    judge "and Apache's account gets all of it" says 0 new asked www-data /srv/site /var/cache/eggcache
}
