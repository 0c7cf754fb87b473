//go:build linux

package addresses

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"sekisho/conformance/sandbox"
)

const role = "addresses-postfix"

func TestMain(m *testing.M) {
	if sandbox.Role() == role {
		if err := sandbox.Serve((&worker{}).handle); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// request brings Postfix up when it has files, else it asks service's
// trivial-rewrite or cleanup.
type request struct {
	Files     map[string][]byte // below /etc/postfix
	Service   string
	Questions []question
	Messages  []message
	Pairs     []pair
}

type reply struct {
	Answers [][]attr
	Queued  []queued
	Replies []octets
}

type worker struct {
	up   bool
	seen int // bytes of the log
}

func (w *worker) handle(r request) (reply, error) {
	if !w.up {
		w.up = true
		return reply{}, w.start(r.Files)
	}
	var rep reply
	var err error
	if len(r.Questions) > 0 {
		rep.Answers, err = ask("/var/spool/postfix/private/"+r.Service, r.Questions)
	}
	if len(r.Pairs) > 0 {
		port, _ := strconv.Atoi(r.Service)
		rep.Replies, err = talk(port, r.Pairs)
	}
	for _, m := range r.Messages {
		if err != nil {
			break
		}
		var q queued
		q, err = submit("/var/spool/postfix/public/"+r.Service, m)
		if log := w.logged(); err != nil {
			err = fmt.Errorf("%w\n%s", err, log)
		} else {
			q.Log = octets(log)
		}
		rep.Queued = append(rep.Queued, q)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, w.logged())
	}
	return rep, err
}

// logged returns what was logged since the last call, as far as it has arrived.
func (w *worker) logged() string {
	log, _ := os.ReadFile("/var/log/mail.log")
	since := w.seen
	w.seen = len(log)
	return string(log[max(since, len(log)-2000):])
}

// start runs Postfix with empty directories of its own.
func (w *worker) start(files map[string][]byte) error {
	if err := sandbox.Isolate(); err != nil {
		return err
	}
	for _, pattern := range []string{"dynamicmaps.cf*", "postfix-files*", "dynamicmaps.cf.d/*"} {
		found, _ := filepath.Glob("/etc/postfix/" + pattern)
		for _, f := range found {
			if b, err := os.ReadFile(f); err == nil {
				rel, _ := filepath.Rel("/etc/postfix", f)
				files[rel] = b
			}
		}
	}
	for _, dir := range []string{"/etc/postfix", "/var/spool/postfix", "/var/lib/postfix", "/var/log", "/run"} {
		if err := sandbox.Empty(dir, 0o755); err != nil {
			return err
		}
	}
	for name, text := range files {
		path := filepath.Join("/etc/postfix", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return launch()
}

func launch() error {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown("/var/lib/postfix", uid, -1); err != nil {
		return err
	}
	out, err := os.Create("/run/output") // a pipe would stay open as long as the daemons
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command("postfix", "start")
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile("/run/output")
		log, _ := os.ReadFile("/var/log/mail.log")
		return fmt.Errorf("postfix start: %w\n%s%s", err, text, log)
	}
	return nil
}
