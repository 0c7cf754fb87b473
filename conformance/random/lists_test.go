//go:build linux

package random

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// patterns are elements of match lists, right ones and wrong ones.
var patterns = []string{
	"192.0.2.0/24", "192.0.2.7", "198.51.100.0/25", "10.0.0.0/8", "0.0.0.0/0", "[2001:db8::]/32", "[2001:db8::7]", "[2001:DB8:0:0::7]",
	"[2001:db8::/32]", "[::]/0", "192.0.2.1/24", "[2001:db8::1]/32", "192.0.2/24", "abc/def", "192.0.2.0/33", "192.0.2.0/", "[192.0.2.7]",
	"[192.0.2.0]/24", "[192.0.2.7", "[192.0.2.0/24]x", "[2001:db8::7]/x", "192.0.2.7/32", "192.0.2.x/24", "[2001:db8::g]",
	"a.test", ".a.test", "host.a.test", "HOST.A.test", "test", ".test", "192.0.2", "unknown", "b.test", ".", "x",
	"fail:x", "inline:{a.test=x}", "inline:{{.a.test=x}}", "inline:{host.a.test=x}", "inline:{192.0.2.7=x}", "inline:{192.0.2=x}", "inline:{{2001:db8::7=x}}",
	`regexp:{{/a\.test$$/ x}}`, "regexp:{{/^192/ x}}", "cidr:{{192.0.2.0/24 x}}", "cidr:{{2001:db8::/32 x}}", "static:yes", "unionmap:{inline:{a.test=x},static:y}",
	"socketmap:unix:SOCKET:perm", "socketmap:unix:SOCKET:temp", "socketmap:unix:SOCKET:no", "socketmap:unix:SOCKET:yes",
	"texthash:$config_directory/nets.table", "$config_directory/nets", "2001:db8::7",
}

// nets is a file of elements.
const nets = `# ours
192.0.2.0/25, !192.0.2.200
  inline:{ b.test = x,
# in between
  {c.test = y} } [2001:db8:1::]/48
!x.a.test .a.test
`

// socketmaps serves maps that say what their name says, and returns the socket.
func socketmaps(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sekisho-lists")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for p, mode := range map[string]os.FileMode{dir: 0o755, path: 0o777} { // for Postfix's own user
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	return path
}

func answer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		request, err := r.ReadString(',')
		if err != nil {
			return
		}
		_, request, _ = strings.Cut(request, ":")
		name, _, _ := strings.Cut(request, " ")
		reply := map[string]string{"perm": "PERM broken", "temp": "TEMP later", "yes": "OK x"}[name]
		if reply == "" {
			reply = "NOTFOUND "
		}
		fmt.Fprintf(c, "%d:%s,", len(reply), reply)
	}
}

// networks makes a match list.
func (g generator) networks(socket string) string {
	var list []string
	for range 1 + g.Intn(5) {
		p := strings.Replace(g.pick(patterns...), "SOCKET", socket, 1)
		list = append(list, strings.Repeat("!", max(0, g.Intn(5)-2))+p)
	}
	return strings.Join(list, g.pick(" ", ", ", ","))
}

// TestMatchLists compares mynetworks of all shapes with Postfix's.
func TestMatchLists(t *testing.T) {
	g, variants, sessions := setUp(t)

	socket := socketmaps(t)
	files := g.files(0)
	files["nets"], files["nets.table"] = nets, "192.0.2.7 x\na.test x\n.b.test x\n2001:db8::7 x\n"
	var b strings.Builder
	for i := range variants {
		list := g.networks(socket)
		switch i {
		case 0:
			list = "$config_directory/nets"
		case 1:
			list = "!192.0.2.7, socketmap:unix:" + socket + ":perm"
		}
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - 1 smtpd\n", firstPort+i)
		for _, o := range []string{
			"smtpd_recipient_restrictions = permit_mynetworks, reject", "smtpd_relay_restrictions =", "smtpd_client_event_limit_exceptions =",
			"local_header_rewrite_clients =", "smtpd_forbid_bare_newline_exclusions =", "smtpd_forbid_unauth_pipelining = no",
			"parent_domain_matches_subdomains = " + g.pick("mynetworks", "relay_domains"), "mynetworks = " + list,
		} {
			fmt.Fprintf(&b, " -o { %s }\n", o)
		}
	}
	files["master.cf"] += b.String()
	ours := newOurs(t, files)
	theirs := start(t, rolePostfix, files)
	for v := range variants {
		for range sessions / 3 {
			pc := peerCase{
				Name: g.pick("host.a.test", "a.test", "x.a.test", "HOST.A.Test", "b.test", "x.b.test", "c.test", "[UNAVAILABLE]", "a.test.x"),
				Addr: g.pick("192.0.2.7", "192.0.2.200", "198.51.100.1", "198.51.100.200", "10.1.2.3", "IPV6:2001:db8::7", "IPV6:2001:db8:1::7", "IPV6:2001:dc8::7",
					"IPV6:::1"),
				Reverse: "a.test", Helo: "x.test", Sender: "x@a.test", Recipients: []string{"x@mailbox.test"}, Last: []string{"QUIT"},
			}
			replies, notes := ours.play(ours.site.Services[v], pc)
			ours.compare(t, v, pc, append(replies, notes...), play(t, theirs, v, pc))
		}
	}
}
