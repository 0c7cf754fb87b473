package main

import (
	"regexp"
	"slices"
	"strings"

	"sekisho/conformance"
)

// mask takes out of log lines what is known to differ; conformance/differences.md
// explains each by its name.
type mask struct {
	name string
	line *regexp.Regexp
	with string // what the match becomes; "-": the line is left out
}

var masks = []mask{
	{"why a table is unavailable", regexp.MustCompile(`^warning: \S+:.* is unavailable\. `), "-"},
	{"what a lookup server said", regexp.MustCompile(`^warning: (?:socketmap|tcp):.* (?:server \w+ error|table lookup problem|bad reply)`), "-"},
	{"IDNA of an empty name", regexp.MustCompile(`^warning: midna_domain_to_ascii_create: `), "-"},
	{"an alias without addresses", regexp.MustCompile(`^(warning: Unable to look up .*: )(?:Name or service not known|No address associated with hostname)$`), "$1<no address>"},
	{"block list errors", regexp.MustCompile(`^warning: .*RBL lookup error|^warning: smtpd_dns_reply_filter|^warning: .* lookup error for "\S+ \d+ IN `), "-"},
	{"status of a wrong code", regexp.MustCompile(`^(warning: SMTP reply code configuration error: \d+ )\d\.`), "${1}N."},
	{"DNS records left out", regexp.MustCompile(`^ignoring DNS RR: `), "-"},
}

func maskNames() (names []string) {
	for _, m := range masks {
		names = append(names, m.name)
	}
	return names
}

// apply returns the masked line, and false if it is left out.
func (m mask) apply(line string) (string, bool) {
	if m.with == "-" {
		return "", false
	}
	return m.line.ReplaceAllString(line, m.with), true
}

var (
	queueID  = regexp.MustCompile(`^((?:warning: )?)[0-9A-F]{6,}: `)
	queuedAs = regexp.MustCompile(`queued as [0-9A-F]{6,}`)
	ownTable = regexp.MustCompile(`/etc/postfix/t\d+/`)
)

// lines is an outcome as text, without what differs from run to run.
func lines(o outcome) []string {
	var out []string
	for _, s := range o.Steps {
		switch s.Kind {
		case conformance.Reply:
			out = append(out, "S: "+maskReply(s.Data))
		case conformance.Closed:
			out = append(out, "S! closed")
		default:
			out = append(out, "C: "+strings.TrimSuffix(string(s.Data), "\r\n"))
		}
	}
	out = append(out, logLines(o)...)
	if o.Err != "" {
		out = append(out, "! "+o.Err)
	}
	return out
}

// heard leaves out what the client says, and that the server closes: it is the
// same for both, but for how far the client comes while a server hangs up, of
// which the server's log tells.
func heard(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "C: ") || l == "S! closed" })
}

func maskReply(reply []byte) string {
	return queuedAs.ReplaceAllString(string(reply), "queued as <ID>")
}

// logLines is the log of an outcome, masked.
func logLines(o outcome) (out []string) {
	for _, l := range sinceConnect(o.Log) {
		l = ownTable.ReplaceAllString(queueID.ReplaceAllString(l, "$1<ID>: "), "/etc/postfix/t/")
		stays := true
		for _, m := range masks {
			if stays && m.line.MatchString(l) {
				l, stays = m.apply(l)
			}
		}
		if stays {
			out = append(out, l)
		}
	}
	return out
}

// sinceConnect leaves out what a process of Postfix says when it starts.
func sinceConnect(log []string) []string {
	for i, l := range log {
		if strings.HasPrefix(l, "connect from") {
			return log[i:]
		}
	}
	return log
}

// usual are lines that Postfix logs without -v.
var usual = regexp.MustCompile(`^(?:connect from|disconnect from|lost connection|timeout after|improper command|too many errors|warning: |NOQUEUE: |<ID>: |fatal: |mapping DSN|discarding EHLO|S[:!] |C: |! )`)

// undebugged leaves out what -v adds, and what it may say more often with -v.
func undebugged(lines []string) []string {
	return slices.DeleteFunc(lines, func(l string) bool {
		return !usual.MatchString(l) || strings.HasPrefix(l, "warning: problem talking to server ")
	})
}

// What may change all that follows in a dialogue, by name.
const (
	removedNames   = "removed restrictions"
	probeUnderWay  = "verification in progress"
	tooSlow        = "no patience"
	afterBDAT      = "after a refused BDAT"
	inProgressText = "Address verification in progress"
)

var knownNames = []string{removedNames, probeUnderWay, tooSlow, afterBDAT}

// removedName is Sekisho's word on a restriction that later Postfix does not have.
var removedName = regexp.MustCompile(`^warning: support for restriction "\w+" has been removed in `)

// knownDifference names what differences.md says about all that may follow from
// a line of the logs; empty for nothing.
func knownDifference(want, got []string) string {
	inProgress := func(l string) bool { return strings.Contains(l, inProgressText) }
	switch {
	case slices.ContainsFunc(got, removedName.MatchString):
		return removedNames
	case slices.ContainsFunc(want, inProgress) || slices.ContainsFunc(got, inProgress):
		return probeUnderWay
	case slices.ContainsFunc(want, func(l string) bool { return strings.HasPrefix(l, "! no answer within ") }):
		return tooSlow
	case slices.ContainsFunc(want, func(l string) bool { return strings.Contains(l, ": reject: BDAT from ") }):
		return afterBDAT
	}
	return ""
}
