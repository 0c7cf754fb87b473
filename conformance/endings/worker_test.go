//go:build linux

package endings

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekisho/conformance/sandbox"
	"sekisho/internal/clock"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
)

//go:embed testdata/site
var site embed.FS

const (
	rolePostfix    = "endings-postfix"
	roleSekisho    = "endings-sekisho"
	binaryVariable = "SEKISHO_BINARY"
	mailLog        = "/var/log/mail.log"
)

func TestMain(m *testing.M) {
	if role := sandbox.Role(); role != "" {
		w := &worker{}
		w.err = w.start(role)
		if err := sandbox.Serve(w.handle); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// message is one to be delivered.
type message struct {
	Sender     string // with parameters of MAIL
	Recipients []string
	Body       string
	Files      map[string]string // put there before, OWNER:PATH
}

type worker struct {
	err  error // of start
	seen int   // bytes of the log
}

func (w *worker) handle(m message) (string, error) {
	if w.err != nil {
		return "", w.err
	}
	if err := place(m.Files); err != nil {
		return "", err
	}
	if err := submit(m); err != nil {
		return "", err
	}
	ids, log, err := w.settled()
	if err != nil {
		return "", err
	}
	files, err := collect()
	for owned := range m.Files {
		_, path, _ := strings.Cut(owned, ":")
		os.Remove(path)
	}
	return mask(ids, log, files), err
}

// users are those of the site: name, uid, gid, home.
var users = [][3]string{{"ann", "6001", "/home/ann"}, {"bea", "6002", "/home/bea"}, {"eve", "6003", "/home/eve"},
	{"defpriv", "6009", "/nonexistent"}, {"list", "6004", "/home/list"}}

func (w *worker) start(role string) error {
	if err := sandbox.Isolate(); err != nil {
		return err
	}
	keep := map[string][]byte{}
	for _, pattern := range []string{"dynamicmaps.cf*", "postfix-files*", "dynamicmaps.cf.d/*"} {
		found, _ := filepath.Glob("/etc/postfix/" + pattern)
		for _, f := range found {
			if b, err := os.ReadFile(f); err == nil {
				keep[f] = b
			}
		}
	}
	for _, dir := range []string{"/etc/postfix", "/var/spool/postfix", "/var/lib/postfix", "/var/log", "/run", "/home", "/var/mail"} {
		if err := sandbox.Empty(dir, 0o755); err != nil {
			return err
		}
	}
	if err := files(keep); err != nil {
		return err
	}
	if err := os.Chown("/var/lib/postfix", postfixUID(), -1); err != nil {
		return err
	}
	if role == rolePostfix {
		return errors.Join(daemon("postalias", "hash:/etc/postfix/aliases"), daemon("postfix", "start"))
	}
	return serve()
}

// files writes the site, its users and their commands.
func files(keep map[string][]byte) error {
	err := fs.WalkDir(site, "testdata/site", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			keep["/etc/postfix/"+strings.TrimPrefix(name, "testdata/site/")], err = site.ReadFile(name)
		}
		return err
	})
	passwd, _ := os.ReadFile("/etc/passwd")
	group, _ := os.ReadFile("/etc/group")
	for _, u := range users {
		line := fmt.Sprintf("%s:x:%s:%s:%s,,,:%s:/bin/sh\n", u[0], u[1], u[1], u[0], u[2])
		passwd, group = append([]byte(line), passwd...), append([]byte(u[0]+":x:"+u[1]+":\n"), group...)
	}
	keep["/run/passwd"], keep["/run/group"] = passwd, group
	keep["/run/hosts"] = []byte("127.0.0.1 localhost\n")
	keep["/run/bin/show"], keep["/run/bin/leave"] = []byte(show), []byte(leave)
	keep["/run/bin/show_lcmdmap"] = []byte("#!/bin/sh\nexec /run/bin/show lcmdmap\n")
	keep["/run/bin/slow"] = []byte("#!/bin/sh\necho begun\nsleep 60\n")
	keep["/run/bin/noshebang"] = []byte("/run/bin/show script $1\n")
	for path, text := range keep {
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(path, "/run/bin/") {
			mode = 0o755
		}
		err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, mode))
	}
	for _, u := range users {
		if strings.HasPrefix(u[2], "/home/") {
			err = errors.Join(err, os.Mkdir(u[2], 0o700), chown(u[2], u[0]))
		}
	}
	err = errors.Join(err, os.MkdirAll("/run/out", 0), os.Chmod("/run/out", 0o1777), os.Chown("/var/mail", 0, 8), os.Chmod("/var/mail", 0o2775),
		os.Mkdir("/var/mail/senders", 0o700), os.Chown("/var/mail/senders", 5000, 5000),
		sandbox.Replace("/usr/bin/tac", "/run/bin/show"))
	for _, name := range []string{"passwd", "group", "hosts"} {
		err = errors.Join(err, sandbox.Replace("/etc/"+name, "/run/"+name))
	}
	return err
}

