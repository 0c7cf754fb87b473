package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"sekisho/conformance/sandbox"
	"sekisho/internal/zone"
)

// insideVariable tells the process that it is the one inside the world.
const insideVariable = "SEKISHO_BENCH_INSIDE"

// inside reports whether this process has a world of its own.
func inside() bool { return os.Getenv(insideVariable) != "" }

// enter runs this program again in network and mount namespaces of its own,
// where the name server is ours and no port is taken, and returns its exit
// status. Only root can.
func enter() (status int, err error) {
	// The parent of a process, in the kernel's eyes, is a thread.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGTERM,
	}
	// Ctrl-C reaches both; the one inside has to clean up.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("starting a process in namespaces of its own: %w", err)
	}
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM {
				_ = cmd.Process.Signal(s) // it may have ended
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(1, exit.ExitCode()), nil
	}
	return 0, err
}

// blockList is a DNS block list that has every address of 127.0.0.0/8 but
// 127.0.0.1.
const blockList = "bl.bench.test"

const listed = `*.{list} A 127.0.0.2
*.{list} TXT "listed"
1.0.0.127.{list} EXISTS
`

// furnish completes the world from inside: a loopback interface, and a resolver
// at its usual place that knows the block list and nothing else.
func furnish(dir string) (stop func() error, err error) {
	if err := sandbox.Isolate(); err != nil {
		return nil, err
	}
	for file, text := range map[string]string{"resolv.conf": "nameserver 127.0.0.1\n", "hosts": "127.0.0.1 localhost\n"} {
		ours := filepath.Join(dir, file)
		if err := errors.Join(os.WriteFile(ours, []byte(text), 0o644), os.Chmod(ours, 0o644), sandbox.Replace("/etc/"+file, ours)); err != nil {
			return nil, err
		}
	}
	z, err := zone.Parse("zone", strings.NewReader(strings.ReplaceAll(listed, "{list}", blockList)))
	if err != nil {
		return nil, err
	}
	server, err := z.Serve("127.0.0.1:53")
	if err != nil {
		return nil, err
	}
	return server.Close, nil
}
