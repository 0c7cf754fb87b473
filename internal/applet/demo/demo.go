package demo

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"sekisho/internal/applet/serve"
	"sekisho/internal/config"
	"sekisho/internal/dns"
	"sekisho/internal/master"
	"sekisho/internal/zone"
)

// Cmd is "sekisho demo".
type Cmd struct {
	Dir string `arg:"" optional:"" default:"run" help:"Folder of the site; it is made if it is missing (${default})."`
	Ports
}

// Run makes the site and serves it until a signal ends it.
func (c *Cmd) Run(e *serve.Env) error {
	// Root's folder is often closed to others: mail is written as whoever runs
	// the demo.
	if err := master.StayOneUser(); err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	if err := create(e.Context, dir, c.Ports, e.Clock); err != nil {
		return fmt.Errorf("demo: cannot make the site: %w", err)
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		return err
	}
	names, err := serveZone(cfg)
	if err != nil {
		return err
	}
	if names != nil {
		defer names.Close()
	}
	stay := func(*config.Config) error { return nil }
	return serve.Serve(e, dir, stay, func() { tell(e.Out, c.Dir, servers(cfg)) })
}

// serveZone runs the site's name server, unless its configuration asks others.
func serveZone(cfg *config.Config) (*dns.Server, error) {
	addrs := cfg.Strings("sekisho_dns_servers")
	if len(addrs) != 1 || !strings.HasPrefix(addrs[0], "127.0.0.1:") {
		return nil, nil
	}
	z, err := zone.Load(filepath.Join(cfg.Dir, "zone"))
	if err != nil {
		return nil, err
	}
	s, err := z.Serve(addrs[0])
	if err != nil {
		return nil, fmt.Errorf("%s: the demo's name server: %w", cfg.Pos("sekisho_dns_servers"), err)
	}
	return s, nil
}

// listening are the addresses of a site's servers by what they are for; empty
// when it has none of that kind.
type listening struct{ smtp, submission, submissions string }

// servers finds the site's servers, whose ports may have been changed since it
// was made.
func servers(cfg *config.Config) listening {
	var l listening
	for _, e := range cfg.Services {
		if e.Type != "inet" || filepath.Base(e.Command) != "smtpd" {
			continue
		}
		if _, _, err := net.SplitHostPort(e.Name); err != nil {
			continue
		}
		switch v := cfg.Service(e); {
		case v.Bool("smtpd_tls_wrappermode"):
			l.submissions = e.Name
		case v.Str("smtpd_tls_security_level") == "encrypt":
			l.submission = e.Name
		default:
			l.smtp = e.Name
		}
	}
	return l
}

// example is a command to try, and what comes of it.
type example struct {
	title   string
	server  string // smtp://HOST:PORT
	options string
	from    string
	to      string
	result  string
}

// tell prints what to try. The write can only fail when nobody reads it.
func tell(w io.Writer, dir string, l listening) {
	mail := filepath.Join(dir, "mail")
	login := func(user string) string { return "--user " + user + ":" + passwordOf(user) }
	examples := []example{
		{"alice logs in and writes to bob", "smtp://" + l.submission, "--ssl-reqd " + login("alice@demo.test"),
			"alice@demo.test", "bob@demo.test", "cat " + mail + "/demo.test/bob/new/*"},
		{"carol does the same, with TLS from the first byte", "smtps://" + l.submissions, login("carol@second.test"),
			"carol@second.test", "alice@demo.test", "cat " + mail + "/demo.test/alice/new/*"},
		{"a stranger wants to relay", "smtp://" + l.smtp, "",
			"someone@sender.test", "friend@elsewhere.test", "# 554 5.7.1 <friend@elsewhere.test>: Relay access denied"},
		{"check_sender_access refuses a sender", "smtp://" + l.smtp, "",
			"spammer@sender.test", "bob@demo.test", "# 554 5.7.1 <spammer@sender.test>: Sender address rejected: We know you"},
		{"reject_rbl_client refuses a client that is on a block list", "smtp://" + l.smtp, "--interface 127.0.0.6",
			"someone@sender.test", "bob@demo.test", "# 554 5.7.1 Service unavailable; Client host [127.0.0.6] blocked using bl.spamcop.net"},
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nSekisho serves the demo site in %s; Ctrl-C stops it. Paste into another terminal:\n", dir)
	for _, e := range examples {
		if !strings.HasSuffix(e.server, "//") {
			fmt.Fprintf(&b, "\n# %s\n%s\n%s\n", e.title, e.command(dir), e.result)
		}
	}
	fmt.Fprintf(&b, "\nDelivered mail is in %s/DOMAIN/USER/new/, accounts are listed by\n  ./bin/sekisho mailbox list -c %s\n\n", mail, dir)
	_, _ = io.WriteString(w, b.String())
}

func (e example) command(dir string) string {
	words := []string{"curl -sv -k --crlf", "--url " + e.server}
	if e.options != "" {
		words = append(words, e.options)
	}
	words = append(words, "--mail-from "+e.from, "--mail-rcpt "+e.to, "-T "+filepath.Join(dir, "hello.eml"))
	return strings.Join(words, " ")
}
