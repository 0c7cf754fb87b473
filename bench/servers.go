package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
	"sekisho/internal/testsite"
)

// postfix is a private instance of the installed Postfix.
type postfix struct {
	at  *site
	pid int // of master(8)
}

func newPostfix(dir string) (*postfix, error) {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return nil, err
	}
	s, err := newSite(dir, "postfix", owner)
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("postmap", "-c", s.conf, "hash:"+filepath.Join(s.conf, "mailboxes")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("postmap: %w\n%s", err, out)
	}
	return &postfix{at: s}, nil
}

func (p *postfix) name() string { return "postfix" }
func (p *postfix) site() *site  { return p.at }
func (p *postfix) root() int    { return p.pid }

func (p *postfix) start() error {
	out, err := exec.Command("postfix", "-c", p.at.conf, "start").CombinedOutput()
	if err != nil {
		return fmt.Errorf("postfix start: %w\n%s%s", err, out, lastLines(p.at.log, 10))
	}
	if err := p.awaitListener(); err != nil {
		return errors.Join(err, p.stop())
	}
	return nil
}

// awaitListener returns when Postfix accepts connections.
func (p *postfix) awaitListener() error {
	data, err := os.ReadFile(filepath.Join(p.at.queue, "pid", "master.pid"))
	if err != nil {
		return err
	}
	if p.pid, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil {
		return fmt.Errorf("master.pid: %w", err)
	}
	for range 200 {
		conn, err := net.Dial("tcp", p.at.addr)
		if err == nil {
			return conn.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("does not listen at %s", p.at.addr)
}

// most is not more than master.cf lets in, nor than memory has room for.
func (p *postfix) most() int { return 1100 }

func (p *postfix) flush() error {
	if out, err := exec.Command("postqueue", "-c", p.at.conf, "-f").CombinedOutput(); err != nil {
		return fmt.Errorf("postqueue -f: %w\n%s", err, out)
	}
	return nil
}

// stop ends master and its children, which are its process group.
func (p *postfix) stop() error {
	out, err := exec.Command("postfix", "-c", p.at.conf, "stop").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("postfix stop: %w\n%s", err, out)
	}
	if p.pid == 0 {
		return err
	}
	for range 500 {
		if syscall.Kill(-p.pid, 0) == syscall.ESRCH {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.Join(err, syscall.Kill(-p.pid, syscall.SIGKILL))
}

// sekisho is our server.
type sekisho struct {
	at      *site
	binary  string
	running *testsite.Server
}

func newSekisho(ctx context.Context, dir, binary string) (*sekisho, error) {
	owner, err := user.Current()
	if err == nil && os.Geteuid() == 0 {
		owner, err = user.Lookup("postfix")
		if err != nil {
			owner, err = user.Lookup("nobody")
		}
	}
	if err != nil {
		return nil, err
	}
	s, err := newSite(dir, "sekisho", owner)
	if err != nil {
		return nil, err
	}
	if binary == "" {
		bin := filepath.Join(dir, "bin")
		if err := os.Mkdir(bin, 0o755); err != nil {
			return nil, err
		}
		if binary, err = testsite.Build(ctx, bin); err != nil {
			return nil, err
		}
	}
	return &sekisho{at: s, binary: binary}, nil
}

func (k *sekisho) name() string { return "sekisho" }
func (k *sekisho) site() *site  { return k.at }
func (k *sekisho) root() int    { return k.running.PID() }

func (k *sekisho) start() (err error) {
	k.running, err = testsite.Start(k.binary, k.at.conf, os.Stderr, k.at.addr)
	return err
}

func (k *sekisho) most() int { return 0 }

func (k *sekisho) flush() error {
	spool, err := control.Open(filepath.Join(k.at.queue, "sekisho"), queue.Options{})
	if err != nil {
		return err
	}
	return errors.Join(spool.Flush(), spool.Close())
}

func (k *sekisho) stop() error { return k.running.Stop(10 * time.Second) }
