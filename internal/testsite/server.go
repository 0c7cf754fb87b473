// Package testsite builds the sekisho binary and runs it as a process of its
// own on a configuration that a whole-server test or the benchmark has written.
// It knows processes and ports only, nothing of mail.
package testsite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Build compiles the server into dir and returns the path of the binary.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "sekisho")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "sekisho/cmd/sekisho").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build sekisho/cmd/sekisho: %w\n%s", err, out)
	}
	return binary, nil
}

// Ports returns n addresses of 127.0.0.1 with ports that were free just now.
// They are below those that Linux gives to clients: while a server is down,
// nobody takes its port by chance.
func Ports(n int) ([]string, error) {
	var addrs []string
	for range 1000 {
		if len(addrs) == n {
			return addrs, nil
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000)))
		if err != nil {
			continue
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return nil, errors.New("no free ports between 10000 and 32000")
}

// Server is a running server process. One goroutine at a time may stop it.
type Server struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended; set before exited is closed
}

// Start runs "binary serve -c conf", with its output going to out, and returns
// when every one of addrs accepts connections. It fails when the process ends
// before, or has not come up after 20 s.
func Start(binary, conf string, out io.Writer, addrs ...string) (*Server, error) {
	return StartCommand(exec.Command(binary, "serve", "-c", conf), out, addrs...)
}

// StartCommand is Start for another command line.
func StartCommand(cmd *exec.Cmd, out io.Writer, addrs ...string) (*Server, error) {
	cmd.Stdout, cmd.Stderr = out, out
	// Ctrl-C at the terminal is for the caller, who stops the server then.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, exited: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.exited)
	}()
	if err := s.awaitListeners(addrs); err != nil {
		s.Kill()
		return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return s, nil
}

// awaitListeners returns when all of addrs accept connections.
func (s *Server) awaitListeners(addrs []string) error {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for len(addrs) > 0 {
		if conn, err := net.Dial("tcp", addrs[0]); err == nil {
			conn.Close()
			addrs = addrs[1:]
			continue
		}
		select {
		case <-tick.C:
		case <-s.exited:
			return fmt.Errorf("ended before it listened at %s: %v", addrs[0], s.err)
		case <-deadline:
			return fmt.Errorf("does not listen at %s after 20 s", addrs[0])
		}
	}
	return nil
}

// PID returns the process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Exited is closed when the process has ended by itself or was stopped.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Reload sends SIGHUP.
func (s *Server) Reload() error { return s.cmd.Process.Signal(syscall.SIGHUP) }

// Kill ends the process by SIGKILL, wherever it is, and waits for its end.
func (s *Server) Kill() {
	// The only error is that the process has ended already.
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.exited
}

// Stop asks the process to end by SIGTERM and waits for it; after patience it
// is killed. The error says how it ended, unless that was with exit status 0.
func (s *Server) Stop(patience time.Duration) error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		<-s.exited
		return fmt.Errorf("ended before it was asked to: %w", errors.Join(err, s.err))
	}
	select {
	case <-s.exited:
		return s.err
	case <-time.After(patience):
		s.Kill()
		return fmt.Errorf("did not end within %s of SIGTERM and was killed", patience)
	}
}
