package table_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sqltest"
	"sekisho/internal/testsite"
)

// ldif has people with addresses, groups of them, groups of groups, a group by
// URL, one that has itself, and one with a member that is gone.
const ldif = `dn: dc=example,dc=test
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=test
objectClass: organizationalUnit
ou: people

dn: cn=ann,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
cn: ann
sn: Ann
mail: ann@example.test
mail: Ann.Other@example.test
uid: ann
description: quota (10) *

dn: cn=bob,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
cn: bob
sn: Bob
mail: bob@example.test
uid: bob
o: bob,home
description:: w6l0w6k=

dn: cn=o'neil (x),ou=people,dc=example,dc=test
objectClass: inetOrgPerson
cn: o'neil (x)
sn: O*Neil
mail: o'neil@example.test
mail: star*@example.test
uid: back\slash

dn: ou=groups,dc=example,dc=test
objectClass: organizationalUnit
ou: groups

dn: cn=team,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: team
description: team@example.test
member: cn=ann,ou=people,dc=example,dc=test
member: cn=bob,ou=people,dc=example,dc=test
o: team-itself

dn: cn=all,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: all
description: all@example.test
member: cn=team,ou=groups,dc=example,dc=test
member: cn=o'neil (x),ou=people,dc=example,dc=test

dn: cn=loop,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: loop
description: loop@example.test
member: cn=loop,ou=groups,dc=example,dc=test
member: cn=bob,ou=people,dc=example,dc=test

dn: cn=gone,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: gone
description: gone@example.test
member: cn=nobody,ou=people,dc=example,dc=test
member: cn=bob,ou=people,dc=example,dc=test

dn: cn=url,ou=groups,dc=example,dc=test
objectClass: groupOfURLs
cn: url
description: url@example.test
memberURL: ldap:///ou=people,dc=example,dc=test?mail?one?(uid=*)
memberURL: ldap:///ou=people,dc=example,dc=test?cn?one?(uid=*)

dn: cn=badurl,ou=groups,dc=example,dc=test
objectClass: groupOfURLs
cn: badurl
description: badurl@example.test
memberURL: ldap:///ou=people,dc=example,dc=test?mail?wrong?(uid=*)

dn: ou=sub.example.test,dc=example,dc=test
objectClass: organizationalUnit
ou: sub.example.test

dn: cn=carl,ou=sub.example.test,dc=example,dc=test
objectClass: inetOrgPerson
cn: carl
sn: Carl
mail: carl@sub.example.test
uid: carl
`

// directory is a slapd with the above.
type directory struct {
	t                *testing.T
	dir              string // of the real postmap
	plain, tls, unix string // URLs
	ca               string
	server           *testsite.Server
	start            func()
	n                int
}