// show writes down all a command can see; its first argument names the file.
const show = `#!/bin/sh
exec 2>&1
out=/run/out/$1
shift
{
	for a; do printf 'arg [%s]\n' "$a"; done
	echo "uid $(id -u) gid $(id -g) groups $(id -G) umask $(umask) pwd $(pwd)"
	grep Cap /proc/self/status
	env | grep -v '^_=' | sort
	echo ---
	cat
} >"$out.tmp"
mv "$out.tmp" "$out"
`

// leave says its second argument and ends with the status its first one is.
const leave = `#!/bin/sh
cat >/dev/null
case $1 in
kill) kill -9 $$ ;;
dsn) echo "4.7.9 come back after tea"; exit 1 ;;
dsn5) echo "5.7.9 never"; exit 99 ;;
dsn2) echo "2.7.9 odd"; exit 3 ;;
bin) printf 'a\tb\nc\033\377'; exit 67 ;;
esac
test -n "$2" && echo "$2"
exit $1
`

func chown(path, user string) error {
	for _, u := range users {
		if u[0] == user {
			var id int
			fmt.Sscan(u[1], &id)
			return os.Chown(path, id, id)
		}
	}
	return nil // root's
}

func place(files map[string]string) error {
	for owned, text := range files {
		owner, path, _ := strings.Cut(owned, ":")
		mode := fs.FileMode(0o644)
		if owner, more, ok := strings.Cut(owner, ","); ok {
			fmt.Sscanf(more, "%o", &mode)
			_ = owner
		}
		owner, _, _ = strings.Cut(owner, ",")
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode), chown(path, owner)); err != nil {
			return err
		}
	}
	return nil
}

// daemon runs a command that leaves a daemon behind.
func daemon(args ...string) error {
	out, err := os.Create("/run/output")
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command(args[0], args[1:]...)
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile("/run/output")
		log, _ := os.ReadFile(mailLog)
		return fmt.Errorf("%v: %w\n%s%s", args, err, text, log)
	}
	return nil
}

func serve() error {
	c := exec.Command(os.Getenv(binaryVariable), "serve", "-c", "/etc/postfix")
	c.Env = []string{"PATH=/usr/bin:/bin"}
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return c.Start()
}

func postfixUID() int {
	out, _ := exec.Command("id", "-u", "postfix").Output()
	var id int
	fmt.Sscan(string(out), &id)
	return id
}

// submit gives the message to the server on port 25, which may still be starting.
func submit(m message) error {
	var conn *textproto.Conn
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err = textproto.Dial("tcp", "127.0.0.1:25"); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	say := func(code int, format string, args ...any) {
		if err == nil && format != "" {
			err = conn.PrintfLine(format, args...)
		}
		if err == nil {
			_, _, err = conn.ReadResponse(code)
		}
	}
	say(220, "")
	say(250, "EHLO client.test")
	addr, params, _ := strings.Cut(m.Sender, " ")
	say(250, "MAIL FROM:<%s> %s", addr, params)
	for _, r := range m.Recipients {
		addr, params, _ := strings.Cut(r, " ")
		say(250, "RCPT TO:<%s> %s", addr, params)
	}
	say(354, "DATA")
	if err == nil {
		w := conn.DotWriter()
		_, err = w.Write([]byte(m.Body))
		err = errors.Join(err, w.Close())
	}
	say(250, "")
	say(221, "QUIT")
	return err
}

var (
	logLine   = regexp.MustCompile(`^\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ (postfix/\S+)\[\d+\]: (.*)$`)
	agentLine = regexp.MustCompile(`^postfix/(pipe|local|virtual|error|discard|lmtp|bounce|trace|defer): |passing <|status=`)
	ofQueue   = regexp.MustCompile(`^postfix/\w+: (?:warning: )?([0-9A-F]{6,}|[0-9A-Za-z]{12,}): `)
	noise     = regexp.MustCompile(`^postfix/(master|postfix-script|postlog|postsuper|sekisho|scache|anvil|tlsmgr)`)
)

