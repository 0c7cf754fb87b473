// Package arch holds the one test that keeps the house in order: imports go
// downwards only, from the commands through the server to the vocabulary.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers are the packages of each layer, the lowest first; "x/..." is x and all
// below it. A package may import its own layer and those before it. The last
// layer is tests and tools, which may import what they look at.
var layers = [][]string{
	{"internal/wire", "internal/clock", "internal/safefile", "internal/maillog", "internal/idle", "internal/sandbox", "internal/tlsinfo", "internal/tlsconf", "internal/dane"},
	{"internal/config", "internal/mail", "internal/tok822", "internal/mimestate"},
	{"internal/dns", "internal/zone", "internal/mtasts", "internal/tlsrpt", "internal/evidence", "internal/sqldb", "internal/table/...", "internal/directory/...", "internal/sasl/..."},
	{"internal/matchlist", "internal/dnsfilter", "internal/rewrite", "internal/restrict", "internal/policyd", "internal/explain", "internal/site", "internal/check", "internal/anvil", "internal/verify"},
	{"internal/queue/...", "internal/cleanup", "internal/deliver/...", "internal/bounce", "internal/qmgr"},
	{"internal/smtpd"},
	{"internal/master", "internal/applet/..."},
	{"cmd/..."},
	{"internal/arch", "internal/lossyfs", "internal/testsite", "internal/sqltest", "internal/sasltest", "conformance/...", "bench", "dist", "docs", "e2e"},
}

// only says who may import a library: one package knows it, everybody else asks
// that package.
var only = map[string][]string{
	"github.com/miekg/dns":                         {"internal/dns"},
	"github.com/go-crypt/crypt":                    {"internal/directory/password"},
	"modernc.org/sqlite":                           {"internal/directory", "internal/table", "internal/sasl/cyrus"},
	"github.com/go-sql-driver/mysql":               {"internal/sqldb"},
	"github.com/jackc/pgx/v5":                      {"internal/sqldb"},
	"go.elara.ws/pcre/lib":                         {"internal/table/pcre"},
	"github.com/go-ldap/ldap/v3":                   {"internal/table/ldap"},
	"github.com/alecthomas/kong":                   {"cmd/sekisho"},
	"github.com/hanwen/go-fuse/v2/fs":              {"internal/lossyfs"},
	"github.com/hanwen/go-fuse/v2/fuse":            {"internal/lossyfs"},
	"github.com/landlock-lsm/go-landlock/landlock": {"internal/sandbox"},
}

// pure lists packages that decide and therefore may not touch the world.
var pure = []string{"internal/restrict", "internal/rewrite", "internal/matchlist", "internal/dnsfilter", "internal/explain"}

// world are the packages through which a program touches the world.
var world = []string{"os", "os/exec", "net", "net/http", "database/sql", "syscall"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) (module string, pkgs []pkg) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	module = strings.TrimSpace(string(out))
	out, err = exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case err == io.EOF:
			return module, pkgs
		case err != nil:
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// layer returns where a package stands, -1 if nowhere.
func layer(path string) int {
	return slices.IndexFunc(layers, func(l []string) bool {
		return slices.ContainsFunc(l, func(pattern string) bool { return within(path, pattern) })
	})
}

func within(path, pattern string) bool {
	root, tree := strings.CutSuffix(pattern, "/...")
	return path == root || tree && strings.HasPrefix(path, root+"/")
}

func upward(from, to string) error {
	f, t := layer(from), layer(to)
	switch {
	case f < 0:
		return fmt.Errorf("%s has no layer: add it to the table in this test", from)
	case t > f:
		return fmt.Errorf("%s (layer %d) imports %s (layer %d): imports go downwards only", from, f, to, t)
	}
	return nil
}

func TestImportsGoDownwards(t *testing.T) {
	module, pkgs := packages(t)
	if len(pkgs) < 20 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	for _, p := range pkgs {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module+"/"); ours {
				if err := upward(from, to); err != nil {
					t.Error(err)
				}
			} else if layer(from) < 0 {
				t.Errorf("%s has no layer: add it to the table in this test", from)
				break
			}
			if who, limited := only[imp]; limited && layer(from) < len(layers)-1 && !slices.Contains(who, from) {
				t.Errorf("%s imports %s: that is for %s", from, imp, strings.Join(who, ", "))
			}
			if slices.Contains(pure, from) && slices.Contains(world, imp) {
				t.Errorf("%s is pure and may not import %s", from, imp)
			}
		}
	}
}

func TestUpward(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"internal/smtpd", "internal/restrict", true},
		{"internal/table", "internal/table/pcre", true},
		{"internal/restrict", "internal/smtpd", false},
		{"internal/mail", "internal/evidence", false},
		{"internal/nowhere", "internal/mail", false},
		{"cmd/sekisho", "internal/applet/demo", true},
	} {
		if err := upward(tt.from, tt.to); (err == nil) != tt.ok {
			t.Errorf("%s imports %s: %v", tt.from, tt.to, err)
		}
	}
}