func startDirectory(t *testing.T) *directory {
	t.Helper()
	daemon := sqltest.Need(t, "slapd", "/usr/sbin")
	add := sqltest.Need(t, "slapadd", "/usr/sbin")
	d := &directory{t: t, dir: postmapDir(t)}
	work := t.TempDir()
	ports, err := testsite.Ports(2)
	if err != nil {
		t.Fatal(err)
	}
	d.ca = filepath.Join(work, "ca.pem")
	key := filepath.Join(work, "key.pem")
	certificate(t, d.ca, key)
	conf := filepath.Join(work, "slapd.conf")
	write(t, conf, strings.NewReplacer("DIR", work, "CA", d.ca, "KEY", key).Replace(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/dyngroup.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile CA
TLSCertificateKeyFile KEY
access to * by anonymous read by dn.exact="cn=secret,dc=example,dc=test" read by * read
database mdb
maxsize 10485760
suffix "dc=example,dc=test"
rootdn "cn=secret,dc=example,dc=test"
rootpw "pa,ss word"
directory DIR/db
index objectClass eq
`))
	if err := os.Mkdir(filepath.Join(work, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(add, "-f", conf)
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
	// Not t.TempDir: a socket's path must be short.
	short, err := os.MkdirTemp("", "sekisho-ldap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	d.plain, d.tls = "ldap://"+ports[0], "ldaps://"+ports[1]
	d.unix = "ldapi://" + url.QueryEscape(filepath.Join(short, "s"))
	d.start = func() {
		t.Helper()
		output := new(strings.Builder)
		d.server, err = testsite.StartCommand(exec.Command(daemon, "-d", "0", "-f", conf, "-h", d.plain+" "+d.tls+" "+d.unix), output, ports...)
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	d.start()
	t.Cleanup(func() { d.server.Stop(5 * time.Second) })
	return d
}

// certificate writes one for localhost that signs itself.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// spec writes a table's file.
func (d *directory) spec(text string) string {
	d.n++
	path := filepath.Join(d.dir, fmt.Sprintf("l%d.cf", d.n))
	for param, value := range map[string]string{"server_host": d.plain, "search_base": "dc=example,dc=test", "version": "3"} {
		if !strings.Contains("\n"+text, "\n"+param) {
			text += param + " = " + value + "\n"
		}
	}
	writeOld(d.t, path, text)
	return "ldap:" + path
}

// TestLDAP asks a real directory, and compares with the real postmap query by
// query.
func TestLDAP(t *testing.T) {
	d := startDirectory(t)
	const mail = "query_filter = (mail=%s)\nresult_attribute = uid\n"
	const group = "query_filter = (description=%s)\nresult_attribute = mail\nspecial_result_attribute = member, memberURL\n"
	people := []string{"ann@example.test", "ANN.other@example.test", "bob@example.test", "o'neil@example.test", "star*@example.test", "*@example.test", "*", "none@example.test", "(", "", "é@example.test"}
	groups := []string{"team@example.test", "all@example.test", "loop@example.test", "gone@example.test", "url@example.test", "badurl@example.test", "tét", "quota (10) *"}
	var wait sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, c := range []struct {
		text string
		keys []string
	}{
		{mail, people},
		{"query_filter = mail=%s\nresult_attribute = uid, sn\n", people},
		{"query_filter = (&(objectclass=person)(|(mail=%s)(uid=%u)))\nresult_attribute = mail\nresult_format = <%s> %U at %d\n", people},
		{"query_filter = (uid=%u)\nresult_attribute = mail\nresult_format=%1.%2 %%\n", people},
		{mail + "search_base = ou=people,dc=%2,dc=%1\n", people},
		{"query_filter = (mail=%s)\nresult_attribute=sn\nsearch_base = ou=%d,dc=example,dc=test\n", []string{"carl@sub.example.test", "ann@example.test", "carl", "x@a,b"}},
		{mail + "domain = example.test\n", []string{"ann@example.test", "ann@sub.example.test", "ann", "@example.test"}},
		{mail + "scope = one\n", people[:2]},
		{mail + "scope = base\nsearch_base = cn=ann,ou=people,dc=example,dc=test\n", people[:3]},
		{mail + "search_base = ou=nowhere,dc=example,dc=test\n", people[:1]},
		{mail + "search_base = nonsense\n", people[:1]},
		{"query_filter = (objectclass=%s)\nresult_attribute=cn\n", []string{"inetorgperson", "none"}},
		{"query_filter = (objectclass=%s)\nresult_attribute=cn\nsize_limit=2\n", []string{"inetorgperson", "dcobject"}},
		{"query_filter = (objectclass=%s)\nresult_attribute=cn\nexpansion_limit=2\n", []string{"inetorgperson", "dcobject"}},
		{"query_filter = (objectclass=%s)\nresult_attribute=mail\nexpansion_limit=2\nsize_limit=100\n", []string{"inetorgperson", "dcobject"}},
		{group, groups},
		{group + "leaf_result_attribute = o\n", groups},
		{"query_filter = (description=%s)\nresult_attribute =\nleaf_result_attribute = mail\nspecial_result_attribute = member\n", groups[:2]},
		{group + "terminal_result_attribute = o\n", groups},
		{group + "recursion_limit = 2\n", groups},
		{group + "expansion_limit = 2\n", groups},
		{"query_filter = (|(description=%s)(cn=bob)(cn=ann))\nresult_attribute = mail\nterminal_result_attribute = o\nleaf_result_attribute=uid\nspecial_result_attribute = member\n", groups[:3]},
		{mail + "bind = no\n", people[:2]},
		{mail + "bind_dn = cn=secret,dc=example,dc=test\nbind_pw = pa,ss word\n", people[:2]},
		{mail + "bind_dn = cn=secret,dc=example,dc=test\nbind_pw = wrong\n", people[:1]},
		{mail + "bind_dn = cn=none,dc=example,dc=test\n", people[:1]},
		{mail + "server_host = " + d.unix + "\n", people[:2]},
		{mail + "server_host = " + d.tls + "\ntls_ca_cert_file = " + d.ca + "\ntls_require_cert = yes\n", people[:2]},
		{mail + "server_host = " + d.tls + "\n", people[:1]},
		{mail + "start_tls = yes\ntls_ca_cert_file = " + d.ca + "\ntls_require_cert = yes\n", people[:2]},
		{mail + "server_host = ldap://127.0.0.1:1 " + d.plain + "\n", people[:1]},
		{mail + "server_host = 127.0.0.1:1\n", people[:1]},
		{mail + "server_host = " + strings.TrimPrefix(d.plain, "ldap://") + "\n", people[:1]},
		{mail + "server_host = 127.0.0.1\nserver_port = " + d.plain[strings.LastIndexByte(d.plain, ':')+1:] + "\n", people[:1]},
		{mail + "server_host = 127.0.0.1:1\nbind = no\n", people[:1]},
	} {
		spec := d.spec(c.text)
		for _, key := range c.keys {
			wait.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				both(t, d.dir, spec, key)
			})
		}
	}
	wait.Wait()
}

// TestLDAPAgain: a directory that was started again serves the tables that were
// open, and one that is down fails lookups at once.
func TestLDAPAgain(t *testing.T) {
	d := startDirectory(t)
	set := newSet(t, d.dir, clock.System{})
	spec := d.spec("query_filter = (mail=%s)\nresult_attribute = uid\n")
	const key = "ann@example.test"
	want := func(value string) {
		t.Helper()
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				if got := ask(set, spec, key); got != value {
					t.Errorf("%q, want %q", got, value)
				}
			})
		}
		wait.Wait()
	}
	want("ann")
	d.server.Stop(5 * time.Second)
	want("!")
	d.start()
	want("ann")
	d.server.Stop(5 * time.Second)
	d.start()
	want("ann")
}
