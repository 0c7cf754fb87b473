package command

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// exit is what a status of sysexits(3) means.
type exit struct{ dsn, text string }

// firstExit is the status of the first of exits (EX_USAGE).
const firstExit = 64

var exits = [...]exit{
	{"5.3.0", "command line usage error"},
	{"5.6.0", "data format error"},
	{"5.3.0", "cannot open input"},
	{"5.1.1", "user unknown"},
	{"5.1.2", "host name unknown"},
	{"5.3.0", "service unavailable"},
	{"5.3.0", "internal software error"},
	{"4.3.0", "system resource problem"},
	{"5.3.0", "critical OS file missing"},
	{"5.2.0", "can't create user output file"},
	{"5.3.0", "input/output error"},
	{"4.3.0", "temporary failure"},
	{"5.5.0", "remote error in protocol"},
	{"5.7.0", "permission denied"},
	{"5.3.5", "local configuration error"},
}

// exited is the status of a command that did not end well: a signal, an
// enhanced status code at the beginning of its output, a status of sysexits(3),
// any other status.
func (c *Command) exited(state *os.ProcessState, output string) deliver.Result {
	ws := state.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return failed("4.3.0", "internal software error",
			fmt.Sprintf("Command died with signal %d: \"%s\"", ws.Signal(), c.name()), output)
	}
	if dsn, text := splitStatus(output); dsn != "" {
		return failed(dsn, text, text, "")
	}
	if n := ws.ExitStatus() - firstExit; n >= 0 && n < len(exits) {
		return failed(exits[n].dsn, exits[n].text, exits[n].text, output)
	}
	return failed("5.3.0", fmt.Sprintf("unknown mail system error %d", ws.ExitStatus()),
		fmt.Sprintf("Command died with status %d: \"%s\"", ws.ExitStatus(), c.name()), output)
}

// failed is a status with a diagnostic of the system's: what the command said,
// or else what its failure is called.
func failed(dsn, diagnostic, text, output string) deliver.Result {
	if output != "" {
		diagnostic, text = output, text+". Command output: "+output
	}
	r := deliver.Result{Status: deliver.Bounced, DSN: dsn, Text: text, DiagnosticType: "x-unix", Diagnostic: diagnostic}
	if dsn[0] == '4' {
		r.Status = deliver.Deferred
	}
	return r
}

// splitStatus cuts an enhanced status code off the beginning of a text; dsn is
// empty when there is none. One of success says nothing of a failure.
func splitStatus(s string) (dsn, text string) {
	word, rest, _ := strings.Cut(strings.TrimLeft(s, " "), " ")
	if s == "" || s[0] == ' ' || !mail.IsStatus(word) {
		return "", ""
	}
	if word[0] == '2' {
		word = "5.0.0"
	}
	return word, strings.TrimLeft(rest, " ")
}

// printable makes output fit for a log line.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c == '\t' || c == '\n':
			b[i] = ' '
		case c < ' ' || c > '~':
			b[i] = '_'
		}
	}
	return string(b)
}
