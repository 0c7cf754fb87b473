package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/smtp"
	"net/textproto"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"sekisho/internal/sqldb"
	"sekisho/internal/sqltest"
	"sekisho/internal/testsite"
	"sekisho/internal/zone"
)

// TestPostfixAdmin makes accounts by the pages of the real PostfixAdmin and
// sends mail with them, through the map queries of its documentation.
func TestPostfixAdmin(t *testing.T) {
	for _, engine := range []string{sqldb.MySQL, sqldb.PostgreSQL} {
		t.Run(engine, func(t *testing.T) {
			db := sqltest.Start(t, engine)
			admin := newAdmin(t, db.PostfixAdmin())
			admin.post("edit.php", "table=domain", "submit=Add Domain", "value[domain]=web.test", "value[description]=made here",
				"value[aliases]=10", "value[mailboxes]=10", "value[password_expiry]=365", "value[active]=1", "value[default_aliases]=1")
			for _, user := range []string{"alice", "bob"} {
				admin.post("edit.php", "table=mailbox", "submit=Add Mailbox", "value[local_part]="+user, "value[domain]=web.test",
					"value[password]="+user+"-Secret-12", "value[password2]="+user+"-Secret-12", "value[name]="+user, "value[quota]=10", "value[active]=1")
			}
			admin.post("edit.php", "table=alias", "submit=Add Alias", "value[localpart]=team", "value[domain]=web.test",
				"value[goto]=bob@web.test", "value[active]=1")

			s := newSQLSite(t, db)
			s.wantSent(t, "alice", "to-a-team")
			if code, text := s.send(t, "alice", "wrong", "team@web.test", "x"); code != 535 {
				t.Errorf("a wrong password: %d %s", code, text)
			}
			for address, want := range map[string]int{"none@web.test": 550, "bob@none.test": 554, "ユーザ@web.test": 550, "bob@web.test": 250} {
				if code, text := s.rcpt(t, address); code != want {
					t.Errorf("%s: %d %s, want %d", address, code, text, want)
				}
			}

			db.Stop()
			if code, text := s.send(t, "alice", "alice-Secret-12", "team@web.test", "x"); code != 454 {
				t.Errorf("AUTH while the database is down: %d %s", code, text)
			}
			if code, text := s.rcpt(t, "bob@web.test"); code != 451 {
				t.Errorf("RCPT while the database is down: %d %s", code, text)
			}
			db.Start()
			await(t, 30*time.Second, "recovery", func() bool {
				code, _ := s.rcpt(t, "bob@web.test")
				return code == 250
			})
			s.wantSent(t, "alice", "after-the-restart")

			admin.post("editactive.php?table=mailbox&field=active&id=alice@web.test&active=0")
			if code, text := s.send(t, "alice", "alice-Secret-12", "team@web.test", "x"); code != 535 {
				t.Errorf("an account that the page has switched off: %d %s", code, text)
			}
		})
	}
}

// admin is somebody who has logged in to PostfixAdmin.
type admin struct {
	t      *testing.T
	base   string
	client *http.Client
}

// newAdmin serves the pages by PHP's own server, makes an administrator on
// setup.php and logs in.
func newAdmin(t *testing.T, pages string) *admin {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := freePorts(t, 1)[0]
	cmd := exec.Command(need(t, "php", "php-cli"), "-S", addr, "-t", pages)
	php, err := testsite.StartCommand(cmd, io.Discard, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(php.Kill)
	a := &admin{t: t, base: "http://" + addr + "/", client: &http.Client{Jar: jar, Timeout: time.Minute}}
	const name, password = "admin@web.test", "Admin-Secret-12"
	a.do("setup.php", "setup_password="+sqltest.SetupPassword, "submit=createadmin", "username="+name, "password="+password, "password2="+password)
	page := a.post("login.php", "fUsername="+name, "fPassword="+password, "lang=en")
	if !strings.Contains(page, "Logged in as "+name) {
		t.Fatalf("login at PostfixAdmin:\n%s", page)
	}
	return a
}

var token = regexp.MustCompile(`name="token" value="([^"]*)"`)

// post sends a form, with the token that the page of the form bears, and
// returns the page that follows.
func (a *admin) post(path string, fields ...string) string {
	a.t.Helper()
	form := path
	if strings.HasPrefix(path, "edit.php") {
		form += "?" + fields[0]
	} else if strings.HasPrefix(path, "editactive.php") {
		form = "edit.php?table=mailbox"
	}
	m := token.FindStringSubmatch(a.do(form))
	if m == nil {
		a.t.Fatalf("%s has no token", form)
	}
	if strings.HasPrefix(path, "editactive.php") {
		return a.do(path + "&token=" + m[1])
	}
	page := a.do(path, append(fields, "token="+m[1])...)
	if strings.Contains(page, "has-error") || strings.Contains(page, "alert-danger") {
		a.t.Fatalf("%s %q: refused\n%s", path, fields, page)
	}
	return page
}

// do gets a page, or posts fields to it.
func (a *admin) do(path string, fields ...string) string {
	a.t.Helper()
	var resp *http.Response
	var err error
	if len(fields) == 0 {
		resp, err = a.client.Get(a.base + path)
	} else {
		values := url.Values{}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, "=")
			values.Set(name, value)
		}
		resp, err = a.client.PostForm(a.base+path, values)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("%s: %s, %v\n%s", path, resp.Status, err, body)
	}
	return string(body)
}