// settled returns the lines of the agents, once every message that the log
// speaks of has left the queue or waits in it.
func (w *worker) settled() (ids, log []string, err error) {
	quiet := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(mailLog)
		if err != nil {
			continue
		}
		ids, lines, open, deferred := w.lines(string(text[w.seen:]))
		if open || len(lines) == 0 {
			quiet = 0
			continue
		}
		if quiet++; deferred && quiet < 20 || quiet < 2 {
			continue
		}
		w.seen = len(text)
		return ids, lines, clear()
	}
	text, _ := os.ReadFile(mailLog)
	return nil, nil, fmt.Errorf("not settled after 10 s:\n%s", text[w.seen:])
}

func (w *worker) lines(text string) (ids, lines []string, open, deferred bool) {
	state := map[string]string{}
	for line := range strings.Lines(text) {
		f := logLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if f == nil {
			continue
		}
		l := f[1] + ": " + f[2]
		if q := ofQueue.FindStringSubmatch(l); q != nil {
			switch {
			case strings.Contains(l, ": client="):
				ids = append([]string{q[1]}, ids...)
			case !slices.Contains(ids, q[1]):
				ids = append(ids, q[1])
			}
			switch {
			case strings.Contains(l, "status=deferred"):
				state[q[1]] = "deferred"
			case strings.HasSuffix(l, ": removed"):
				state[q[1]] = "removed"
			case state[q[1]] == "" || strings.Contains(l, "queue active"):
				state[q[1]] = "open"
			}
		}
		if agentLine.MatchString(l) && !noise.MatchString(l) {
			lines = append(lines, l)
		}
	}
	for _, s := range state {
		open = open || s == "open"
		deferred = deferred || s == "deferred"
	}
	return ids, lines, open || len(state) == 0, deferred
}

// clear empties the queue of what waits.
func clear() error {
	if sandbox.Role() == rolePostfix {
		return daemon("postsuper", "-d", "ALL")
	}
	spool, err := control.Open("/var/spool/postfix/sekisho", queue.Options{Clock: clock.System{}, Log: slog.Default()})
	if err != nil {
		return err
	}
	for m, err := range spool.All() {
		if err == nil {
			err = spool.Delete(m.Envelope.QueueID)
		}
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			return err
		}
	}
	return nil
}

// collect reads and removes what was delivered.
func collect() (files []string, err error) {
	for _, top := range []string{"/run/out", "/home", "/var/mail"} {
		err = errors.Join(err, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || filepath.Base(path)[0] == '.' {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			st, _ := d.Info()
			sys := st.Sys().(*syscall.Stat_t)
			files = append(files, fmt.Sprintf("== %s %v %d:%d\n%s", path, st.Mode(), sys.Uid, sys.Gid, text))
			return os.Remove(path)
		}))
	}
	return files, err
}

var masks = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`delay=[\d.]+, delays=[\d./]+`), "delays"},
	{regexp.MustCompile(`\w{3}, [ \d]\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}( \(\w+\))?`), "DATE"},
	{regexp.MustCompile(`\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}`), "FROMDATE"},
	{regexp.MustCompile(`/new/\d+\.V\w+I\w+M\d+\.\S+`), "/new/FILE"},
	{regexp.MustCompile(`/tmp/\d+\.P\d+Q?\d*\.\S+`), "/tmp/FILE"},
	{regexp.MustCompile(`\b\d{14}\.([0-9A-F]{6,})@`), "STAMP.$1@"},
	{regexp.MustCompile(`\b([0-9A-F]{6,})\.\d{10}/`), "$1.TIME/"},
	{regexp.MustCompile(`\bsize=\d+\b`), "size"}, // an approximation, says pipe(8)
	{regexp.MustCompile(`postfix/(trace|defer): `), "postfix/bounce: "},
}

// mask replaces what differs from run to run, and puts in order what has none:
// daemons log side by side.
func mask(ids, log, files []string) string {
	clean := func(text string) string {
		for _, m := range masks {
			text = m.pattern.ReplaceAllString(text, m.with)
		}
		for i, id := range ids {
			text = strings.ReplaceAll(text, id, map[bool]string{true: "ID", false: "NEWID"}[i == 0])
		}
		return text
	}
	for _, list := range [][]string{log, files} {
		for i := range list {
			list[i] = clean(list[i])
		}
		slices.Sort(list)
	}
	return strings.Join(log, "\n") + "\n" + strings.Join(files, "")
}
