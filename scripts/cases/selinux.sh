# SELinux enforces Debian's policy: check says what keeps httpd_t from the cache, and what it prints has the page served.
# boots: systemd systemd
# kernel: security=selinux selinux=1

cache=/var/cache/eggcache site=/usr/local/lib/site page=http://localhost/page

# Permissive: no file of the image has a label before setfiles has given it one.
boot_1() {
    judge "the policy is loaded" test -e /sys/fs/selinux/policy
    mkdir -p $site /etc/systemd/system/apache2.service.d
    egg $site/$name old
    chmod -R go+rX $site
    wsgi_page /var/www $site/$name
    judge "all files get their labels" setfiles -F /etc/selinux/default/contexts/files/file_contexts /
    sed -i 's/^SELINUX=.*/SELINUX=enforcing/' /etc/selinux/config
}

boot_2() {
    judge "SELinux enforces" says 0 Enforcing getenforce
    judge "Apache is confined" says 0 :httpd_t: ps -o label= -C apache2
    judge "prepare" eggcache prepare $cache --python /usr/bin/python3 --path $site
    judge "the drop-in is written" eggcache wrapper $cache --for systemd \
        -o /etc/systemd/system/apache2.service.d/50-eggcache.conf
    systemctl daemon-reload
    judge "apache2 starts" systemctl restart apache2
    judge "there is no page" says 22 500 curl -sS --fail $page
    ls -Zd $cache
    report=$(eggcache check --json --cache $cache)
    judge "check ends with 3" test $? = 3
    remedy=$(printf '%s' "$report" | python3 -c '
import json, sys
[finding] = json.load(sys.stdin)["findings"]
assert finding["code"] == "selinux-label", finding
print(finding["command"])')
    judge "its remedy has a command" test -n "$remedy"
    printf '%s\n' "$remedy"
    judge "the command ends well" sh -c "$remedy"
    judge "apache2 restarts" systemctl restart apache2
    judge "the page is there" says 0 old curl -sS --fail $page
    judge "check agrees" eggcache check --cache $cache
    egg $site/$name new
    judge "apache2 restarts with a new egg" systemctl restart apache2
    judge "its page is there" says 0 new curl -sS --fail $page
    judge "check agrees with it" eggcache check --cache $cache
    ls -lZ $cache
    judge "remove" eggcache remove $cache
    dmesg | grep -o 'avc:  denied.*' | grep -v -e tmpfile -e udevd -e nfsdcld | sort | uniq -c | tail -20
}