// sqlSite is a site whose accounts and maps are PostfixAdmin's.
type sqlSite struct {
	*site
	addr string
}

func newSQLSite(t *testing.T, db *sqltest.Server) *sqlSite {
	t.Helper()
	z, err := zone.Parse("zone", strings.NewReader("web.test MX 10 mx.example.test\n"))
	if err != nil {
		t.Fatal(err)
	}
	dns, err := z.Serve("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	s := &sqlSite{site: newSite(t, strings.ReplaceAll(`sekisho_dns_servers = `+dns.Addr()+`
sekisho_directory = TYPE:{conf}/directory.cf
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = sekisho
smtpd_recipient_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_relay_restrictions =
virtual_mailbox_domains = proxy:TYPE:{conf}/domains.cf
virtual_mailbox_maps = proxy:TYPE:{conf}/mailboxes.cf, proxy:TYPE:{conf}/alias_domain_mailboxes.cf
virtual_alias_maps = proxy:TYPE:{conf}/aliases.cf, proxy:TYPE:{conf}/alias_domains.cf
`, "TYPE", db.Engine)), addr: freePorts(t, 1)[0]}
	both := "CONCAT('%u', '@', alias_domain.target_domain)"
	for file, query := range map[string]string{
		"directory.cf":              "",
		"domains.cf":                "SELECT domain FROM domain WHERE domain='%s' AND active = '1'",
		"mailboxes.cf":              "SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'",
		"aliases.cf":                "SELECT goto FROM alias WHERE address='%s' AND active = '1'",
		"alias_domains.cf":          "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and alias.address = " + both + " AND alias.active='1' AND alias_domain.active='1'",
		"alias_domain_mailboxes.cf": "SELECT maildir FROM mailbox,alias_domain WHERE alias_domain.alias_domain = '%d' and mailbox.username = " + both + " AND mailbox.active='1' AND alias_domain.active='1'",
	} {
		s.write(t, file, db.SettingsFor("inet:"+db.Addr)+"query = "+query+"\n")
	}
	s.services(t, s.addr+" inet n - n - - smtpd\n")
	s.serve(t, s.addr)
	return s
}

// wantSent sends a message to team@web.test, which has to arrive at bob's.
func (s *sqlSite) wantSent(t *testing.T, user, subject string) {
	t.Helper()
	if code, text := s.send(t, user, user+"-Secret-12", "team@web.test", subject); code != 0 {
		t.Fatalf("%s: %d %s", subject, code, text)
	}
	mailbox := &mailSite{site: s.site}
	await(t, 20*time.Second, "delivery", func() bool {
		return strings.Contains(mailbox.find(t, "web.test/bob", subject), "\nThis is "+subject)
	})
}

// send logs in as a user of web.test and sends a message. It returns the reply
// that refused, 0 if none did.
func (s *sqlSite) send(t *testing.T, user, password, to, subject string) (int, string) {
	t.Helper()
	user += "@web.test"
	auth := smtp.PlainAuth("", user, password, "127.0.0.1")
	message := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nThis is %s.\r\n", user, to, subject, subject)
	return refusal(t, smtp.SendMail(s.addr, auth, user, []string{to}, []byte(message)))
}

// rcpt asks as a stranger whether mail to an address is taken.
func (s *sqlSite) rcpt(t *testing.T, to string) (int, string) {
	t.Helper()
	c, err := smtp.Dial(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("stranger@web.test"); err != nil {
		return refusal(t, err)
	}
	if code, text := refusal(t, c.Rcpt(to)); code != 0 {
		return code, text
	}
	return 250, ""
}

// refusal returns the code in an error of package smtp.
func refusal(t *testing.T, err error) (int, string) {
	t.Helper()
	if err == nil {
		return 0, ""
	}
	if r, ok := err.(*textproto.Error); ok {
		return r.Code, r.Msg
	}
	t.Fatal(err)
	return 0, ""
}
