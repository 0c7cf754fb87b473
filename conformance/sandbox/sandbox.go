//go:build linux

// Package sandbox runs workers: this very program again, as the only process of
// network, mount and process namespaces of its own. A worker may listen on any
// port, mount over any path and leave processes behind; all that ends with it.
// Namespaces are those of namespaces(7); it needs root and knows nothing of mail.
package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// roleVariable tells a process that it is a worker, and of which role.
const roleVariable = "SEKISHO_SANDBOX_ROLE"

// Role is what this process was started as by Start, or empty.
func Role() string { return os.Getenv(roleVariable) }

// Worker is a running worker. Its methods are for one goroutine at a time.
type Worker struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	enc  *json.Encoder
	dec  *json.Decoder
	errs *tail
}

// Start starts a worker of this role. env is added to its environment.
func Start(role string, env ...string) (*Worker, error) {
	w := &Worker{cmd: exec.Command("/proc/self/exe"), errs: &tail{}}
	w.cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	w.cmd.Stderr = w.errs
	w.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a process in namespaces of its own: %w", err)
	}
	w.in, w.enc, w.dec = in, json.NewEncoder(in), json.NewDecoder(out)
	return w, nil
}

// Call sends the worker a request and waits for its answer.
func (w *Worker) Call(request, reply any) error {
	if err := w.enc.Encode(request); err != nil {
		return fmt.Errorf("%w\n%s", err, w.errs)
	}
	var answer struct {
		Error string
		Reply json.RawMessage
	}
	if err := w.dec.Decode(&answer); err != nil {
		return fmt.Errorf("the worker ended: %w\n%s", err, w.errs)
	}
	if answer.Error != "" {
		return fmt.Errorf("%s\n%s", answer.Error, w.errs)
	}
	return json.Unmarshal(answer.Reply, reply)
}

// Close ends the worker and everything it started.
func (w *Worker) Close() error {
	w.in.Close()
	return w.cmd.Wait()
}

// Serve is the life of a worker: it answers requests with handle until Start's
// side closes.
func Serve[Request, Reply any](handle func(Request) (Reply, error)) error {
	dec, enc := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var request Request
		if err := dec.Decode(&request); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		reply, err := handle(request)
		answer := map[string]any{"Reply": reply}
		if err != nil {
			answer["Error"] = err.Error()
		}
		if err := enc.Encode(answer); err != nil {
			return err
		}
	}
}

// Isolate completes the namespaces from inside a worker: mounts no longer
// spread, /proc shows the worker's own processes, the loopback interface is up.
func Isolate() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return loopbackUp()
}

// Empty mounts an empty file system over dir, which is made if need be.
func Empty(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mounting an empty %s: %w", dir, err)
	}
	return os.Chmod(dir, mode)
}

// Replace mounts a file over another.
func Replace(file, with string) error {
	if err := unix.Mount(with, file, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s over %s: %w", with, file, err)
	}
	return nil
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bringing the loopback interface up: %w", err)
	}
	return nil
}

// tail keeps the last of what a worker says on its standard error.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - 8000; over > 0 {
		t.text = t.text[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
