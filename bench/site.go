package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"sekisho/internal/testsite"
)

// mailboxes is how many recipients there are, user0@bench.test and so on.
const mailboxes = 20

// site is the configuration and the directories of one server.
type site struct {
	addr    string // where it listens, host:port
	conf    string // configuration directory
	queue   string
	mailDir string
	data    string
	log     string
	main    string // main.cf
	cleared int    // how often clearMail was called
}

// client returns a client that talks to the site's server.
func (s *site) client() *client { return &client{addr: s.addr} }

// mailboxDir is the Maildir of recipient i below the site's mailDir.
func mailboxDir(i int) string { return fmt.Sprintf("bench.test/user%d", i) }

// mainCF is main.cf of both servers. No parameter in it makes either ask the
// DNS: the client's name comes from the hosts file, no domain is looked up.
// in_flow_delay would make Postfix wait a second now and then when mail comes
// in faster than it is delivered; the limits of anvil(8) would refuse the load.
const mainCF = `compatibility_level = 3.6
myhostname = mx.bench.test
mydomain = bench.test
myorigin = $mydomain
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1/32
queue_directory = {queue}
data_directory = {data}
mail_owner = {owner}
setgid_group = postdrop
maillog_file = {log}
maillog_file_prefixes = {dir}
alias_maps =
alias_database =
local_recipient_maps =
biff = no
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
smtpd_relay_restrictions =
smtpd_recipient_restrictions = reject_unauth_destination
virtual_mailbox_domains = bench.test
virtual_mailbox_maps = hash:{conf}/mailboxes
virtual_alias_maps =
virtual_mailbox_base = {mail}
virtual_mailbox_limit = 0
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
`

// masterCF is master.cf of both servers, Debian's without chroot and with the
// one listener. Its limit lets every connection of a measurement in.
const masterCF = `{addr} inet n - n - 12000 smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
`

// newSite writes the configuration of a server into dir/name. What the server
// writes belongs to owner.
func newSite(dir, name string, owner *user.User) (*site, error) {
	dir = filepath.Join(dir, name)
	addrs, err := testsite.Ports(1)
	if err != nil {
		return nil, err
	}
	s := &site{
		addr:    addrs[0],
		conf:    filepath.Join(dir, "conf"),
		queue:   filepath.Join(dir, "queue"),
		mailDir: filepath.Join(dir, "mail"),
		log:     filepath.Join(dir, "mail.log"),
	}
	s.data = filepath.Join(dir, "data")
	for _, d := range []string{s.conf, s.queue, s.data, s.mailDir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	uid, gid, err := ids(owner)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		owned := []string{s.data, s.mailDir}
		if name == "sekisho" {
			owned = append(owned, s.queue) // Postfix wants its own to be root's
		}
		for _, d := range owned {
			if err := os.Chown(d, uid, gid); err != nil {
				return nil, err
			}
		}
	}
	fill := strings.NewReplacer("{addr}", s.addr, "{conf}", s.conf, "{dir}", dir, "{queue}", s.queue, "{data}", s.data,
		"{owner}", owner.Username, "{log}", s.log, "{mail}", s.mailDir, "{uid}", strconv.Itoa(uid), "{gid}", strconv.Itoa(gid))
	var boxes strings.Builder
	for i := range mailboxes {
		fmt.Fprintf(&boxes, "user%d@bench.test %s/\n", i, mailboxDir(i))
	}
	s.main = fill.Replace(mainCF)
	for file, text := range map[string]string{"main.cf": s.main, "master.cf": masterCF, "mailboxes": boxes.String()} {
		if err := os.WriteFile(filepath.Join(s.conf, file), []byte(fill.Replace(text)), 0o644); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// configure adds settings to main.cf and writes smtpd.conf, instead of those
// before. Debian's Postfix looks for smtpd.conf there and nowhere else.
func (s *site) configure(settings, smtpd string) error {
	sasl := filepath.Join(s.conf, "sasl")
	return errors.Join(os.MkdirAll(sasl, 0o755),
		os.WriteFile(filepath.Join(sasl, "smtpd.conf"), []byte(smtpd), 0o644),
		os.WriteFile(filepath.Join(s.conf, "main.cf"), []byte(s.main+settings), 0o644))
}

// ids returns a user's numbers.
func ids(u *user.User) (uid, gid int, err error) {
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// lastLines returns the end of a log file, for error messages.
func lastLines(file string, n int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}
