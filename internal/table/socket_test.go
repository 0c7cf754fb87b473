package table_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sqltest"
	"sekisho/internal/table"
	"sekisho/internal/testsite"
)

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (*lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l *lines) WithGroup(string) slog.Handler          { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, r.Message)
	return nil
}

// both asks the real postmap and a set of its own for a key, and compares the
// answers and the warnings.
func both(t *testing.T, dir, spec, key string) {
	t.Helper()
	log := new(lines)
	set := table.NewSet(table.Options{Clock: clock.System{}, Log: slog.New(log), Tolerant: true, Param: param(t, dir)})
	defer set.Close()
	got := ask(set, spec, key) + "\n" + strings.Join(noReasons(log.text), "\n")
	cmd := exec.Command("postmap", "-c", dir, "-q", key, spec)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	want := strings.TrimSuffix(string(out), "\n")
	switch {
	case strings.Contains(stderr.String(), "fatal"):
		want = "!"
	case err != nil:
		want = "-"
	}
	want += "\n" + strings.Join(noReasons(warnings(stderr.String())), "\n")
	if got != want {
		t.Errorf("%s %.40q:\n%s\nPostfix says\n%s", strings.ReplaceAll(spec, dir, ""), key, got, want)
	}
}

// warnings takes those that are about the table out of what postmap says.
func warnings(stderr string) (all []string) {
	for l := range strings.Lines(stderr) {
		for _, kind := range []string{"warning", "error"} {
			text, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), "postmap: "+kind+": ")
			if ok && !strings.Contains(text, "empty string result") && !strings.Contains(text, "should return NO RESULT") {
				all = append(all, text)
			}
		}
	}
	return all
}

// noReasons drops reasons that Postfix gets wrong: of an "I/O error" what failed
// last, of a URL another error's name; and its repetitions.
func noReasons(all []string) []string {
	for i, l := range all {
		for _, what := range []string{"I/O error", "malformed URL"} {
			if before, _, ok := strings.Cut(l, what); ok {
				all[i] = before + what
			}
		}
	}
	return slices.DeleteFunc(all, func(l string) bool { return strings.Contains(l, "Had some trouble") })
}

// param reads main.cf of a folder as far as a test needs it.
func param(t *testing.T, dir string) func(string) string {
	b, err := os.ReadFile(filepath.Join(dir, "main.cf"))
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) string {
		for l := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(l, "="); ok && strings.TrimSpace(k) == name {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
}

// listen serves connections until the test ends.
func listen(t *testing.T, network, address string, serve func(*bufio.Reader, io.Writer)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(bufio.NewReader(c), c)
			}()
		}
	}()
	return l.Addr().String()
}

// TestTCP asks a server of tcp_table(5), in all its moods.
func TestTCP(t *testing.T) {
	dir := postmapDir(t)
	long := strings.Repeat("x", 4090)
	replies := map[string]string{
		"found": "200 the value", "quoted": "200 a%20b%25%0Ac", "many": "299 x", "empty": "200 ", "no": "500 no such key", "noxx": "599 ",
		"soft": "400 not%20now", "three": "300 what", "word": "hello", "bare": "200", "tab": "200\tv", "percent": "200 50% off", "nohex": "200 %zz",
		"a%20b": "200 blank", "%25": "200 percent", "%C3%A9": "200 accent", "UPPER": "200 kept", "almost": "200 " + long, "": "200 nothing",
	}
	addr := listen(t, "tcp", "127.0.0.1:0", func(r *bufio.Reader, w io.Writer) {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			reply, ok := replies[strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "get ")]
			if !ok {
				reply = "500 unexpected " + strings.TrimSuffix(line, "\n")
			}
			fmt.Fprintln(w, reply)
		}
	})
	keys := []string{"a b", "%", "é", "UPPER", "upper"}
	for k := range replies {
		if !strings.Contains(k, "%") && k != "" {
			keys = append(keys, k)
		}
	}
	var wait sync.WaitGroup
	for _, key := range keys {
		wait.Go(func() { both(t, dir, "tcp:"+addr, key) })
	}
	wait.Wait()
}

