package account

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// askPassword gets a new password: twice and unseen from a terminal, one line
// from anything else.
func (e *Env) askPassword(user string) (string, error) {
	if !term.IsTerminal(int(e.In.Fd())) {
		line, err := bufio.NewReader(e.In).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return "", errors.New("no password on standard input; give it as one line, or use a terminal")
		}
		return line, nil
	}
	first, err := e.askOnce("New password for " + user + ": ")
	if err != nil {
		return "", err
	}
	second, err := e.askOnce("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return first, nil
}

// askOnce reads a line without echo, and gives the terminal its echo back when
// a signal ends the program meanwhile.
func (e *Env) askOnce(prompt string) (string, error) {
	fd := int(e.In.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if sig, ok := <-signals; ok {
			// Nothing is left to do if this fails: the program ends.
			_ = term.Restore(fd, before)
			signal.Reset(sig)
			_ = syscall.Kill(os.Getpid(), sig.(syscall.Signal))
		}
	}()
	defer func() {
		signal.Stop(signals)
		close(signals)
	}()
	fmt.Fprint(e.Err, prompt)
	line, err := term.ReadPassword(fd)
	fmt.Fprintln(e.Err)
	if err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	return string(line), nil
}
