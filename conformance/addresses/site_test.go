//go:build linux

package addresses

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"math/rand"

	"sekisho/conformance/sandbox"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/rewrite"
	"sekisho/internal/site"
	"sekisho/internal/table"
)

// setUp reads how much to ask from the environment; the defaults are a sample.
func setUp(t *testing.T) (g *generator, variants, cases int) {
	t.Helper()
	if testing.Short() {
		t.Skip("asks a real Postfix")
	}
	if _, err := exec.LookPath("postfix"); err != nil || os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root and postfix")
		}
		t.Skip("needs root and postfix")
	}
	seed := number("ADDRESSES_SEED", 1)
	t.Logf("ADDRESSES_SEED=%d", seed)
	return &generator{Rand: rand.New(rand.NewSource(int64(seed))), tables: map[string]string{}}, number("ADDRESSES_VARIANTS", 12), number("ADDRESSES_CASES", 200)
}

func number(env string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
		return n
	}
	return def
}

func start(t *testing.T, files map[string]string) *sandbox.Worker {
	t.Helper()
	w, err := sandbox.Start(role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	r := request{Files: map[string][]byte{}}
	for name, text := range files {
		r.Files[name] = []byte(text)
	}
	var none reply
	if err := w.Call(r, &none); err != nil {
		t.Fatal(err)
	}
	return w
}

// mine is the same site in this process.
type mine struct {
	*site.Site
	src evidence.Source
}

func load(t *testing.T, files map[string]string) *mine {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := site.Load(dir, site.Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	world := &evidence.World{Lookup: s.Tables.Lookup, Clock: clock.System{}}
	return &mine{s, evidence.NewSession(context.Background(), world)}
}

func (m *mine) world() rewrite.World {
	return rewrite.World{OwnAddresses: m.Own, Partial: table.Partial, ReadFile: os.ReadFile}
}

// service finds an entry of master.cf.
func (m *mine) service(name string) config.Service {
	for _, e := range m.Config.Services {
		if e.Name == name {
			return e
		}
	}
	return config.Service{}
}

func (m *mine) resolver(t *testing.T, v int) (*rewrite.Resolver, *config.Config) {
	t.Helper()
	cfg := m.Config.Service(m.service("rewrite" + strconv.Itoa(v)))
	r, err := rewrite.Compile(cfg, m.world())
	if err != nil {
		t.Fatal(err)
	}
	return r, cfg
}

// overrides are the parameters of a variant with the tables that they name.
func (m *mine) overrides(service string, files map[string]string) string {
	var b strings.Builder
	for _, o := range m.service(service).Overrides {
		b.WriteString("  " + o.Name + " = " + o.Value + "\n")
		for _, name := range tableName.FindAllString(o.Value, -1) {
			b.WriteString("    " + name + ": " + strings.ReplaceAll(files[name], "\n", "; ") + "\n")
		}
	}
	return b.String()
}

var tableName = regexp.MustCompile(`table\d+`)