// TestSocketmap asks a server of socketmap_table(5), in all its moods.
func TestSocketmap(t *testing.T) {
	dir := postmapDir(t)
	replies := map[string]string{
		"found": "OK the value", "empty": "OK ", "no": "NOTFOUND ", "nothing": "NOTFOUND", "reason": "NOTFOUND because",
		"temp": "TEMP come back", "still": "TEMP ", "timeout": "TIMEOUT too slow", "perm": "PERM  never\x01", "what": "WHAT is this", "none": "",
		"ok": "ok lower case", "a b": "OK blank", "big": "OK " + strings.Repeat("y", 99997), "bigger": "OK " + strings.Repeat("y", 99998),
	}
	raw := map[string]string{"junk": "hello", "nocomma": "5:OK xy.", "eof": "", "half": "10:OK"}
	serve := func(r *bufio.Reader, w io.Writer) {
		for {
			var n int
			if _, err := fmt.Fscanf(r, "%d:", &n); err != nil {
				return
			}
			b := make([]byte, n+1)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			key := strings.TrimPrefix(string(b[:n]), "themap ")
			if s, ok := raw[key]; ok {
				io.WriteString(w, s)
				return
			}
			reply, ok := replies[key]
			if !ok {
				reply = "NOTFOUND "
			}
			fmt.Fprintf(w, "%d:%s,", len(reply), reply)
		}
	}
	addr := listen(t, "tcp", "127.0.0.1:0", serve)
	path := filepath.Join(dir, "s")
	listen(t, "unix", path, serve)
	keys := []string{strings.Repeat("k", 10000)}
	for k := range replies {
		keys = append(keys, k)
	}
	for k := range raw {
		keys = append(keys, k)
	}
	var wait sync.WaitGroup
	for _, key := range keys {
		wait.Go(func() { both(t, dir, "socketmap:inet:"+addr+":themap", key) })
	}
	wait.Go(func() { both(t, dir, "socketmap:unix:"+path+":themap", "found") })
	wait.Go(func() { both(t, dir, "socketmap:unix:"+path+":other", "found") })
	wait.Go(func() { both(t, dir, "socketmap:unix:"+path+".none:themap", "found") })
	wait.Go(func() { both(t, dir, "socketmap:inet:127.0.0.1:1:themap", "found") })
	wait.Wait()
}

// TestMemcache puts memcached before tables and alone.
func TestMemcache(t *testing.T) {
	daemon := sqltest.Need(t, "memcached")
	dir := postmapDir(t)
	ports, err := testsite.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ports[0])
	output := new(strings.Builder)
	p, err := testsite.StartCommand(exec.Command(daemon, "-l", "127.0.0.1", "-p", port, "-U", "0", "-u", "nobody", "-m", "8"), output, ports[0])
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	n := 0
	spec := func(text string) string {
		n++
		path := filepath.Join(dir, fmt.Sprintf("m%d.cf", n))
		if !strings.HasPrefix(text, "memcache") {
			text = "memcache = inet:" + ports[0] + "\n" + text
		}
		writeOld(t, path, text)
		return "memcache:" + path
	}
	backed := spec("backup = inline:{a@b.test=1, {two=the second}, user@x.example=ux, huge=" + strings.Repeat("h", 200) + "}\nkey_format = one-%s\ndata_size_limit = 100\nflags = 3\nttl = 60\n")
	alone := spec("key_format = one-%s\n")
	first := newSet(t, dir, clock.System{})
	defer first.Close()
	for key, want := range map[string]string{"a@b.test": "1", "two": "the second", "none": "-", "huge": strings.Repeat("h", 200)} {
		if got := ask(first, alone, key); got != "-" {
			t.Errorf("%s is in the cache before it was asked for: %s", key, got)
		}
		for range 2 {
			if got := ask(first, backed, key); got != want {
				t.Errorf("backup: %s: %s, want %s", key, got, want)
			}
		}
	}
	var wait sync.WaitGroup
	for _, s := range []string{
		backed, alone, spec("key_format = one-%u@b.test\n"), spec("key_format = %d\nbackup = static:s\n"), spec("domain = b.test\nkey_format=one-%s\nbackup=static:dom\n"),
		spec("line_size_limit = 8\nkey_format = one-%s\n"), spec("data_size_limit = 5\nkey_format = one-%s\nmax_try = 2\n"), spec("backup = fail:no\nkey_format=none-%s\n"),
		spec("memcache = inet:127.0.0.1:1\nbackup = inline:{two=2}\n"), spec("memcache = inet:127.0.0.1:1\n"),
	} {
		for _, key := range []string{"a@b.test", "A@B.test", "two", "none", "@b.test"} {
			wait.Go(func() { both(t, dir, s, key) })
		}
	}
	wait.Wait()
	both(t, dir, alone, "two words")
	writeOld(t, filepath.Join(dir, "main.cf"), "compatibility_level = 3.6\nmyhostname = mx.example.test\nold_memcache = inet:"+ports[0]+"\nold_key_format = one-%s\n")
	both(t, dir, "memcache:old", "two")
}
