// Package docs holds no code: this test executes what the documentation shows.
//
// A fenced block's first word is its language, the words behind it say what
// happens to it here:
//
//	sh          is run by bash in a copy of the repository and must succeed
//	sh refused  is run and must fail
//	sh server   is started and left running until the page ends
//	text output lines that the block before it must have printed; "..." stands
//	            for anything
//	main.cf     must pass "sekisho check" without an error
//
// A block with "way=NAME" is a file or a command of a way to check passwords,
// which package e2e runs. Blocks of other languages are for the eye.
package docs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// block is one fenced block of a page.
type block struct {
	line  int
	words []string // of the info string
	text  string
}

func (b block) is(lang string, word string) bool {
	return len(b.words) > 0 && b.words[0] == lang && (word == "" && len(b.words) == 1 || slices.Contains(b.words[1:], word))
}

func blocks(page string) []block {
	var out []block
	var b *block
	for i, l := range strings.Split(page, "\n") {
		info, fence := strings.CutPrefix(l, "```")
		switch {
		case fence && b == nil:
			b = &block{line: i + 1, words: strings.Fields(info)}
		case fence:
			out = append(out, *b)
			b = nil
		case b != nil:
			b.text += l + "\n"
		}
	}
	return out
}

func TestPages(t *testing.T) {
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	work := workplace(t, top)
	bin := filepath.Join(work, "bin", "sekisho")
	for _, p := range append(pages, filepath.Join(top, "README.md")) {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if bs := blocks(string(text)); len(bs) > 0 {
			t.Run(filepath.Base(p), func(t *testing.T) { (&page{t: t, top: work, bin: bin}).run(bs) })
		}
	}
}

// workplace is a copy of what a newcomer has, built: whoever runs the tests may
// have a demo site of his own.
func workplace(t *testing.T, top string) string {
	work := t.TempDir()
	for _, name := range []string{"Makefile", "go.mod", "go.sum", "bench", "cmd", "conformance", "internal"} {
		if out, err := exec.Command("cp", "-r", filepath.Join(top, name), work).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
	}
	cmd := exec.Command("make", "build")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	return work
}

// page runs the blocks of one page, in order.
type page struct {
	t       *testing.T
	top     string
	bin     string
	printed string // by the last command block
	server  *server
}

func (p *page) run(bs []block) {
	for _, b := range bs {
		switch {
		case b.is("sh", "server"):
			p.start(b)
		case b.is("sh", "refused"):
			p.command(b, false)
		case b.is("sh", ""):
			p.command(b, true)
		case b.is("text", "output"):
			p.compare(b)
		case b.is("main.cf", ""):
			p.check(b)
		}
	}
}

func (p *page) env() []string {
	return append(os.Environ(), "PATH="+filepath.Dir(p.bin)+":"+os.Getenv("PATH"))
}

func (p *page) command(b block, succeed bool) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euc", b.text)
	cmd.Dir, cmd.Env = p.top, p.env()
	out, err := cmd.CombinedOutput()
	p.printed = string(out)
	if p.server != nil {
		p.printed += p.server.output()
	}
	if (err == nil) != succeed {
		p.t.Errorf("line %d: %s: %v\n%s", b.line, b.text, err, out)
	}
}

// compare looks for each line of b in what was printed.
func (p *page) compare(b block) {
	for l := range strings.SplitSeq(strings.TrimSpace(b.text), "\n") {
		want := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(l)), `\.\.\.`, ".*")
		if !regexp.MustCompile(want).MatchString(p.printed) {
			p.t.Errorf("line %d: the page shows %q, which was not printed; this was:\n%s", b.line, l, p.printed)
		}
	}
}

// check writes the block into a configuration of its own.
func (p *page) check(b block) {
	dir := p.t.TempDir()
	conf := strings.ReplaceAll(b.text, "/etc/postfix", dir)
	files := map[string]string{
		"main.cf":       "compatibility_level = 3.6\nmyhostname = mx.example.com\n" + conf,
		"master.cf":     "127.0.0.1:0 inet n - n - - smtpd\n",
		"access":        "spammer.test REJECT\n",
		"header_checks": "/^Subject: .*viagra/ REJECT\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	cmd := exec.Command(p.bin, "check", "-c", dir)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() > 1 {
		p.t.Errorf("line %d: sekisho check: %v\n%s", b.line, err, out)
	}
}

// server is a command that runs until the page ends.
type server struct {
	mu  sync.Mutex
	out bytes.Buffer
	new chan struct{}
}

func (s *server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.new <- struct{}{}:
	default:
	}
	return s.out.Write(b)
}

func (s *server) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// start runs b in a process group of its own and waits until it has said what
// to paste.
func (p *page) start(b block) {
	s := &server{new: make(chan struct{}, 1)}
	cmd := exec.Command("bash", "-euc", b.text)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.top, p.env(), s, s
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	p.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may be gone
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	if err := s.waitFor("Paste", done); err != nil {
		p.t.Fatalf("line %d: %s: %v\n%s", b.line, b.text, err, s.output())
	}
	p.server = s
}

func (s *server) waitFor(text string, done <-chan error) error {
	limit := time.After(5 * time.Minute)
	for !strings.Contains(s.output(), text) {
		select {
		case <-s.new:
		case err := <-done:
			return fmt.Errorf("ended early: %w", err)
		case <-limit:
			return fmt.Errorf("did not print %q", text)
		}
	}
	return nil
}

func TestPathOfAMessage(t *testing.T) {
	text, err := os.ReadFile("path-of-a-message.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile("`internal/([a-z/]+\\.go): ([A-Za-z.]+)`").FindAllStringSubmatch(string(text), -1)
	if len(steps) < 8 {
		t.Fatalf("found %d steps; a step is written `internal/PACKAGE/FILE.go: FUNCTION`", len(steps))
	}
	for _, s := range steps {
		src, err := os.ReadFile(filepath.Join("..", "internal", filepath.FromSlash(s[1])))
		if err != nil {
			t.Errorf("%s: %v", s[0], err)
			continue
		}
		name := s[2][strings.LastIndexByte(s[2], '.')+1:]
		if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + name + `\(`).Match(src) {
			t.Errorf("%s: no such function", s[0])
		}
	}
}

// TestDependencies: every module that go.mod requires directly has its line,
// and no line is about a module that is gone.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\t?([a-z][\w./-]+) v\S+$`).FindAllStringSubmatch(string(mod), -1) {
		direct[m[1]] = true
		if !strings.Contains(string(page), "`"+m[1]+"`") {
			t.Errorf("docs/dependencies.md has no line for %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(string(page), -1) {
		if !direct[m[1]] {
			t.Errorf("docs/dependencies.md has a line for %s, which go.mod does not require directly", m[1])
		}
	}
}
